/* Asks for the rows of all layers at once, and takes them as they come, by epoll.
 *
 * tickets PACK TOKEN...
 *
 * Prints a line for each layer: its id, and the bytes of its rows in hexadecimal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engram.h"

/* The rows of one layer on their way to memory at a fixed address. */
struct layer {
    uint32_t id;
    unsigned char *rows;
    size_t bytes;
    engram_ticket *ticket;
    int event;
};

/* What went wrong in the last call that check() looks at. */
static engram_error *error;

/* Ends the program with the message of a call that has failed. */
static void check(engram_status status) {
    if (status != ENGRAM_OK) {
        fprintf(stderr, "tickets: %s\n", engram_error_message(error));
        engram_error_free(error);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: tickets PACK TOKEN...\n");
        return 2;
    }
    size_t count = (size_t)argc - 2;
    uint32_t *tokens = (uint32_t *)malloc(count * sizeof *tokens);
    for (size_t i = 0; i < count; i++) {
        tokens[i] = (uint32_t)strtoul(argv[i + 2], NULL, 10);
    }
    engram_store *store;
    engram_sequence *sequence;
    engram_row_ids *row_ids;
    engram_batch *batch;
    check(engram_store_open(argv[1], NULL, &store, &error));
    check(engram_sequence_new(&sequence, &error));
    check(engram_row_ids_new(&row_ids, &error));
    check(engram_batch_new(&batch, &error));
    check(engram_sequence_extend(sequence, store, tokens, count, row_ids, &error));

    size_t layer_count = engram_layer_count(store), columns = engram_column_count(store);
    struct layer *layers = (struct layer *)calloc(layer_count, sizeof *layers);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < layer_count; i++) {
        struct layer *layer = &layers[i];
        layer->id = engram_layer_id(store, i);
        layer->bytes = count * columns * engram_layer_row_bytes(store, layer->id);
        layer->rows = (unsigned char *)malloc(layer->bytes);
        check(engram_batch_set_hashed(batch, row_ids, layer->id, 0, columns, &error));
        check(engram_submit(store, batch, ENGRAM_STORED, layer->rows, layer->bytes, 0, &layer->ticket, &error));
        check(engram_ticket_eventfd(layer->ticket, &layer->event, &error));
        struct epoll_event wanted;
        wanted.events = EPOLLIN;
        wanted.data.ptr = layer;
        if (epoll_ctl(poller, EPOLL_CTL_ADD, layer->event, &wanted) != 0) {
            perror("epoll_ctl");
            return 1;
        }
    }

    /* An engine would compute its first layers here. */
    for (size_t left = layer_count; left > 0; left--) {
        struct epoll_event event;
        if (epoll_wait(poller, &event, 1, -1) != 1) {
            perror("epoll_wait");
            return 1;
        }
        struct layer *layer = (struct layer *)event.data.ptr;
        /* The library may hold a copy of the file for a moment, so closing it would not take it out of the set. */
        epoll_ctl(poller, EPOLL_CTL_DEL, layer->event, NULL);
        close(layer->event);
        check(engram_ticket_wait(layer->ticket, &error)); /* at once */
        engram_ticket_free(layer->ticket);
        printf("%" PRIu32 " ", layer->id);
        for (size_t i = 0; i < layer->bytes; i++) {
            printf("%02x", layer->rows[i]);
        }
        printf("\n");
        free(layer->rows);
    }
    close(poller);
    free(layers);
    free(tokens);
    engram_batch_free(batch);
    engram_row_ids_free(row_ids);
    engram_sequence_free(sequence);
    engram_store_close(store);
    return 0;
}
