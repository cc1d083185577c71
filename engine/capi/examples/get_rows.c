/* Serves what ggml calls get_rows: row ids of 32 bits in token order, rows of float out.
 *
 * get_rows PACK OPTIONS LAYER ID...        prints a line of values for each id; a negative id is a row of zeros
 * get_rows --time PACK OPTIONS LAYER ROWS  measures calls with ROWS random ids, for a second
 *
 * OPTIONS is JSON, such as '{"reader": "memory"}'. PACK may be attached to a checkpoint.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engram.h"

/* One table of an open pack, as an operator of a graph holds it. One thread at a time uses the batch; threads have one
 * each. */
struct table {
    const engram_store *store;
    engram_batch *batch;
    uint32_t layer;
    size_t width;
};

/* What went wrong in the last call that check() looks at. */
static engram_error *error;

/* Ends the program with the message of a call that has failed. */
static void check(engram_status status) {
    if (status != ENGRAM_OK) {
        fprintf(stderr, "get_rows: %s\n", engram_error_message(error));
        engram_error_free(error);
        exit(1);
    }
}

/* dst[i] = row ids[i], for `count` rows of table->width values. Nothing is allocated once the batch has had as many
 * ids, and rows in memory are decoded right to dst. */
static engram_status get_rows(struct table *table, const int32_t *ids, size_t count, float *dst, engram_error **error) {
    engram_status status = engram_batch_set_i32(table->batch, table->layer, ids, count, error);
    if (status != ENGRAM_OK) {
        return status;
    }
    size_t bytes = count * table->width * sizeof *dst;
    return engram_lookup(table->store, table->batch, ENGRAM_F32, dst, bytes, 0, error);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A xorshift generator: enough to be unpredictable for a cache. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void measure(struct table *table, size_t count) {
    enum { BATCHES = 64 };
    uint64_t row_count = engram_layer_row_count(table->store, table->layer), state = 1;
    int32_t *ids = (int32_t *)malloc(BATCHES * count * sizeof *ids);
    float *dst = (float *)malloc(count * table->width * sizeof *dst);
    uint64_t below = row_count < INT32_MAX ? row_count : INT32_MAX;
    for (size_t i = 0; i < BATCHES * count; i++) {
        ids[i] = (int32_t)(next_random(&state) % below);
    }
    uint64_t calls = 0;
    double start = seconds(), took = 0;
    while (took < 1) {
        check(get_rows(table, ids + calls % BATCHES * count, count, dst, &error));
        calls++;
        took = seconds() - start;
    }
    printf("%" PRIu64 " calls of %zu rows in %.3f s: %.3f million rows a second\n", calls, count, took,
           1e-6 * (double)calls * (double)count / took);
    free(dst);
    free(ids);
}

int main(int argc, char **argv) {
    engram_store *store;
    struct table table;
    int timed = argc > 1 && strcmp(argv[1], "--time") == 0;
    if (argc < 5 + timed) {
        fprintf(stderr, "usage: get_rows PACK OPTIONS LAYER ID...\n"
                        "       get_rows --time PACK OPTIONS LAYER ROWS\n");
        return 2;
    }
    argv += timed;
    argc -= timed;
    check(engram_store_open(argv[1], argv[2], &store, &error));
    table.store = store;
    table.layer = (uint32_t)strtoul(argv[3], NULL, 10);
    table.width = engram_layer_width(store, table.layer);
    check(engram_batch_new(&table.batch, &error));

    if (timed) {
        measure(&table, strtoul(argv[4], NULL, 10));
    } else {
        size_t count = (size_t)argc - 4;
        int32_t *ids = (int32_t *)malloc(count * sizeof *ids);
        float *dst = (float *)malloc((count * table.width + 1) * sizeof *dst);
        for (size_t i = 0; i < count; i++) {
            ids[i] = (int32_t)strtol(argv[i + 4], NULL, 10);
        }
        check(get_rows(&table, ids, count, dst, &error));
        for (size_t i = 0; i < count * table.width; i++) {
            printf("%.9g%c", (double)dst[i], (i + 1) % table.width == 0 ? '\n' : ' ');
        }
        free(dst);
        free(ids);
    }
    engram_batch_free(table.batch);
    engram_store_close(store);
    return 0;
}
