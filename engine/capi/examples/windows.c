/* Hashes tokens for an engine that keeps the history of a request itself.
 *
 * windows PACK HISTORY TOKEN...
 *
 * The first HISTORY tokens have been computed before; the others are those of this pass. A token of -1 is an image.
 * Prints a line for each token of the pass and each layer: layer, position, row ids.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engram.h"

/* What went wrong in the last call that check() looks at. */
static engram_error *error;

/* Ends the program with the message of a call that has failed. */
static void check(engram_status status) {
    if (status != ENGRAM_OK) {
        fprintf(stderr, "windows: %s\n", engram_error_message(error));
        engram_error_free(error);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: windows PACK HISTORY TOKEN...\n");
        return 2;
    }
    size_t history = strtoul(argv[2], NULL, 10), total = (size_t)argc - 3;
    if (history > total) {
        fprintf(stderr, "windows: a history of %zu tokens, of %zu tokens in all\n", history, total);
        return 2;
    }
    char **tokens = argv + 3;
    engram_store *store;
    engram_row_ids *row_ids;
    check(engram_store_open(argv[1], NULL, &store, &error));
    check(engram_row_ids_new(&row_ids, &error));

    /* [position][place], newest first. Images, and places before the first token, are blocked. */
    size_t order = engram_max_order(store), count = total - history;
    uint32_t *windows = (uint32_t *)calloc(count * order + 1, sizeof *windows);
    uint8_t *blocked = (uint8_t *)calloc(count * order + 1, 1);
    for (size_t i = 0; i < count; i++) {
        for (size_t back = 0; back < order; back++) {
            size_t place = i * order + back, position = history + i;
            long token = back <= position ? strtol(tokens[position - back], NULL, 10) : -1;
            blocked[place] = token < 0;
            windows[place] = token < 0 ? 0 : (uint32_t)token;
        }
    }
    check(engram_windows_hash(store, windows, blocked, count, row_ids, &error));

    size_t columns = engram_column_count(store);
    for (size_t i = 0; i < engram_layer_count(store); i++) {
        uint32_t layer = engram_layer_id(store, i);
        const uint64_t *ids = engram_row_ids_of_layer(row_ids, layer);
        for (size_t position = 0; position < count; position++) {
            printf("%" PRIu32 " %zu", layer, history + position);
            for (size_t column = 0; column < columns; column++) {
                printf(" %" PRIu64, ids[position * columns + column]);
            }
            printf("\n");
        }
    }
    free(windows);
    free(blocked);
    engram_row_ids_free(row_ids);
    engram_store_close(store);
    return 0;
}
