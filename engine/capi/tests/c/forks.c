/* A process that forks while it has a store and tickets: the forked one is told so, never waits, and leaves the rest to
 * its parent.
 *
 * forks PACK OPTIONS STATUS
 *
 * STATUS is the number that a lookup and a ticket have in the forked process.
 */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engram.h"

enum { ROWS = 4, TICKETS = 4 };

static const int32_t ids[ROWS] = {3, 0, 2, 1};
static engram_batch *batch;
static size_t row_bytes, bytes;
static unsigned char *expected;

static void check_at(int line, int condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "line %d: not so: %s\n", line, what);
        _exit(1);
    }
}

#define CHECK(condition) check_at(__LINE__, condition, #condition)

static void look_up(engram_store *store, engram_status status) {
    unsigned char *out = (unsigned char *)malloc(bytes), *zeros = (unsigned char *)calloc(1, bytes);
    memset(out, 7, bytes);
    CHECK(engram_lookup(store, batch, ENGRAM_STORED, out, bytes, 0, NULL) == status);
    CHECK(memcmp(out, status == ENGRAM_OK ? expected : zeros, bytes) == 0);
    free(zeros);
    free(out);
}

/* What the forked process does with what its parent has opened, and then with a store of its own. */
static void in_forked(const char *pack, const char *options, engram_store *store, engram_ticket **tickets,
                      engram_status status) {
    engram_ticket *ticket = NULL;
    unsigned char *out = (unsigned char *)malloc(bytes);
    look_up(store, status);
    CHECK(engram_warm(store, batch, NULL) == status);
    CHECK(engram_submit(store, batch, ENGRAM_STORED, out, bytes, 0, &ticket, NULL) == status);
    engram_ticket_free(ticket);
    free(out);
    for (int i = 0; i < TICKETS; i++) {
        CHECK(engram_ticket_is_done(tickets[i]));
        if (i < 2) {
            CHECK(engram_ticket_wait(tickets[i], NULL) == status);
            CHECK(engram_ticket_wait(tickets[i], NULL) == status);
        }
        engram_ticket_free(tickets[i]);
    }
    engram_store_close(store);
    CHECK(engram_store_open(pack, options, &store, NULL) == ENGRAM_OK);
    look_up(store, ENGRAM_OK);
    engram_store_close(store);
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    engram_store *store;
    engram_ticket *tickets[TICKETS];
    CHECK(engram_store_open(argv[1], argv[2], &store, NULL) == ENGRAM_OK);
    uint32_t layer = engram_layer_id(store, 0);
    row_bytes = engram_layer_row_bytes(store, layer);
    bytes = ROWS * row_bytes;
    expected = (unsigned char *)malloc(bytes);
    CHECK(engram_batch_new(&batch, NULL) == ENGRAM_OK);
    CHECK(engram_batch_set_i32(batch, layer, ids, ROWS, NULL) == ENGRAM_OK);
    CHECK(engram_lookup(store, batch, ENGRAM_STORED, expected, bytes, 0, NULL) == ENGRAM_OK);

    /* Memory that both processes see. */
    unsigned char *lent = (unsigned char *)mmap(NULL, TICKETS * 2 * bytes, PROT_READ | PROT_WRITE,
                                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(lent != MAP_FAILED);
    for (int i = 0; i < TICKETS; i++) {
        size_t stride = i % 2 * 2 * row_bytes;
        CHECK(engram_submit(store, batch, ENGRAM_STORED, lent + (size_t)i * 2 * bytes, 2 * bytes, stride, &tickets[i],
                            NULL) == ENGRAM_OK);
        while (!engram_ticket_is_done(tickets[i])) {
            usleep(100);
        }
    }

    pid_t forked = fork();
    CHECK(forked >= 0);
    if (forked == 0) {
        alarm(30);
        in_forked(argv[1], argv[2], store, tickets, (engram_status)atoi(argv[3]));
        _exit(0);
    }
    int ended = -1;
    CHECK(waitpid(forked, &ended, 0) == forked);
    CHECK(ended == 0);
    for (int i = 0; i < TICKETS; i++) {
        size_t distance = i % 2 ? 2 * row_bytes : row_bytes;
        CHECK(engram_ticket_wait(tickets[i], NULL) == ENGRAM_OK);
        for (size_t row = 0; row < ROWS; row++) {
            CHECK(memcmp(lent + (size_t)i * 2 * bytes + row * distance, expected + row * row_bytes, row_bytes) == 0);
        }
        engram_ticket_free(tickets[i]);
    }
    look_up(store, ENGRAM_OK);
    munmap(lent, TICKETS * 2 * bytes);
    free(expected);
    engram_batch_free(batch);
    engram_store_close(store);
    return 0;
}
