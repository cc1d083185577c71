/* Looks up the rows of some tokens, decoded to float.
 *
 * look_up PACK TOKEN...
 *
 * Prints a line for each row: layer, position, column, row id and values.
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
        fprintf(stderr, "look_up: %s\n", engram_error_message(error));
        engram_error_free(error);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: look_up PACK TOKEN...\n");
        return 2;
    }
    if (engram_abi() != ENGRAM_ABI) {
        fprintf(stderr, "look_up: compiled for another libengram than %s\n", engram_version());
        return 1;
    }
    size_t count = (size_t)argc - 2;
    uint32_t *tokens = (uint32_t *)malloc(count * sizeof *tokens);
    for (size_t i = 0; i < count; i++) {
        tokens[i] = (uint32_t)strtoul(argv[i + 2], NULL, 10);
    }

    engram_store *store;
    check(engram_store_open(argv[1], NULL, &store, &error));

    /* Row ids depend on token ids alone: hash them before the model runs its first layer. */
    engram_sequence *sequence;
    engram_row_ids *row_ids;
    engram_batch *batch;
    check(engram_sequence_new(&sequence, &error));
    check(engram_row_ids_new(&row_ids, &error));
    check(engram_batch_new(&batch, &error));
    check(engram_sequence_extend(sequence, store, tokens, count, row_ids, &error));

    size_t columns = engram_column_count(store), rows = count * columns;
    for (size_t i = 0; i < engram_layer_count(store); i++) {
        uint32_t layer = engram_layer_id(store, i);
        size_t width = engram_layer_width(store, layer);
        float *values = (float *)malloc(rows * width * sizeof *values); /* [token][column][value] */
        check(engram_batch_set_hashed(batch, row_ids, layer, 0, columns, &error));
        check(engram_lookup(store, batch, ENGRAM_F32, values, rows * width * sizeof *values, 0, &error));

        const uint64_t *ids = engram_row_ids_of_layer(row_ids, layer);
        for (size_t row = 0; row < rows; row++) {
            printf("%" PRIu32 " %zu %zu %" PRIu64, layer, row / columns, row % columns, ids[row]);
            for (size_t value = 0; value < width; value++) {
                printf(" %.9g", (double)values[row * width + value]);
            }
            printf("\n");
        }
        free(values);
    }

    engram_batch_free(batch);
    engram_row_ids_free(row_ids);
    engram_sequence_free(sequence);
    engram_store_close(store);
    free(tokens);
    return 0;
}
