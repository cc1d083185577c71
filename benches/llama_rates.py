"""A `qwen4exp` model of an unchanged llama.cpp with its table in memory, mapped, and from a pack: speed and memory.

    tools/adapters/tests/llama_cpp/fetch.sh FETCHED
    tools/adapters/llama.cpp/build.sh FETCHED/source/vendor/llama.cpp BACKEND
    python benches/llama_rates.py FOLDER FETCHED BACKEND/libggml-engram.so [TABLE_MIB] [ROUNDS]

Makes a small model with a table of about TABLE_MIB in FOLDER (kept for the next run), its pack, its GGUF, and a GGUF
whose table is a hole. Every way runs in a process of its own, in turns, with all of it out of the page cache at its
start: seconds to load, tokens a second of a prompt of 512 and of 64 decoded ones, and the memory that it has resident
at the end, and had at most. Needs engram-tables, transformers and gguf.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from engine_ways import ADAPTERS, DECODED, PROMPT, compare, make_checkpoint, report

# How a GGUF is loaded (llama_load_mode), and its table read (llama_lazy_mode).
READ, MAP = 0, 1
WHOLE, BY_ROW = 0, 2
WAYS = {
    "in memory": ("model.gguf", READ, WHOLE, None),
    "mapped": ("model.gguf", MAP, BY_ROW, None),
    "pack, memory": ("hole.gguf", MAP, BY_ROW, {"reader": "memory"}),
    "pack, drive": ("hole.gguf", MAP, BY_ROW, {"cache_bytes": "256 MiB"}),
}


def make(folder, source, mib):
    make_checkpoint(folder, mib)
    convert = ADAPTERS / "tests/llama_cpp/convert.py"
    subprocess.run([sys.executable, convert, source, folder / "checkpoint", folder / "model.gguf"], check=True)
    sys.path.insert(0, str(source / "gguf-py"))
    from gguf import GGUFReader

    tensors = GGUFReader(folder / "model.gguf").tensors
    table = next(tensor for tensor in tensors if tensor.name == "per_layer_token_embd.weight")
    start, end = -(-table.data_offset // 4096) * 4096, (table.data_offset + int(table.n_bytes)) // 4096 * 4096
    shutil.copy(folder / "model.gguf", folder / "hole.gguf")
    hole = ["fallocate", "--punch-hole", "-o", str(start), "-l", str(end - start), folder / "hole.gguf"]
    subprocess.run(hole, check=True)


def measure(folder, fetched, way):
    sys.path.insert(0, str(ADAPTERS / "tests/llama_cpp"))
    import bindings

    llama = bindings.load(fetched)
    file, load_mode, lazy_mode, _ = WAYS[way]
    started = time.monotonic()
    parameters = llama.llama_model_default_params()
    parameters.n_gpu_layers, parameters.load_mode, parameters.lazy_mode = 0, load_mode, lazy_mode
    model = llama.llama_model_load_from_file(str(folder / file).encode(), parameters)
    parameters = llama.llama_context_default_params()
    parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = 1_024, PROMPT, PROMPT
    parameters.n_threads = parameters.n_threads_batch = 2
    context = llama.llama_init_from_model(model, parameters)
    assert model and context, "the model does not load"
    loaded = time.monotonic() - started

    def decode(tokens):
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        assert llama.llama_decode(context, llama.llama_batch_get_one(ids, len(tokens))) == 0, "it does not compute"
        logits = llama.llama_get_logits_ith(context, -1)[:512]
        return logits.index(max(logits))

    # The same text for every way.
    prompt = [3 + place * 7_919 % 509 for place in range(PROMPT)]
    started = time.monotonic()
    token = decode(prompt)
    prefill = time.monotonic() - started
    started = time.monotonic()
    for _ in range(DECODED):
        token = decode([token])
    report(loaded, prefill, time.monotonic() - started)


def main():
    folder, fetched, backend = (Path(argument).absolute() for argument in sys.argv[1:4])
    if len(sys.argv) > 4 and sys.argv[4] in WAYS:
        return measure(folder, fetched, sys.argv[4])
    mib, rounds = (int(argument) for argument in [*sys.argv[4:], *["600", "3"][len(sys.argv) - 4:]])
    if not (folder / "hole.gguf").exists():
        make(folder, fetched / "source/vendor/llama.cpp", mib)

    def start(way):
        environment, options = dict(os.environ), WAYS[way][3]
        if options is not None:
            pack = {"ENGRAM_PACK": str(folder / "pack"), "ENGRAM_OPTIONS": json.dumps(options)}
            environment.update(GGML_BACKEND_PATH=str(backend), **pack)
        # What fetch.sh has made has the packages that llama.cpp's bindings want.
        command = [fetched / "python/bin/python", __file__, folder, fetched, backend, way]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    compare(folder, WAYS, start, rounds)


if __name__ == "__main__":
    main()
