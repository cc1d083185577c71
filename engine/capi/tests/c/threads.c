/* Threads share a store and a batch, each with tickets of its own, and get the rows that one thread gets.
 *
 * threads PACK OPTIONS
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engram.h"

enum { THREADS = 4, ROUNDS = 200, ROWS = 64 };

static engram_store *store;
static engram_batch *shared;
static uint32_t layer;
static size_t bytes;
static unsigned char *expected;

static void check(int condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "threads: %s\n", what);
        exit(1);
    }
}

static void told(void *context) {
    char byte = 1;
    check(write(*(int *)context, &byte, 1) == 1, "cannot tell");
}

static void *work(void *unused) {
    unsigned char *out = (unsigned char *)malloc(bytes);
    int ends[2];
    char byte;
    check(pipe(ends) == 0, "no pipe");
    for (int round = 0; round < ROUNDS; round++) {
        engram_ticket *ticket;
        memset(out, 7, bytes);
        check(engram_lookup(store, shared, ENGRAM_STORED, out, bytes, 0, NULL) == ENGRAM_OK, "lookup");
        check(memcmp(out, expected, bytes) == 0, "lookup gave other rows");
        memset(out, 7, bytes);
        check(engram_submit(store, shared, ENGRAM_STORED, out, bytes, 0, &ticket, NULL) == ENGRAM_OK, "submit");
        if (round % 3 == 0) {
            engram_ticket_cancel(ticket);
            check(engram_ticket_wait(ticket, NULL) == ENGRAM_CANCELLED, "cancel");
        } else {
            check(engram_ticket_on_done(ticket, told, &ends[1], NULL) == ENGRAM_OK, "on_done");
            check(read(ends[0], &byte, 1) == 1, "cannot be told");
            check(engram_ticket_wait(ticket, NULL) == ENGRAM_OK, "wait");
            check(memcmp(out, expected, bytes) == 0, "a ticket gave other rows");
        }
        engram_ticket_free(ticket);
    }
    close(ends[0]);
    close(ends[1]);
    free(out);
    return unused;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    int32_t ids[ROWS];
    check(argc == 3, "threads PACK OPTIONS");
    check(engram_store_open(argv[1], argv[2], &store, NULL) == ENGRAM_OK, "open");
    layer = engram_layer_id(store, 0);
    bytes = ROWS * engram_layer_row_bytes(store, layer);
    for (int i = 0; i < ROWS; i++) {
        ids[i] = i % 8 == 5 ? -1 : i * 7 % (int)engram_layer_row_count(store, layer);
    }
    check(engram_batch_new(&shared, NULL) == ENGRAM_OK, "batch");
    check(engram_batch_set_i32(shared, layer, ids, ROWS, NULL) == ENGRAM_OK, "ids");
    expected = (unsigned char *)malloc(bytes);
    check(engram_lookup(store, shared, ENGRAM_STORED, expected, bytes, 0, NULL) == ENGRAM_OK, "first lookup");
    for (int i = 0; i < THREADS; i++) {
        check(pthread_create(&threads[i], NULL, work, NULL) == 0, "no thread");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    free(expected);
    engram_batch_free(shared);
    engram_store_close(store);
    return 0;
}
