// A program that has llama.cpp inside and takes the rows of the model's table from a pack.
//
//     embed MODEL.gguf PACK TOKENS...          TOKENS: ids between commas, one batch after another
//
// Prints the logits after each batch, as JSON. Build, where llama.cpp and libengram (engine/capi/install.sh) lie:
//
//     g++ -std=c++17 -I LLAMA_CPP/include -I LLAMA_CPP/ggml/include embed.cpp -o embed
//         $(pkg-config --cflags --libs engram) -L LLAMA_CPP/build/bin -lllama -lggml -lggml-base

#include "engram-eval.hpp"

#include "llama.h"

#include <cstdio>
#include <sstream>

static std::vector<llama_token> read_tokens(const char * text) {
    std::vector<llama_token> tokens;
    std::stringstream stream(text);
    for (std::string token; std::getline(stream, token, ',');) {
        tokens.push_back(std::stoi(token));
    }
    return tokens;
}

static void run(int count, char ** arguments) {
    if (count < 4) {
        throw std::runtime_error("usage: embed MODEL.gguf PACK TOKENS...");
    }
    engram::Eval rows(arguments[2], "{\"cache_bytes\": \"64 MiB\"}");

    ggml_backend_load_all();
    std::unique_ptr<llama_model, decltype(&llama_model_free)> model(
        llama_model_load_from_file(arguments[1], llama_model_default_params()), llama_model_free);
    if (!model) {
        throw std::runtime_error("the model does not load");
    }
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = 64;
    parameters.n_threads = parameters.n_threads_batch = 1;
    parameters.type_k = parameters.type_v = GGML_TYPE_F32;
    rows.install(parameters);
    std::unique_ptr<llama_context, decltype(&llama_free)> context(llama_init_from_model(model.get(), parameters),
                                                                  llama_free);
    if (!context) {
        throw std::runtime_error("no context");
    }

    const int words = llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
    for (int i = 3; i < count; i++) {
        std::vector<llama_token> tokens = read_tokens(arguments[i]);
        if (i == 3) {
            rows.expect(tokens.data(), tokens.size());
        }
        const int failed = llama_decode(context.get(), llama_batch_get_one(tokens.data(), int32_t(tokens.size())));
        rows.rethrow();
        if (failed) {
            throw std::runtime_error("it does not compute");
        }
        const float * logits = llama_get_logits_ith(context.get(), -1);
        for (int word = 0; word < words; word++) {
            printf("%s%.9g", word ? ", " : i == 3 ? "[[" : ", [", double(logits[word]));
        }
        printf(i + 1 < count ? "]" : "]]\n");
    }
    fprintf(stderr, "engram: %llu rows from %s\n", (unsigned long long) rows.rows(), arguments[2]);
}

int main(int count, char ** arguments) {
    try {
        run(count, arguments);
        return 0;
    } catch (const std::exception & error) {
        fprintf(stderr, "embed: %s\n", error.what());
        return 1;
    }
}
