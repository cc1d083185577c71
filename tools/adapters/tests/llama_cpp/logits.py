"""Runs a GGUF by an unchanged llama.cpp: a prompt, then a token. Prints the logits of both as JSON.

python logits.py FETCHED GGUF
"""

import ctypes
import json
import sys
from pathlib import Path

import bindings

fetched, model = Path(sys.argv[1]), sys.argv[2]
llama = bindings.load(fetched)

parameters = llama.llama_model_default_params()
parameters.n_gpu_layers = 0
loaded = llama.llama_model_load_from_file(model.encode(), parameters)
assert loaded, "the model does not load"
parameters = llama.llama_context_default_params()
parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = 64, 1, 1
parameters.type_k = parameters.type_v = 0
context = llama.llama_init_from_model(loaded, parameters)
assert context, "no context"

logits = []
for tokens in [[5, 17, 300, 42, 2, 9, 100, 200, 311, 5, 17, 300], [33]]:
    ids = (ctypes.c_int32 * len(tokens))(*tokens)
    batch = llama.llama_batch_get_one(ids, len(tokens))
    assert llama.llama_decode(context, batch) == 0, "it does not compute"
    logits.append(llama.llama_get_logits_ith(context, -1)[:512])
print(json.dumps(logits))
