// The N-gram table of a model of llama.cpp's, read from a pack: is it the model's, and its rows.
//
// For ggml's public headers alone. Errors are exceptions (std::runtime_error) that name the pack or the tensor.

#ifndef ENGRAM_TABLE_HPP
#define ENGRAM_TABLE_HPP

#include "engram.h"
#include "ggml.h"

#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

namespace engram {

struct Free {
    void operator()(engram_store * store) const { engram_store_close(store); }
    void operator()(engram_batch * batch) const { engram_batch_free(batch); }
    void operator()(engram_error * error) const { engram_error_free(error); }
    void operator()(engram_sequence * sequence) const { engram_sequence_free(sequence); }
    void operator()(engram_row_ids * ids) const { engram_row_ids_free(ids); }
};

template <typename T> using Owned = std::unique_ptr<T, Free>;

// Throws the error of a call of libengram's that has failed. It takes a pointer, since the call sets `*error`, and C++
// does not say which of two arguments is evaluated first.
inline void check(engram_status status, engram_error ** error) {
    if (status != ENGRAM_OK) {
        Owned<engram_error> owned(*error);
        throw std::runtime_error(engram_error_message(*error));
    }
}

inline Owned<engram_batch> new_batch() {
    engram_batch * batch = nullptr;
    engram_error * error = nullptr;
    check(engram_batch_new(&batch, &error), &error);
    return Owned<engram_batch>(batch);
}

class Table {
  public:
    // `options` is JSON, as engram_store_open takes it. `layer` may be null where the pack has one. `tensor` is the
    // name of the table in the model.
    explicit Table(const char * pack, const char * options = "{}", const char * layer = nullptr,
                   const char * tensor = "per_layer_token_embd.weight") :
        pack_(pack), tensor_(tensor) {
        if (engram_abi() != ENGRAM_ABI) {
            throw std::runtime_error("libengram is of another release than the header that this was compiled with");
        }
        engram_store * store = nullptr;
        engram_error * error = nullptr;
        check(engram_store_open(pack, options, &store, &error), &error);
        store_.reset(store);
        layer_ = choose_layer(layer);
        width_ = int64_t(engram_layer_width(store, layer_));
        rows_ = int64_t(engram_layer_row_count(store, layer_));
    }

    engram_store * store() const { return store_.get(); }
    uint32_t layer() const { return layer_; }
    size_t columns() const { return engram_layer_column_count(store_.get(), layer_); }

    // Whether `op` looks rows of the table up. Throws if the model's table is another one.
    bool is_lookup(const ggml_tensor * op) const {
        if (op->op != GGML_OP_GET_ROWS || !op->src[0] || tensor_ != op->src[0]->name) {
            return false;
        }
        const ggml_tensor * rows = op->src[0];
        // A table in a GGUF may have rows of padding behind those of the pack.
        const int64_t padding = 1 << 16;
        if (rows->ne[0] != width_ || rows->ne[1] < rows_ || rows->ne[1] >= rows_ + padding) {
            refuse(std::to_string(rows->ne[1]) + " rows of " + std::to_string(rows->ne[0]) + " values",
                   std::to_string(rows_) + " of " + std::to_string(width_));
        }
        const char * codec = engram_layer_codec(store_.get(), layer_);
        const char * any = getenv("ENGRAM_ANY_CODEC");
        if (!(any && *any) && !is_type(codec, ggml_type_name(rows->type))) {
            refuse(std::string("rows of type ") + ggml_type_name(rows->type),
                   std::string("those of codec ") + codec + " (ENGRAM_ANY_CODEC=1 reads them all the same)");
        }
        return op->type == GGML_TYPE_F32 && op->src[1]->type == GGML_TYPE_I32;
    }

    // Writes the rows `ids` to `out`, `bytes` of float values without gaps. Every thread that looks up has a batch of
    // its own (new_batch).
    void look_up(engram_batch * batch, const int32_t * ids, size_t count, void * out, size_t bytes) const {
        engram_error * error = nullptr;
        check(engram_batch_set_i32(batch, layer_, ids, count, &error), &error);
        check(engram_lookup(store_.get(), batch, ENGRAM_F32, out, bytes, 0, &error), &error);
    }

  private:
    uint32_t choose_layer(const char * layer) const {
        const size_t count = engram_layer_count(store_.get());
        if (!layer && count == 1) {
            return engram_layer_id(store_.get(), 0);
        }
        if (!layer) {
            throw std::runtime_error(pack_ + ": the pack has several layers; say which one (ENGRAM_LAYER)");
        }
        char * end = nullptr;
        const unsigned long id = strtoul(layer, &end, 10);
        for (size_t i = 0; end != layer && !*end && i < count; i++) {
            if (engram_layer_id(store_.get(), i) == id) {
                return uint32_t(id);
            }
        }
        throw std::runtime_error(pack_ + ": the pack has no such layer as " + layer);
    }

    // What a pack calls the codec of a GGUF's rows, or that of the checkpoint that they were converted from.
    static bool is_type(std::string codec, std::string type) {
        for (char & letter : type) {
            letter = char(tolower(letter));
        }
        return codec == type || codec == type + "_gguf";
    }

    [[noreturn]] void refuse(const std::string & found, const std::string & expected) const {
        throw std::runtime_error("this pack is not the model's table: " + tensor_ + " has " + found + ", " + pack_ +
                                 " has " + expected);
    }

    std::string pack_;
    std::string tensor_;
    Owned<engram_store> store_;
    uint32_t layer_ = 0;
    int64_t width_ = 0;
    int64_t rows_ = 0;
};

}  // namespace engram

#endif
