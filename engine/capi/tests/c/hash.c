/* Hashes tokens in many ways, and ends with an error where two of them differ. Prints the row ids of all layers,
 * [layer][position][column], and the facts of the pack: for the tests, which compare them.
 *
 * hash PACK TOKEN...
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engram.h"

static engram_store *store;
static engram_row_ids *expected;

static void check(engram_status status) {
    if (status != ENGRAM_OK) {
        fprintf(stderr, "status %d\n", (int)status);
        exit(1);
    }
}

/* Compares the positions from `from` on of what was expected with `found`. */
static void same(const char *what, size_t from, const engram_row_ids *found) {
    size_t columns = engram_column_count(store), count = engram_row_ids_positions(found);
    for (size_t i = 0; i < engram_layer_count(store); i++) {
        uint32_t layer = engram_layer_id(store, i);
        const uint64_t *a = engram_row_ids_of_layer(expected, layer), *b = engram_row_ids_of_layer(found, layer);
        if (a == NULL || b == NULL || memcmp(a + from * columns, b, count * columns * sizeof *a) != 0) {
            fprintf(stderr, "%s: other rows from position %zu on in layer %" PRIu32 "\n", what, from, layer);
            exit(1);
        }
    }
}

static void facts(void) {
    printf("%s %zu %" PRIu32 " %" PRIu32 " %zu\n", engram_scheme_name(store), engram_vocab_size(store),
           engram_max_order(store), engram_heads(store), engram_column_count(store));
    for (size_t i = 0; i < engram_layer_count(store); i++) {
        uint32_t layer = engram_layer_id(store, i);
        printf("%" PRIu32 " %" PRIu64 " %zu %zu %zu %zu %s\n", layer, engram_layer_row_count(store, layer),
               engram_layer_width(store, layer), engram_layer_row_bytes(store, layer),
               engram_layer_value_bytes(store, layer), engram_layer_scale_bytes(store, layer),
               engram_layer_codec(store, layer));
        for (size_t j = 0; j < engram_column_count(store); j++) {
            printf("%" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 "\n", engram_column_order(store, layer, j),
                   engram_column_head(store, layer, j), engram_column_first_row(store, layer, j),
                   engram_column_row_count(store, layer, j));
        }
    }
}

int main(int argc, char **argv) {
    size_t count = (size_t)argc - 2;
    uint32_t *tokens = (uint32_t *)malloc((count + 1) * sizeof *tokens);
    for (size_t i = 0; i < count; i++) {
        tokens[i] = (uint32_t)strtol(argv[i + 2], NULL, 10);
    }
    check(engram_store_open(argv[1], "{\"reader\": \"pread\"}", &store, NULL));
    engram_row_ids *found;
    engram_sequence *whole, *chunked, *fork;
    check(engram_row_ids_new(&expected, NULL));
    check(engram_row_ids_new(&found, NULL));
    check(engram_sequence_new(&whole, NULL));
    check(engram_sequence_new(&chunked, NULL));

    check(engram_sequence_peek(whole, store, tokens, count, expected, NULL));
    check(engram_sequence_extend(whole, store, tokens, count, found, NULL));
    same("extend", 0, found);

    /* One by one, each after speculation that was rejected, in turns in two histories. */
    for (size_t i = 0; i < count; i++) {
        check(engram_sequence_advance(chunked, store, tokens, count, NULL));
        engram_sequence_truncate(chunked, i);
        check(engram_sequence_fork(chunked, &fork, NULL));
        check(engram_sequence_extend(fork, store, tokens + i, count - i, found, NULL));
        same("fork", i, found);
        engram_sequence *both[2] = {chunked, fork};
        size_t counts[2] = {1, 0};
        check(engram_sequences_extend(both, counts, 2, store, tokens + i, found, NULL));
        same("batch", i, found);
        if (engram_sequence_len(chunked) != i + 1 || engram_sequence_len(fork) != count) {
            return 1;
        }
        engram_sequence_free(fork);
    }

    /* Without a history of the library's. */
    size_t order = engram_max_order(store);
    uint32_t *windows = (uint32_t *)malloc((count * order + 1) * sizeof *windows);
    uint8_t *blocked = (uint8_t *)calloc(count * order + 1, 1);
    for (size_t i = 0; i < count; i++) {
        for (size_t back = 0; back < order; back++) {
            windows[i * order + back] = back <= i ? tokens[i - back] : ENGRAM_DEAD;
        }
    }
    check(engram_windows_hash(store, windows, NULL, count, found, NULL));
    same("windows", 0, found);
    for (size_t i = 0; i < count * order; i++) {
        if (windows[i] == ENGRAM_DEAD) {
            windows[i] = 0x80000000u; /* no token, and not to be looked at */
            blocked[i] = 0x80;
        }
    }
    check(engram_windows_hash(store, windows, blocked, count, found, NULL));
    same("blocked windows", 0, found);

    facts();
    for (size_t i = 0; i < engram_layer_count(store); i++) {
        const uint64_t *rows = engram_row_ids_of_layer(expected, engram_layer_id(store, i));
        for (size_t j = 0; j < count * engram_column_count(store); j++) {
            printf("%" PRIu64 "\n", rows[j]);
        }
    }
    free(windows);
    free(blocked);
    free(tokens);
    engram_row_ids_free(expected);
    engram_row_ids_free(found);
    engram_sequence_free(whole);
    engram_sequence_free(chunked);
    engram_store_close(store);
    return 0;
}
