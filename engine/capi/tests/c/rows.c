/* Writes rows to standard output, by one of the ways to ask for them: for the tests, which compare the bytes.
 *
 * rows PACK OPTIONS WAY LAYER ID_TYPE VALUE_TYPE STRIDE ID...
 *
 * WAY is lookup, submit, parts or submit-parts; ID_TYPE i32, i64 or u64; VALUE_TYPE the number of a constant. STRIDE is
 * in bytes. Bytes between rows are 0xEE. Of parts, the values come first, then the scales, which have the same stride.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engram.h"

static engram_error *error;

static void check(engram_status status) {
    if (status != engram_error_status(error)) {
        fprintf(stderr, "status %d, but its error says %d\n", (int)status, (int)engram_error_status(error));
        exit(3);
    }
    if (status != ENGRAM_OK) {
        printf("%d %s\n", (int)status, engram_error_message(error));
        engram_error_free(error);
        exit(1);
    }
}

static void set(engram_batch *batch, uint32_t layer, const char *type, char **ids, size_t count) {
    int32_t *narrow = (int32_t *)malloc((count + 1) * sizeof *narrow);
    int64_t *wide = (int64_t *)malloc((count + 1) * sizeof *wide);
    for (size_t i = 0; i < count; i++) {
        wide[i] = strtoll(ids[i], NULL, 10);
        narrow[i] = (int32_t)wide[i];
    }
    if (strcmp(type, "i32") == 0) {
        check(engram_batch_set_i32(batch, layer, narrow, count, &error));
    } else if (strcmp(type, "i64") == 0) {
        check(engram_batch_set_i64(batch, layer, wide, count, &error));
    } else {
        check(engram_batch_set_u64(batch, layer, (const uint64_t *)wide, count, &error));
    }
    free(narrow);
    free(wide);
}

int main(int argc, char **argv) {
    if (argc < 8) {
        return 2;
    }
    const char *way = argv[3];
    uint32_t layer = (uint32_t)strtoul(argv[4], NULL, 10);
    engram_value_type type = (engram_value_type)strtoul(argv[6], NULL, 10);
    size_t stride = strtoul(argv[7], NULL, 10);
    size_t count = (size_t)argc - 8;

    engram_store *store;
    check(engram_store_open(argv[1], argv[2], &store, &error));
    engram_batch *batch;
    check(engram_batch_new(&batch, &error));
    set(batch, layer, argv[5], argv + 8, count);

    size_t width = engram_layer_width(store, layer);
    size_t row_bytes = type == ENGRAM_STORED ? engram_layer_row_bytes(store, layer)
                                             : width * (type == ENGRAM_F32 ? 4 : 2);
    size_t value_bytes = engram_layer_value_bytes(store, layer);
    size_t scale_bytes = engram_layer_scale_bytes(store, layer);
    int apart = strstr(way, "parts") != NULL;
    size_t first = count * (stride ? stride : apart ? value_bytes : row_bytes);
    size_t second = apart ? count * (stride ? stride : scale_bytes) : 0;
    unsigned char *out = (unsigned char *)malloc(first + second + 1);
    memset(out, 0xEE, first + second);

    engram_ticket *ticket = NULL;
    if (strcmp(way, "lookup") == 0) {
        check(engram_lookup(store, batch, type, out, first, stride, &error));
    } else if (strcmp(way, "parts") == 0) {
        check(engram_lookup_parts(store, batch, out, first, stride, out + first, second, stride, &error));
    } else if (strcmp(way, "submit") == 0) {
        check(engram_submit(store, batch, type, out, first, stride, &ticket, &error));
    } else {
        check(engram_submit_parts(store, batch, out, first, stride, out + first, second, stride, &ticket, &error));
    }
    engram_batch_free(batch);
    if (ticket != NULL) {
        check(engram_ticket_wait(ticket, &error));
    }
    engram_ticket_free(ticket);
    fwrite(out, 1, first + second, stdout);
    free(out);
    engram_store_close(store);
    return 0;
}
