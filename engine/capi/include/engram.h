// engram.h: rows of Engram tables, by row id or by tokens. Made by cbindgen from engine/capi/src; do not edit.
//
// A store is an open pack. Tokens become row ids by a sequence (the history of a request, kept here) or by windows (the
// caller keeps it); a batch asks for rows; a lookup waits for them, a ticket lets the caller go on.
//
// Errors. Calls that may fail return a status, ENGRAM_OK (0) if they worked. The last parameter, `error`, may be NULL;
// otherwise *error is set to NULL, or to what went wrong, which the caller frees by engram_error_free. There is no other
// error state. A status says which kind of error it is, its message the file or argument, what was expected and what was
// found. Getters do not fail: they say what they give for what there is not. Nothing is thrown, no call ends the process
// but for want of memory, and a bug of the library is reported as ENGRAM_PANIC (also by a line on standard error).
//
// Memory. Every object is made by a function that names it and freed by the one that ends in `_free` (or `_close`), which
// takes NULL too. Objects are independent: they may be freed in any order. The library keeps no pointer of the caller's
// after a call returns, but for tickets: see engram_submit. Bytes are counted in size_t; values are in the byte order of
// the machine, which is little-endian.
//
// Threads. A store may be used by any threads at the same time, and so may batches and row ids that no thread changes.
// Sequences, tickets and everything that is changed belong to one thread at a time, whichever. Nothing is closed or freed
// while another thread uses it. There is no global state.
//
// fork. A store of the readers "direct" and "direct_threads" belongs to the process that opened it, since its reading
// threads are not copied: in a forked process its lookups and tickets, those from before the fork too, are ENGRAM_FORKED
// at once, even where rows are cached or resident. Stores of other readers serve there as before; only a ticket whose
// rows were still being gathered at the fork is ENGRAM_FORKED. Everything may be freed and closed there, none of it
// touches the parent, and memory that the parent has lent to a ticket is left alone. A forked process that wants rows
// opens the pack itself; the option "cache_folder" shares one cache among processes. A callback that forks must end the
// forked process by exec or _exit.


#ifndef ENGRAM_H
#define ENGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The token that marks a position which reads no rows of its own, such as an image token; -1 as `int32_t`. Later
// n-grams reach neither it nor anything before it.
#define ENGRAM_DEAD 4294967295

// Number of the binary interface that this header describes. It grows whenever a program that was compiled before
// might no longer work; new functions and status codes leave it as it is. Compare it with `engram_abi()`.
#define ENGRAM_ABI 1

// Outcome of a call. A number keeps its meaning; later releases may add some.
enum engram_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It worked.
  ENGRAM_OK = 0,
  // A pointer that must not be NULL is.
  ENGRAM_NULL_ARGUMENT = 1,
  // An argument that has no meaning, such as an unknown constant or a stride shorter than a row.
  ENGRAM_BAD_ARGUMENT = 2,
  // Text that is not UTF-8.
  ENGRAM_NOT_UTF8 = 3,
  // Options that are not a JSON object.
  ENGRAM_OPTIONS_NOT_JSON = 10,
  // Options with a field that there is not.
  ENGRAM_OPTIONS_UNKNOWN_FIELD = 11,
  // Options with a field whose value it cannot have.
  ENGRAM_OPTIONS_FIELD = 12,
  // Options that move a stripe which the pack has not.
  ENGRAM_NO_STRIPE = 13,
  // Options that choose columns which the pack has not.
  ENGRAM_BAD_COLUMNS = 14,
  // A folder without a manifest.
  ENGRAM_NOT_A_PACK = 20,
  // An addressing scheme that cannot be used, or does not fit its token map.
  ENGRAM_BAD_SCHEME = 21,
  // A checkpoint that has changed since the pack was attached to it.
  ENGRAM_CHANGED = 22,
  // A backing whose reads cannot be planned. The C interface has no backings of its own.
  ENGRAM_BAD_GEOMETRY = 23,
  // Resident columns were asked of an attached pack, which has none.
  ENGRAM_NO_COLUMNS = 24,
  // A file of another kind.
  ENGRAM_BAD_MAGIC = 25,
  // A file that a later release has written.
  ENGRAM_NEWER_VERSION = 26,
  // A file that is damaged, or was edited.
  ENGRAM_BAD_CHECKSUM = 27,
  // A shard that belongs elsewhere.
  ENGRAM_BAD_HEADER_FIELD = 28,
  // A file of another size than the format says.
  ENGRAM_BAD_SIZE = 29,
  // A file or text longer than the format allows.
  ENGRAM_TOO_LONG = 30,
  // Text that is no manifest.
  ENGRAM_BAD_MANIFEST = 31,
  // A manifest with a field that contradicts the rest.
  ENGRAM_BAD_MANIFEST_FIELD = 32,
  // A profile with a field that contradicts the rest.
  ENGRAM_BAD_PROFILE_FIELD = 33,
  // A profile of other ids than the pack's.
  ENGRAM_OTHER_PROFILE = 34,
  // A token map that cannot be used.
  ENGRAM_BAD_TOKEN_MAP = 35,
  // A row codec with impossible parameters.
  ENGRAM_BAD_CODEC = 36,
  // A file of the checkpoint behind an attached pack is not where it was; the option "checkpoint" names its folder.
  ENGRAM_CHECKPOINT_MOVED = 37,
  // A shared folder without room for the copies and caches that are to be made in it.
  ENGRAM_NO_SPACE = 38,
  // A shared copy of a resident column can neither be used nor made.
  ENGRAM_UNUSABLE_COPY = 39,
  // A token outside the vocabulary.
  ENGRAM_TOKEN_OUT_OF_RANGE = 40,
  // A token outside the vocabulary, in a place of a window that is not blocked.
  ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE = 41,
  // Windows that are not whole. C callers count windows, so theirs always are.
  ENGRAM_WINDOW_SHAPE = 42,
  // A layer without a table.
  ENGRAM_UNKNOWN_LAYER = 50,
  // A row id beyond the last row of the layer.
  ENGRAM_ROW_OUT_OF_RANGE = 51,
  // A batch of more than 4,294,967,295 rows.
  ENGRAM_BATCH_TOO_LARGE = 52,
  // Memory that is not aligned for its values, or a stride that is not a multiple of their size.
  ENGRAM_MISALIGNED = 53,
  // Memory too small for the rows.
  ENGRAM_OUTPUT_SIZE = 54,
  // A record that is damaged, or belongs elsewhere.
  ENGRAM_DAMAGED = 55,
  // Rows that could not be read.
  ENGRAM_UNREAD = 56,
  // N-grams of another shape than the table's. C callers give none.
  ENGRAM_NGRAM_SHAPE = 57,
  // A tier of the caller's has failed. The C interface has none.
  ENGRAM_TIER_FAILED = 58,
  // A backing has dropped a read.
  ENGRAM_READ_DROPPED = 59,
  // A reading thread has ended by a bug; the pack must be opened again.
  ENGRAM_ABORTED = 60,
  // A store in a process that was forked from the one that opened it, and has none of its threads.
  ENGRAM_FORKED = 61,
  // A file of the checkpoint behind an attached pack has changed since the pack was opened; open it again.
  ENGRAM_SOURCE_CHANGED = 62,
  // A shared copy of a resident column is damaged. The message says whether it has been removed or is to be; then
  // open the pack again.
  ENGRAM_DAMAGED_COPY = 63,
  // A row of a column that is not among those that the option `columns` chose.
  ENGRAM_COLUMN_NOT_OPEN = 64,
  // A frame of a cold pack that is damaged, or belongs elsewhere.
  ENGRAM_DAMAGED_FRAME = 67,
  // A ticket that was cancelled.
  ENGRAM_CANCELLED = 65,
  // A ticket that was waited for or cancelled before, so that nothing can be told about it any more.
  ENGRAM_TICKET_ENDED = 66,
  // The system refused to do something with a file or folder.
  ENGRAM_FILE = 70,
  // This process may not open more files.
  ENGRAM_TOO_MANY_FILES = 71,
  // All processes together may not open more files.
  ENGRAM_TOO_MANY_FILES_IN_SYSTEM = 72,
  // A read past the end of a file.
  ENGRAM_PAST_END = 73,
  // A file that was cut shorter while it was open.
  ENGRAM_FILE_ENDED = 74,
  // A file of another size than its use needs.
  ENGRAM_WRONG_SIZE = 75,
  // The system refused memory.
  ENGRAM_NO_MEMORY = 76,
  // The system refused something that concerns no file.
  ENGRAM_SYSTEM = 77,
  // The system refused a thread.
  ENGRAM_NO_THREAD = 78,
  // A new file that another process or thread is writing.
  ENGRAM_BUSY = 79,
  // A new file larger than any that this process may write.
  ENGRAM_FILE_SIZE_LIMIT = 80,
  // A file larger than any of its kind need be.
  ENGRAM_FILE_TOO_LARGE = 81,
  // Something else where a file should be, such as a folder.
  ENGRAM_NOT_A_FILE = 82,
  // A file that may not change while it is open, and has.
  ENGRAM_FILE_CHANGED = 83,
  // Bytes of a file that are not those that were written.
  ENGRAM_FILE_DAMAGED = 84,
  // A shard that is not where its stripe was when the pack was built, or where the option `stripes` says.
  ENGRAM_STRIPE_MISSING = 90,
  // A cold pack, in a program without what decompresses it.
  ENGRAM_COLD_NOT_BUILT = 91,
  // A cold pack that is to be read as only a packed one can be.
  ENGRAM_COLD_UNSUITED = 92,
  // An index of a cold pack's frames that contradicts the rest.
  ENGRAM_BAD_FRAME_INDEX = 93,
  // A dictionary of a cold pack that is none.
  ENGRAM_BAD_DICTIONARY = 94,
  // An error that has no number yet; its message says what it is.
  ENGRAM_OTHER = 98,
  // A bug of this library. The call had no effect that can be relied on.
  ENGRAM_PANIC = 99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum engram_status engram_status;
#else
typedef int32_t engram_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The rows that one call asks for: a layer, and row ids in the order in which the rows are wanted. It keeps its
// memory, so a batch that is set again and again stops allocating. Any number of threads may ask for the rows of one
// batch while none of them changes it.
typedef struct engram_batch engram_batch;

// What went wrong in a call: a status and a message. It belongs to whoever called, and knows nothing of other calls.
typedef struct engram_error engram_error;

// Row ids that were hashed: for each layer, `[position][column]`. It keeps its memory from call to call.
typedef struct engram_row_ids engram_row_ids;

// The tokens of one request so far, four bytes each, of which the n-grams of the next ones are made. One thread at a
// time may use it. It belongs to the model of the store with which it was extended first; packs of another model give
// other row ids for it.
typedef struct engram_sequence engram_sequence;

// An open pack: the tables of a model, and the scheme by which tokens address their rows. Any number of threads may
// use it at the same time.
typedef struct engram_store engram_store;

// A batch whose rows are on their way. One thread at a time may use it, any thread. It may outlive the batch and the
// store that it was asked of.
typedef struct engram_ticket engram_ticket;

// Whose reads go first: one of the four constants below.
typedef uint32_t engram_priority;

// What rows are handed out as: one of the four constants below.
typedef uint32_t engram_value_type;

// Decided by the size of the batch: up to 1,024 rows are taken for a decode step, more for a prompt.
#define ENGRAM_BY_SIZE 0

// Rows for the next token of somebody who waits.
#define ENGRAM_DECODE 1

// Rows of a prompt.
#define ENGRAM_PREFILL 2

// Rows that nobody waits for.
#define ENGRAM_WARM 3

// The bytes of the checkpoint, as `engram_layer_codec` names them.
#define ENGRAM_STORED 0

// Decoded to IEEE binary32, 4 bytes a value.
#define ENGRAM_F32 1

// Decoded to IEEE binary16, 2 bytes a value, rounded to nearest even.
#define ENGRAM_F16 2

// Decoded to bfloat16 (the upper half of binary32), 2 bytes a value, rounded to nearest even.
#define ENGRAM_BF16 3

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes an empty batch of layer 0. Free it with `engram_batch_free`.
engram_status engram_batch_new(struct engram_batch **batch, struct engram_error **error);

// Asks for `count` rows of `layer`, the model's id of it. A negative id means "no row": its place in the output is
// filled with zeros. Ids are copied, so the array may change afterwards. Whether the layer and the rows exist is
// checked when the rows are asked for.
//
// Errors: `ENGRAM_BATCH_TOO_LARGE`; then the batch has not changed.
engram_status engram_batch_set_i32(struct engram_batch *batch,
                                   uint32_t layer,
                                   const int32_t *row_ids,
                                   size_t count,
                                   struct engram_error **error);

// As `engram_batch_set_i32`, with ids of 64 bits.
engram_status engram_batch_set_i64(struct engram_batch *batch,
                                   uint32_t layer,
                                   const int64_t *row_ids,
                                   size_t count,
                                   struct engram_error **error);

// As `engram_batch_set_i32`, with unsigned ids of 64 bits. "No row" is every id from 2^63 on, such as `UINT64_MAX`.
engram_status engram_batch_set_u64(struct engram_batch *batch,
                                   uint32_t layer,
                                   const uint64_t *row_ids,
                                   size_t count,
                                   struct engram_error **error);

// Asks for what was hashed: the rows `[position][column]` of `layer`, of the `column_count` columns from
// `first_column` on. All columns of a layer are 0 and `engram_layer_column_count`; a rank of a tensor-parallel model
// takes its own, or opens no others by the option `columns`. Ids are copied.
//
// Errors: `ENGRAM_UNKNOWN_LAYER`; `ENGRAM_BAD_ARGUMENT` for columns that there are not, or if nothing has been hashed
// yet; `ENGRAM_BATCH_TOO_LARGE`. Then the batch has not changed.
engram_status engram_batch_set_hashed(struct engram_batch *batch,
                                      const struct engram_row_ids *row_ids,
                                      uint32_t layer,
                                      size_t first_column,
                                      size_t column_count,
                                      struct engram_error **error);

// Says whose reads go first, from now on. A new batch has `ENGRAM_BY_SIZE`. Reads of a higher priority begin before
// those of a lower one that wait, whoever asked earlier.
//
// Errors: `ENGRAM_BAD_ARGUMENT` for an unknown constant.
engram_status engram_batch_set_priority(struct engram_batch *batch,
                                        engram_priority priority,
                                        struct engram_error **error);

// Frees a batch. Tickets that were asked for with it do not need it. NULL is allowed.
void engram_batch_free(struct engram_batch *batch);

// The status that the call returned; `ENGRAM_OK` for NULL.
engram_status engram_error_status(const struct engram_error *error);

// What went wrong, in English: the file or argument, what was expected and what was found. Without a line break at its
// end. It lives as long as the error; "" for NULL.
const char *engram_error_message(const struct engram_error *error);

// Copies the message to the `capacity` bytes at `buffer`, cut off if need be and always with a NUL at its end. Returns
// its length without the NUL, whatever the capacity, as `snprintf` does.
size_t engram_error_copy_message(const struct engram_error *error,
                                 char *buffer,
                                 size_t capacity);

// Frees an error. NULL is allowed.
void engram_error_free(struct engram_error *error);

// Copies the rows of `batch` to `out`, in its order, and waits for those that have to be read.
//
// `value_type` says whether rows are handed out as stored or decoded; decoded ones need memory that is aligned for
// their values. `out` has `out_bytes` bytes, at least those of the rows. `row_stride` is the distance in bytes from
// the start of a row to that of the next, or 0 for rows that touch one another: then rows in memory are copied or
// decoded right to their places, without a copy between; with a larger stride there is one. What lies between rows is
// not touched. Rows whose id is negative are zeros.
//
// Any number of threads may look rows up at the same time.
//
// Errors: `ENGRAM_UNKNOWN_LAYER`, `ENGRAM_OUTPUT_SIZE`, `ENGRAM_MISALIGNED`, `ENGRAM_BAD_ARGUMENT`,
// `ENGRAM_NULL_ARGUMENT`; then `out` is not written to. `ENGRAM_ROW_OUT_OF_RANGE`,
// `ENGRAM_COLUMN_NOT_OPEN`, `ENGRAM_DAMAGED`, `ENGRAM_DAMAGED_COPY`, `ENGRAM_SOURCE_CHANGED`, `ENGRAM_UNREAD`,
// `ENGRAM_FORKED`, and what the system refuses; then all rows are zeros.
engram_status engram_lookup(const struct engram_store *store,
                            const struct engram_batch *batch,
                            engram_value_type value_type,
                            void *out,
                            size_t out_bytes,
                            size_t row_stride,
                            struct engram_error **error);

// As `engram_lookup` with `ENGRAM_STORED`, with the values of a row and its scales apart: `engram_layer_value_bytes`
// bytes of each row to `values`, and the other `engram_layer_scale_bytes` to `scales`, which may be NULL where a layer
// has none. Each has a stride of its own; there is a copy between.
engram_status engram_lookup_parts(const struct engram_store *store,
                                  const struct engram_batch *batch,
                                  void *values,
                                  size_t values_bytes,
                                  size_t values_stride,
                                  void *scales,
                                  size_t scales_bytes,
                                  size_t scales_stride,
                                  struct engram_error **error);

// Reads the rows of `batch` into the cache, so that later calls find them there; the last ones are the most likely to
// stay. Waits until that is done. Without a cache it only reads. Its reads have the priority `ENGRAM_WARM`.
//
// Errors: as `engram_lookup`.
engram_status engram_warm(const struct engram_store *store,
                          const struct engram_batch *batch,
                          struct engram_error **error);

// What the store has done since it was opened, as a JSON object of one line:
//
//     {"tables": [{"layer": 1, "batches": 2, "rows": 96, "reads": 40, "read_bytes": 163840, "used_bytes": 10560,
//                  "wait_ns": 250000,
//                  "priorities": [{"priority": "decode", "batches": 2, "rows": 96, "wait_ns": 250000}],
//                  "columns": [{"column": 0, "order": 2, "head": 0, "rows": 8, "cached": 3}]}],
//      "in_flight": 0, "cache_bytes": 268435456, "shared_cache_bytes": 0, "frame_reads": 0, "frame_read_bytes": 0,
//      "frame_hits": 0, "frame_cache_bytes": 0, "pooled_bytes": 4096, "seeded_rows": 0, "seed_failures": 0}
//
// "columns" are those whose rows are fetched from the drive; "frame..." are about cold packs. Later releases may add
// fields. Copied to the `capacity` bytes at `buffer` as `snprintf` does; returns the length without the NUL, whatever
// the capacity. It may be longer at the next call.
size_t engram_metrics_json(const struct engram_store *store,
                           char *buffer,
                           size_t capacity);

// As `engram_metrics_json`, in the text format of Prometheus.
size_t engram_metrics_prometheus(const struct engram_store *store, char *buffer, size_t capacity);

// Makes an empty list of row ids. Free it with `engram_row_ids_free`.
engram_status engram_row_ids_new(struct engram_row_ids **row_ids, struct engram_error **error);

// Positions that the last call hashed.
size_t engram_row_ids_positions(const struct engram_row_ids *row_ids);

// The row ids of `layer`, `[position][column]`, as many as positions times `engram_layer_column_count`. They are the
// list's, and stay as they are until it is hashed to again or freed. NULL if the layer has no table or nothing was
// hashed yet.
const uint64_t *engram_row_ids_of_layer(const struct engram_row_ids *row_ids,
                                        uint32_t layer);

// Frees a list of row ids. NULL is allowed.
void engram_row_ids_free(struct engram_row_ids *row_ids);

// Name of the addressing scheme, such as "deepseek-v4.1-flash". It lives as long as the store.
const char *engram_scheme_name(const struct engram_store *store);

// Token ids are below this number (or `ENGRAM_DEAD`).
size_t engram_vocab_size(const struct engram_store *store);

// Tokens of the longest n-gram, N: the orders are 2 to N, or 1 alone where N is 1 and the row of a token is its id.
// Also the tokens of a window.
uint32_t engram_max_order(const struct engram_store *store);

// Hashes of each order.
uint32_t engram_heads(const struct engram_store *store);

// Columns of each layer, which is the number of rows that a token reads there: orders times heads, or as many as the
// option `columns` chose. Where it chose other columns for each layer, those of the layer with the most;
// `engram_layer_column_count` tells of one.
size_t engram_column_count(const struct engram_store *store);

// Columns of `layer` that are open. 0 if it has no table.
size_t engram_layer_column_count(const struct engram_store *store, uint32_t layer);

// Layers that have a table.
size_t engram_layer_count(const struct engram_store *store);

// The model's id of the layer at `index`, counted from 0 among those that have a table. All other functions take this
// id. `UINT32_MAX` beyond the last.
uint32_t engram_layer_id(const struct engram_store *store,
                         size_t index);

// Rows of `layer`, all columns together, open or not: row ids are below this number. 0 if it has no table.
uint64_t engram_layer_row_count(const struct engram_store *store,
                                uint32_t layer);

// Values of a row of `layer`. 0 if it has no table.
size_t engram_layer_width(const struct engram_store *store, uint32_t layer);

// Bytes of a stored row of `layer`: its values, then its scales. 0 if it has no table.
size_t engram_layer_row_bytes(const struct engram_store *store, uint32_t layer);

// Bytes of the values of a stored row of `layer`. 0 if it has no table.
size_t engram_layer_value_bytes(const struct engram_store *store, uint32_t layer);

// Bytes of the scales of a stored row of `layer`. 0 if it has none, or no table.
size_t engram_layer_scale_bytes(const struct engram_store *store, uint32_t layer);

// How rows of `layer` are stored, as the manifest says it: such as `bf16`, `fp8_e4m3_ue8m0` (a power of two scales
// each group of values) or `q8_0`. format-spec/FORMAT.md has the list, which may grow. It lives as long as the store;
// NULL if the layer has no table.
const char *engram_layer_codec(const struct engram_store *store,
                               uint32_t layer);

// Tokens of the n-grams of the column at `index` of `layer`, counted among those that are open. 0 if there is none.
uint32_t engram_column_order(const struct engram_store *store,
                             uint32_t layer,
                             size_t index);

// Which of the hashes of its order the column at `index` of `layer` is, from 0. 0 if there is no such column.
uint32_t engram_column_head(const struct engram_store *store,
                            uint32_t layer,
                            size_t index);

// Row id of the first row of the column at `index` of `layer`. 0 if there is no such column.
uint64_t engram_column_first_row(const struct engram_store *store, uint32_t layer, size_t index);

// Rows of the column at `index` of `layer`. 0 if there is no such column.
uint64_t engram_column_row_count(const struct engram_store *store, uint32_t layer, size_t index);

// Makes an empty history. Free it with `engram_sequence_free`.
engram_status engram_sequence_new(struct engram_sequence **sequence, struct engram_error **error);

// Makes a copy that grows independently from here on. Free it with `engram_sequence_free`.
engram_status engram_sequence_fork(const struct engram_sequence *sequence,
                                   struct engram_sequence **fork,
                                   struct engram_error **error);

// Tokens of the history, dead positions included. 0 for NULL.
size_t engram_sequence_len(const struct engram_sequence *sequence);

// Drops all but the first `len` tokens, for example speculative ones that were rejected. Does nothing to a shorter
// history, or to NULL.
void engram_sequence_truncate(struct engram_sequence *sequence,
                              size_t len);

// Appends `count` tokens, or `ENGRAM_DEAD` for positions without rows, and hashes them: `row_ids` gets the rows of
// each in every layer. However tokens are split into calls, they get the same rows.
//
// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`; then neither the history nor `row_ids` has changed.
engram_status engram_sequence_extend(struct engram_sequence *sequence,
                                     const struct engram_store *store,
                                     const uint32_t *tokens,
                                     size_t count,
                                     struct engram_row_ids *row_ids,
                                     struct engram_error **error);

// Gives the row ids that `engram_sequence_extend` would, and leaves the history as it is.
//
// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`; then `row_ids` has not changed.
engram_status engram_sequence_peek(const struct engram_sequence *sequence,
                                   const struct engram_store *store,
                                   const uint32_t *tokens,
                                   size_t count,
                                   struct engram_row_ids *row_ids,
                                   struct engram_error **error);

// Appends `count` tokens without hashing them, such as a prefix whose outcome is cached elsewhere.
//
// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`; then the history has not changed.
engram_status engram_sequence_advance(struct engram_sequence *sequence,
                                      const struct engram_store *store,
                                      const uint32_t *tokens,
                                      size_t count,
                                      struct engram_error **error);

// As `engram_sequence_extend` for `sequence_count` histories at once: `counts[i]` tokens are appended to
// `sequences[i]`. `tokens` has those of all, one history after another, and `row_ids` gets their positions in the same
// order.
//
// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`, or `ENGRAM_BAD_ARGUMENT` for a history that is named twice; then nothing has
// changed.
engram_status engram_sequences_extend(struct engram_sequence *const *sequences,
                                      const size_t *counts,
                                      size_t sequence_count,
                                      const struct engram_store *store,
                                      const uint32_t *tokens,
                                      struct engram_row_ids *row_ids,
                                      struct engram_error **error);

// Frees a history. NULL is allowed.
void engram_sequence_free(struct engram_sequence *sequence);

// Opens the pack in the folder `path`. It checks the manifest, the token map, and the size and header of every shard;
// columns that are to be resident are loaded.
//
// `options` is NULL or a JSON object in UTF-8, with any of these fields:
//
//     "reader"           "direct" (default), "direct_threads", "mmap", "pread" or "memory"
//     "check_seals"      true (default) or false
//     "checkpoint"       path of the checkpoint behind an attached pack, where it has moved
//     "stripes"          paths of stripes that have moved, by their number: {"1": "/mnt/drive/stripe"}
//     "columns"          "all" (default), {"rank": R, "ranks": N}, [START, END] or {"LAYER": [START, END]}: the
//                        columns of each layer that are open, such as those of a tensor-parallel rank
//     "resident"         "none" (default), {"orders": N} or {"bytes": SIZE}
//     "resident_folder"  path of a folder in which processes share resident columns
//     "cache_bytes"      SIZE of the cache of rows, 256 MiB by default
//     "cache_folder"     path of a folder in which processes share the cache
//     "profile"          path of a profile, by which the cache is filled and resident columns are chosen
//     "io_threads"       threads that read, 0 (default) for as many as suit
//     "io_depth"         reads in flight of each thread, 256 by default
//     "gather_threads"   threads that work on large batches
//     "pool_bytes"       SIZE of the memory that unused buffers keep, 64 MiB by default
//
// A SIZE is a number of bytes or text such as "512 MiB".
//
// The store keeps its files, memory and threads until `engram_store_close`.
//
// Errors: `ENGRAM_OPTIONS_...`, `ENGRAM_NO_STRIPE`, `ENGRAM_BAD_COLUMNS`, `ENGRAM_NOT_UTF8`; those from
// `ENGRAM_NOT_A_PACK` to `ENGRAM_UNUSABLE_COPY`, `ENGRAM_DAMAGED_COPY` and `ENGRAM_STRIPE_MISSING`; and what the
// system refuses, from `ENGRAM_FILE` on. Then `*store` is not written to.
engram_status engram_store_open(const char *path,
                                const char *options,
                                struct engram_store **store,
                                struct engram_error **error);

// Closes a store. Tickets that were asked of it are still served, and batches, sequences and row ids do not need it.
// NULL is allowed.
void engram_store_close(struct engram_store *store);

// How files are read, as far as the system allowed, for people: such as `io_uring, 1 thread`. Copied to the `capacity`
// bytes at `buffer` as `snprintf` does; returns the length without the NUL, whatever the capacity.
size_t engram_store_backend(const struct engram_store *store,
                            char *buffer,
                            size_t capacity);

// Waits until the rows of the option "profile" are in the cache, as many as it had room for. `rows` may be NULL; it is
// set to how many were read, 0 without a profile or a cache. Lookups need not wait for it.
//
// Errors: `ENGRAM_DAMAGED`, `ENGRAM_UNREAD` and others of `engram_lookup`, of the first rows that could not be read.
// The others have been taken in all the same.
engram_status engram_store_wait_seeded(const struct engram_store *store,
                                       uint64_t *rows,
                                       struct engram_error **error);

// Begins to read the rows of `batch` to `out`, and does not wait for them. The parameters are those of
// `engram_lookup`. A large batch is left to threads of the store (unless the option `gather_threads` is 0), so its
// caller is kept only as long as copying its row ids takes. The batch may be changed or freed at once.
//
// The caller lends the memory at `out`, pinned memory included: it stays where it is, and nobody else reads or writes
// it, until `engram_ticket_wait` or `engram_ticket_free` has returned. Rows that touch one another are read or decoded
// right there; others, and those of a batch with negative ids, get to their places in `engram_ticket_wait`. So wait
// before reading them, also when an event or a callback has said that the ticket is done: then it takes no more than
// that.
//
// Errors: as `engram_lookup`; those of single rows may come here or with `engram_ticket_wait`. No ticket is made then.
engram_status engram_submit(const struct engram_store *store,
                            const struct engram_batch *batch,
                            engram_value_type value_type,
                            void *out,
                            size_t out_bytes,
                            size_t row_stride,
                            struct engram_ticket **ticket,
                            struct engram_error **error);

// As `engram_submit`, with values and scales apart: the parameters are those of `engram_lookup_parts`. Both memories
// are lent.
engram_status engram_submit_parts(const struct engram_store *store,
                                  const struct engram_batch *batch,
                                  void *values,
                                  size_t values_bytes,
                                  size_t values_stride,
                                  void *scales,
                                  size_t scales_bytes,
                                  size_t scales_stride,
                                  struct engram_ticket **ticket,
                                  struct engram_error **error);

// Waits until all rows are at their places, and says whether they are. The memory belongs to the caller again. Waiting
// once more says the same.
//
// Errors: `ENGRAM_DAMAGED`, `ENGRAM_UNREAD` and others of `engram_lookup`; then all rows are zeros.
// `ENGRAM_CANCELLED`, or `ENGRAM_FORKED` of a ticket from before the fork; then they may be anything.
engram_status engram_ticket_wait(struct engram_ticket *ticket,
                                 struct engram_error **error);

// Whether `engram_ticket_wait` would return at once. True for NULL.
bool engram_ticket_is_done(const struct engram_ticket *ticket);

// Lets go of the rows, for example of speculative tokens that were rejected: what has not been read is not read. It
// does not wait for reads in flight, which may still write to the memory: that is the caller's again when
// `engram_ticket_wait` or `engram_ticket_free` has returned, some milliseconds later. Does nothing to a ticket that
// has been waited for, or to NULL.
void engram_ticket_cancel(struct engram_ticket *ticket);

// Makes an event file (`eventfd`) that becomes readable once the ticket is done, for `poll`, `epoll` and the like. It
// belongs to the caller, who closes it, and takes it out of an `epoll` set before: the library may hold a copy for a
// moment longer, and `epoll` forgets a file only with its last copy. It takes the place of an event file or callback
// that was asked for before.
//
// Errors: `ENGRAM_TICKET_ENDED`, and a system that grants no more files.
engram_status engram_ticket_eventfd(const struct engram_ticket *ticket,
                                    int *file,
                                    struct engram_error **error);

// Calls `callback(context)` once when the ticket is done: at once if that is so already, else on the thread that reads
// the last row. The callback holds that thread up, so it must not block, nor call anything of this library for this
// ticket, nor throw; it tells another thread. It takes the place of an event file or callback that was asked for
// before. A cancelled or freed ticket may call it too, so `context` has to live until it has been called.
//
// Errors: `ENGRAM_TICKET_ENDED`, `ENGRAM_NULL_ARGUMENT`.
engram_status engram_ticket_on_done(const struct engram_ticket *ticket,
                                    void (*callback)(void *context),
                                    void *context,
                                    struct engram_error **error);

// Frees a ticket, and cancels it if it has not been waited for; then it waits for the reads in flight, some
// milliseconds. The memory belongs to the caller again. NULL is allowed.
void engram_ticket_free(struct engram_ticket *ticket);

// Number of the binary interface of the library that is loaded. A program whose `ENGRAM_ABI` is another one must not
// call anything else of it.
uint32_t engram_abi(void);

// Version of the library that is loaded, such as "0.1.0". It lives as long as the library.
const char *engram_version(void);

// Hashes positions whose last tokens the caller knows. `windows` is `[count][N]`, with N as `engram_max_order` says:
// for each position its own token, then the one before it, and so on. `row_ids` gets the rows of each in every layer.
//
// `blocked` is NULL or `[count][N]` too. No n-gram reaches a place that is not 0 there, nor anything older, and its
// token is not looked at. Places before the start of a history have to be blocked, or hold `ENGRAM_DEAD`, which does
// the same. A window whose newest place is blocked is a dead position. The tokens at which a model's history ends are
// known from the pack; they need not be blocked.
//
// Errors: `ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE`; then `row_ids` has not changed.
engram_status engram_windows_hash(const struct engram_store *store,
                                  const uint32_t *windows,
                                  const uint8_t *blocked,
                                  size_t count,
                                  struct engram_row_ids *row_ids,
                                  struct engram_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ENGRAM_H */
