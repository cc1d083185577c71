/* Provokes every status that a program can come to by its own doing, and checks what is left behind.
 *
 * statuses PACK SCRATCH SHARD LIMITS ATTACHED SOURCE...
 *
 * SCRATCH is a copy of PACK, and SHARD the path of a shard of its first layer, which is cut shorter. ATTACHED is an
 * attached pack, and each SOURCE a file of its rows, which is written to. If LIMITS is "limits", what the system allows
 * is taken away at the end.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engram.h"

static engram_error *error;

/* Expects `expected` of a call whose last argument was &error. */
static void expect_at(int line, engram_status expected, engram_status status) {
    char copied[24];
    const char *message = engram_error_message(error);
    size_t length = engram_error_copy_message(error, copied, sizeof copied);
    if (status != expected || engram_error_status(error) != expected || (error == NULL) != (expected == ENGRAM_OK) ||
        length != strlen(message) || strlen(copied) != (length < sizeof copied ? length : sizeof copied - 1) ||
        strncmp(copied, message, strlen(copied)) != 0) {
        fprintf(stderr, "line %d: status %d, expected %d: %s\n", line, (int)status, (int)expected, message);
        exit(1);
    }
    if (expected != ENGRAM_OK) {
        printf("%d %s\n", (int)expected, message);
    }
    engram_error_free(error);
    error = NULL;
}

#define EXPECT(expected, call) expect_at(__LINE__, expected, call)
#define CHECK(condition)                                                  \
    do {                                                                  \
        if (!(condition)) {                                               \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition); \
            exit(1);                                                      \
        }                                                                 \
    } while (0)

enum { ROWS = 4 };

static engram_store *store;
static engram_batch *batch;
static uint32_t layer;
static size_t row_bytes;
static unsigned char *out;

static int is_filled_with(unsigned char byte) {
    for (size_t i = 0; i < ROWS * row_bytes; i++) {
        if (out[i] != byte) {
            return 0;
        }
    }
    return 1;
}

static engram_status look_up(engram_value_type type, size_t bytes, size_t stride) {
    memset(out, 7, ROWS * row_bytes);
    return engram_lookup(store, batch, type, out, bytes, stride, &error);
}

static void opening(const char *pack) {
    engram_store *none = NULL;
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_store_open(NULL, NULL, &none, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_store_open(pack, NULL, NULL, &error));
    EXPECT(ENGRAM_NOT_UTF8, engram_store_open(pack, "{\"profile\": \"\xff\"}", &none, &error));
    EXPECT(ENGRAM_OPTIONS_NOT_JSON, engram_store_open(pack, "reader=mmap", &none, &error));
    EXPECT(ENGRAM_OPTIONS_UNKNOWN_FIELD, engram_store_open(pack, "{\"cache\": 1}", &none, &error));
    EXPECT(ENGRAM_OPTIONS_FIELD, engram_store_open(pack, "{\"reader\": 1}", &none, &error));
    EXPECT(ENGRAM_NOT_A_PACK, engram_store_open("/proc", NULL, &none, &error));
    CHECK(none == NULL);
    /* Who wants no error gets the status all the same. */
    CHECK(engram_store_open("/proc", NULL, &none, NULL) == ENGRAM_NOT_A_PACK);
}

static void asking(void) {
    size_t bytes = ROWS * row_bytes;
    int32_t ids[ROWS + 1] = {3, 0, 2, 1, 0};
    int64_t beyond[ROWS] = {0, 1, (int64_t)1 << 40, 2};
    const int32_t *crooked = (const int32_t *)((const char *)ids + 1);
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_batch_set_i32(batch, layer, NULL, ROWS, &error));
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_batch_set_i32(batch, layer, crooked, ROWS, &error));
    EXPECT(ENGRAM_BATCH_TOO_LARGE, engram_batch_set_i32(batch, layer, ids, (size_t)1 << 32, &error));
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_batch_set_priority(batch, 9, &error));
    EXPECT(ENGRAM_OK, engram_batch_set_priority(batch, ENGRAM_PREFILL, &error));
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, layer, ids, ROWS, &error));

    EXPECT(ENGRAM_OK, look_up(ENGRAM_STORED, bytes, 0));
    CHECK(!is_filled_with(7));
    EXPECT(ENGRAM_BAD_ARGUMENT, look_up(9, bytes, 0));
    EXPECT(ENGRAM_BAD_ARGUMENT, look_up(ENGRAM_STORED, bytes, row_bytes - 1));
    EXPECT(ENGRAM_OUTPUT_SIZE, look_up(ENGRAM_STORED, bytes - 1, 0));
    EXPECT(ENGRAM_OUTPUT_SIZE, look_up(ENGRAM_STORED, bytes, row_bytes + 1));
    EXPECT(ENGRAM_OUTPUT_SIZE, look_up(ENGRAM_STORED, SIZE_MAX, SIZE_MAX / 2));
    CHECK(is_filled_with(7));
    EXPECT(ENGRAM_MISALIGNED, engram_lookup(store, batch, ENGRAM_F32, out + 1, SIZE_MAX / 4, 0, &error));
    EXPECT(ENGRAM_MISALIGNED, engram_lookup(store, batch, ENGRAM_F32, out, SIZE_MAX / 4, 4 * row_bytes + 2, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_lookup(store, batch, ENGRAM_STORED, NULL, bytes, 0, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_lookup(NULL, batch, ENGRAM_STORED, out, bytes, 0, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_lookup(store, NULL, ENGRAM_STORED, out, bytes, 0, &error));
    EXPECT(ENGRAM_OUTPUT_SIZE, engram_lookup_parts(store, batch, out, bytes, 0, out, 1, 0, &error));
    EXPECT(ENGRAM_OK, engram_warm(store, batch, &error));

    /* What fails leaves zeros. */
    EXPECT(ENGRAM_OK, engram_batch_set_i64(batch, layer, beyond, ROWS, &error));
    EXPECT(ENGRAM_ROW_OUT_OF_RANGE, look_up(ENGRAM_STORED, bytes, 0));
    CHECK(is_filled_with(0));
    EXPECT(ENGRAM_ROW_OUT_OF_RANGE, engram_warm(store, batch, &error));
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, 4711, ids, ROWS, &error));
    EXPECT(ENGRAM_UNKNOWN_LAYER, look_up(ENGRAM_STORED, bytes, 0));
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, layer, NULL, 0, &error));
    EXPECT(ENGRAM_OK, engram_lookup(store, batch, ENGRAM_F32, NULL, 0, 0, &error));
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, layer, ids, ROWS, &error));
}

static void hashing(void) {
    engram_sequence *sequence;
    engram_row_ids *row_ids;
    uint32_t tokens[3] = {1, 2, 0x7fffffff};
    uint32_t window[8] = {1, 0x7fffffff, ENGRAM_DEAD, ENGRAM_DEAD, ENGRAM_DEAD, ENGRAM_DEAD, ENGRAM_DEAD, ENGRAM_DEAD};
    EXPECT(ENGRAM_OK, engram_sequence_new(&sequence, &error));
    EXPECT(ENGRAM_OK, engram_row_ids_new(&row_ids, &error));
    CHECK(engram_row_ids_of_layer(row_ids, layer) == NULL);
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_batch_set_hashed(batch, row_ids, layer, 0, 1, &error));
    EXPECT(ENGRAM_TOKEN_OUT_OF_RANGE, engram_sequence_extend(sequence, store, tokens, 3, row_ids, &error));
    EXPECT(ENGRAM_TOKEN_OUT_OF_RANGE, engram_sequence_peek(sequence, store, tokens, 3, row_ids, &error));
    EXPECT(ENGRAM_TOKEN_OUT_OF_RANGE, engram_sequence_advance(sequence, store, tokens, 3, &error));
    EXPECT(ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE, engram_windows_hash(store, window, NULL, 1, row_ids, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_sequence_extend(sequence, store, tokens, 2, NULL, &error));
    CHECK(engram_sequence_len(sequence) == 0 && engram_row_ids_positions(row_ids) == 0);

    engram_sequence *twice[2] = {sequence, sequence};
    size_t counts[2] = {1, 1}, endless[2] = {SIZE_MAX, 2};
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_sequences_extend(twice, counts, 2, store, tokens, row_ids, &error));
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_sequences_extend(twice, endless, 2, store, tokens, row_ids, &error));
    CHECK(engram_sequence_len(sequence) == 0);

    EXPECT(ENGRAM_OK, engram_sequence_extend(sequence, store, tokens, 2, row_ids, &error));
    size_t columns = engram_column_count(store);
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_batch_set_hashed(batch, row_ids, layer, 1, columns, &error));
    EXPECT(ENGRAM_BAD_ARGUMENT, engram_batch_set_hashed(batch, row_ids, layer, 1, SIZE_MAX, &error));
    EXPECT(ENGRAM_UNKNOWN_LAYER, engram_batch_set_hashed(batch, row_ids, 4711, 0, columns, &error));
    engram_row_ids_free(row_ids);
    engram_sequence_free(sequence);
}

static void done(void *context) {
    char told = 1;
    CHECK(write(*(int *)context, &told, 1) == 1);
}

static void tickets(void) {
    size_t bytes = ROWS * row_bytes;
    engram_ticket *ticket, *other;
    int event = -1, told[2];
    char byte;
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_submit(store, batch, ENGRAM_STORED, out, bytes, 0, NULL, &error));
    EXPECT(ENGRAM_OUTPUT_SIZE, engram_submit(store, batch, ENGRAM_STORED, out, 1, 0, &ticket, &error));
    CHECK(pipe(told) == 0);

    EXPECT(ENGRAM_OK, engram_submit(store, batch, ENGRAM_STORED, out, bytes, 0, &ticket, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_ticket_on_done(ticket, NULL, NULL, &error));
    EXPECT(ENGRAM_NULL_ARGUMENT, engram_ticket_eventfd(ticket, NULL, &error));
    EXPECT(ENGRAM_OK, engram_ticket_on_done(ticket, done, &told[1], &error));
    CHECK(read(told[0], &byte, 1) == 1 && engram_ticket_is_done(ticket));
    EXPECT(ENGRAM_OK, engram_ticket_wait(ticket, &error));
    EXPECT(ENGRAM_OK, engram_ticket_wait(ticket, &error));
    EXPECT(ENGRAM_TICKET_ENDED, engram_ticket_eventfd(ticket, &event, &error));
    EXPECT(ENGRAM_TICKET_ENDED, engram_ticket_on_done(ticket, done, told, &error));
    engram_ticket_cancel(ticket);
    EXPECT(ENGRAM_OK, engram_ticket_wait(ticket, &error));
    CHECK(event == -1);
    engram_ticket_free(ticket);

    for (size_t stride = 0; stride <= row_bytes; stride += row_bytes) {
        EXPECT(ENGRAM_OK, engram_submit(store, batch, ENGRAM_STORED, out, bytes, stride, &ticket, &error));
        engram_ticket_cancel(ticket);
        EXPECT(ENGRAM_CANCELLED, engram_ticket_wait(ticket, &error));
        CHECK(engram_ticket_is_done(ticket));
        EXPECT(ENGRAM_TICKET_ENDED, engram_ticket_eventfd(ticket, &event, &error));
        engram_ticket_free(ticket);
        /* Freed without having been waited for. */
        EXPECT(ENGRAM_OK, engram_submit(store, batch, ENGRAM_STORED, out, bytes, stride, &ticket, &error));
        engram_ticket_free(ticket);
    }

    /* A ticket that fails leaves zeros. */
    int64_t beyond[ROWS] = {0, 1, (int64_t)1 << 40, 2};
    EXPECT(ENGRAM_OK, engram_batch_set_i64(batch, layer, beyond, ROWS, &error));
    memset(out, 7, bytes);
    EXPECT(ENGRAM_ROW_OUT_OF_RANGE, engram_submit(store, batch, ENGRAM_STORED, out, bytes, 0, &ticket, &error));
    CHECK(is_filled_with(0));
    enum { MANY = 20000 };
    int64_t *many = (int64_t *)calloc(MANY, sizeof *many);
    unsigned char *large = (unsigned char *)malloc(MANY * row_bytes);
    /* Large batches are gathered, and let go of, by threads of the store. */
    for (int i = 0; i < 20; i++) {
        EXPECT(ENGRAM_OK, engram_batch_set_i64(batch, layer, many, MANY, &error));
        EXPECT(ENGRAM_OK, engram_submit(store, batch, ENGRAM_STORED, large, MANY * row_bytes, 0, &other, &error));
        engram_ticket_cancel(other);
        EXPECT(ENGRAM_CANCELLED, engram_ticket_wait(other, &error));
        memset(large, 7, MANY * row_bytes);
        engram_ticket_free(other);
        CHECK(large[0] == 7 && memcmp(large, large + 1, MANY * row_bytes - 1) == 0);
    }
    many[MANY - 1] = (int64_t)1 << 40;
    EXPECT(ENGRAM_OK, engram_batch_set_i64(batch, layer, many, MANY, &error));
    EXPECT(ENGRAM_OK, engram_submit(store, batch, ENGRAM_STORED, large, MANY * row_bytes, 0, &other, &error));
    EXPECT(ENGRAM_ROW_OUT_OF_RANGE, engram_ticket_wait(other, &error));
    EXPECT(ENGRAM_ROW_OUT_OF_RANGE, engram_ticket_wait(other, &error));
    CHECK(large[0] == 0 && memcmp(large, large + 1, MANY * row_bytes - 1) == 0);
    engram_ticket_free(other);
    free(large);
    free(many);
    close(told[0]);
    close(told[1]);
}

/* A shard that is cut shorter while it is open. */
static void cutting(const char *scratch, const char *shard) {
    engram_store *cut;
    int32_t last = (int32_t)engram_column_row_count(store, layer, 0) - 1;
    EXPECT(ENGRAM_OK, engram_store_open(scratch, "{\"reader\": \"direct_threads\", \"cache_bytes\": 0}", &cut, &error));
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, layer, &last, 1, &error));
    CHECK(truncate(shard, 4096) == 0);
    memset(out, 7, ROWS * row_bytes);
    EXPECT(ENGRAM_UNREAD, engram_lookup(cut, batch, ENGRAM_STORED, out, row_bytes, 0, &error));
    CHECK(out[0] == 0 && memcmp(out, out + 1, row_bytes - 1) == 0 && out[row_bytes] == 7);

    /* A ticket may outlive its batch and its store. */
    engram_ticket *ticket;
    EXPECT(ENGRAM_OK, engram_submit(cut, batch, ENGRAM_STORED, out, row_bytes, 0, &ticket, &error));
    engram_store_close(cut);
    EXPECT(ENGRAM_UNREAD, engram_ticket_wait(ticket, &error));
    engram_ticket_free(ticket);
    EXPECT(ENGRAM_BAD_SIZE, engram_store_open(scratch, NULL, &cut, &error));
}

/* A checkpoint that is written to while a pack that is attached to it is open. */
static void writing(const char *attached, char **sources, int count) {
    engram_store *open;
    int32_t ids[ROWS] = {3, 0, 2, 1};
    EXPECT(ENGRAM_OK, engram_store_open(attached, NULL, &open, &error));
    uint32_t first = engram_layer_id(open, 0);
    size_t bytes = ROWS * engram_layer_row_bytes(open, first);
    unsigned char *rows = (unsigned char *)malloc(bytes);
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, first, ids, ROWS, &error));
    for (int i = 0; i < count; i++) {
        FILE *file = fopen(sources[i], "ab");
        CHECK(file != NULL && fputc(0, file) == 0 && fclose(file) == 0);
    }
    memset(rows, 7, bytes);
    EXPECT(ENGRAM_SOURCE_CHANGED, engram_lookup(open, batch, ENGRAM_STORED, rows, bytes, 0, &error));
    CHECK(rows[0] == 0 && memcmp(rows, rows + 1, bytes - 1) == 0);
    free(rows);
    engram_store_close(open);
}

/* What there is not is said to be nothing. */
static void getters(void) {
    char text[8] = "*******";
    CHECK(engram_layer_id(store, engram_layer_count(store)) == UINT32_MAX);
    CHECK(engram_layer_width(store, 4711) == 0 && engram_layer_codec(store, 4711) == NULL);
    CHECK(engram_layer_row_count(store, 4711) == 0 && engram_column_row_count(store, layer, 4711) == 0);
    CHECK(engram_scheme_name(NULL) == NULL && engram_vocab_size(NULL) == 0);
    CHECK(engram_sequence_len(NULL) == 0 && engram_row_ids_positions(NULL) == 0);
    CHECK(engram_metrics_json(NULL, NULL, 0) == 0 && engram_ticket_is_done(NULL));
    CHECK(engram_error_status(NULL) == ENGRAM_OK && strcmp(engram_error_message(NULL), "") == 0);
    CHECK(engram_store_backend(store, NULL, 0) > 1 && engram_store_backend(store, text, 2) > 1);
    CHECK(text[1] == 0 && text[2] == '*');
    CHECK(engram_metrics_json(store, text, sizeof text) > sizeof text && text[0] == '{' && strlen(text) == 7);
    CHECK(engram_metrics_prometheus(store, text, sizeof text) > sizeof text && text[0] == '#');
    uint64_t seeded = 1;
    EXPECT(ENGRAM_OK, engram_store_wait_seeded(store, &seeded, &error));
    CHECK(seeded == 0 && engram_store_wait_seeded(store, NULL, NULL) == ENGRAM_OK);
    engram_sequence_truncate(NULL, 0);
    engram_ticket_cancel(NULL);
    engram_error_free(NULL);
    engram_batch_free(NULL);
    engram_row_ids_free(NULL);
    engram_sequence_free(NULL);
    engram_ticket_free(NULL);
    engram_store_close(NULL);
}

/* The system grants nothing more. */
static void limits(const char *pack) {
    enum { MANY = 400000 };
    size_t large = MANY * row_bytes;
    int32_t *ids = (int32_t *)calloc(MANY, sizeof *ids);
    unsigned char *memory = (unsigned char *)malloc(2 * large);
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, layer, ids, MANY, &error));
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%lu", &pages) == 1);
    fclose(statm);
    struct rlimit before, limit;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    limit = before;
    limit.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + (16 << 20);
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    engram_status status = engram_lookup(store, batch, ENGRAM_STORED, memory, 2 * large, 2 * row_bytes, &error);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    EXPECT(ENGRAM_NO_MEMORY, status);
    free(memory);
    free(ids);

    engram_ticket *ticket;
    int32_t id = 0, event;
    EXPECT(ENGRAM_OK, engram_batch_set_i32(batch, layer, &id, 1, &error));
    EXPECT(ENGRAM_OK, engram_submit(store, batch, ENGRAM_STORED, out, row_bytes, 0, &ticket, &error));
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    EXPECT(ENGRAM_TOO_MANY_FILES, engram_ticket_eventfd(ticket, &event, &error));
    engram_ticket_free(ticket);
    engram_store *none = NULL;
    EXPECT(ENGRAM_TOO_MANY_FILES, engram_store_open(pack, NULL, &none, &error));
}

int main(int argc, char **argv) {
    if (argc < 7) {
        return 2;
    }
    opening(argv[1]);
    EXPECT(ENGRAM_OK, engram_store_open(argv[1], NULL, &store, &error));
    EXPECT(ENGRAM_OK, engram_batch_new(&batch, &error));
    layer = engram_layer_id(store, 0);
    row_bytes = engram_layer_row_bytes(store, layer);
    out = (unsigned char *)malloc(ROWS * row_bytes);
    asking();
    tickets();
    hashing();
    cutting(argv[2], argv[3]);
    writing(argv[5], argv + 6, argc - 6);
    getters();
    if (strcmp(argv[4], "limits") == 0) {
        limits(argv[1]);
    }
    engram_batch_free(batch);
    engram_store_close(store);
    free(out);
    return 0;
}
