"""Runs a GGUF by an unchanged llama.cpp: a prompt, then a token. Prints the logits of both as JSON.

python logits.py FETCHED GGUF
"""

import ctypes
import json
import os
import sys
import types
from pathlib import Path

fetched, model = Path(sys.argv[1]), sys.argv[2]
libraries, bindings = fetched / "libraries", fetched / "source/llama_cpp"

for name in ["libggml-base.so", "libggml.so"]:
    ggml = ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL)
ggml.ggml_backend_load_all_from_path(str(libraries).encode())


class Library(ctypes.CDLL):
    """The bindings are some weeks newer than the build, and name functions that it does not have yet."""

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("llama_"):
                return types.SimpleNamespace()
            raise


os.environ["LLAMA_CPP_LIB_PATH"] = str(libraries)
ctypes.CDLL = Library
# The package itself would load more than its bindings.
package = types.ModuleType("llama_cpp")
package.__path__ = [str(bindings)]
sys.modules["llama_cpp"] = package
import llama_cpp.llama_cpp as llama

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
