// Rows from a pack for programs that use llama.cpp as a library, by its callback for evaluated tensors.
//
//     engram::Eval rows("qwen.pack");
//     rows.install(context_params);                           // before llama_init_from_model
//     rows.expect(tokens, count);                             // once, before the first decode: compares row ids
//     if (llama_decode(context, batch) != 0) { ... }
//     rows.rethrow();                                         // after every decode
//
// Only public headers are needed, and no environment variable. llama.cpp computes the look-up first, from the model's
// file, whose table may be a hole; its result is overwritten before anything reads it.

#ifndef ENGRAM_EVAL_HPP
#define ENGRAM_EVAL_HPP

#include "engram-table.hpp"

#include "ggml-backend.h"

#include <exception>
#include <utility>
#include <vector>

namespace engram {

class Eval {
  public:
    explicit Eval(const char * pack, const char * options = "{}", const char * layer = nullptr) :
        table_(pack, options, layer) {}

    Eval(const Eval &) = delete;
    Eval & operator=(const Eval &) = delete;

    // Sets the callback of `parameters` (llama_context_params), of which there is one. This object must outlive the
    // context, and serves one context at a time.
    template <typename Parameters> void install(Parameters & parameters) {
        parameters.cb_eval = evaluate;
        parameters.cb_eval_user_data = this;
    }

    // Says which tokens the next decode begins with, at the beginning of a sequence that is alone in its batch. Their
    // row ids by the pack's scheme are compared with those of llama.cpp's own hash.
    void expect(const int32_t * tokens, size_t count) {
        engram_error * error = nullptr;
        engram_sequence * sequence = nullptr;
        check(engram_sequence_new(&sequence, &error), &error);
        Owned<engram_sequence> owned_sequence(sequence);
        engram_row_ids * ids = nullptr;
        check(engram_row_ids_new(&ids, &error), &error);
        Owned<engram_row_ids> owned_ids(ids);
        const std::vector<uint32_t> unsigned_tokens(tokens, tokens + count);
        check(engram_sequence_extend(sequence, table_.store(), unsigned_tokens.data(), count, ids, &error), &error);
        const uint64_t * rows = engram_row_ids_of_layer(ids, table_.layer());
        expected_.assign(rows, rows + count * table_.columns());
    }

    // Throws what has gone wrong in a decode, whose logits are then meaningless: llama.cpp does not hear of it.
    void rethrow() {
        if (failure_) {
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
    }

    // Rows that were given to llama.cpp.
    uint64_t rows() const { return rows_; }

  private:
    static bool evaluate(ggml_tensor * op, bool ask, void * self) {
        return ((Eval *) self)->on_tensor(op, ask);
    }

    // Asked first whether the callback wants `op`, and called again when it has been computed. No exception may pass
    // through llama.cpp, and after one it shall compute no more of this pass.
    bool on_tensor(ggml_tensor * op, bool ask) {
        try {
            if (failure_) {
                return false;
            }
            const bool is_lookup = table_.is_lookup(op);
            if (ask || !is_lookup) {
                return is_lookup || !ask;
            }
            replace(op);
            return true;
        } catch (...) {
            failure_ = std::current_exception();
            // Asked, it says yes, so as to be called again and stop the pass there.
            return ask;
        }
    }

    void replace(ggml_tensor * op) {
        const ggml_tensor * ids = op->src[1];
        if (!ggml_is_contiguous(ids) || !ggml_is_contiguous(op)) {
            throw std::runtime_error(std::string(op->name) + ": ids or rows have gaps, which this does not do");
        }
        ids_.resize(size_t(ggml_nelements(ids)));
        ggml_backend_tensor_get(ids, ids_.data(), 0, ggml_nbytes(ids));
        compare();
        values_.resize(ggml_nbytes(op));
        table_.look_up(batch_.get(), ids_.data(), ids_.size(), values_.data(), values_.size());
        ggml_backend_tensor_set(op, values_.data(), 0, values_.size());
        rows_ += ids_.size();
    }

    void compare() {
        const std::vector<uint64_t> expected = std::exchange(expected_, {});
        for (size_t i = 0; i < expected.size() && i < ids_.size(); i++) {
            if (uint64_t(int64_t(ids_[i])) != expected[i]) {
                throw std::runtime_error("this pack is not the model's table: row id " + std::to_string(i) + " is " +
                                         std::to_string(expected[i]) + " by the pack's scheme and " +
                                         std::to_string(ids_[i]) + " by the model's hash");
            }
        }
    }

    Table table_;
    Owned<engram_batch> batch_ = new_batch();
    std::vector<uint64_t> expected_;
    std::vector<int32_t> ids_;
    std::vector<char> values_;
    std::exception_ptr failure_;
    uint64_t rows_ = 0;
};

}  // namespace engram

#endif
