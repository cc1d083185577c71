"""A `qwen4_exp` model of transformers with its table in memory, mapped, and from a pack: speed and memory.

    python benches/transformers_rates.py FOLDER [TABLE_MIB] [ROUNDS]

Makes a small model with a table of about TABLE_MIB in FOLDER (kept for the next run), and its pack. Every way runs in a
process of its own, in turns, with the checkpoint out of the page cache at its start: seconds to load, tokens a second
of a prompt of 512 and of 64 decoded ones, and the memory that it has resident at the end, and had at most. Needs
engram-tables, engram-adapters and transformers.
"""

import subprocess
import sys
import time
from pathlib import Path

from engine_ways import DECODED, PROMPT, compare, make_checkpoint, report

WAYS = ["in memory", "mapped", "pack, memory", "pack, drive"]


def measure(folder, way):
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(2)
    started = time.monotonic()
    if way.startswith("pack"):
        from engram_adapters.transformers import tables_from

        settings = {"reader": "memory"} if way == "pack, memory" else {"cache": "256 MiB"}
        with tables_from(folder / "pack", **settings):
            model = AutoModelForCausalLM.from_pretrained(folder / "lean")
    else:
        # Loading joins the parts of the table in memory.
        model = AutoModelForCausalLM.from_pretrained(folder / "checkpoint")
        if way == "mapped":
            table = model.model.layers[1].ple.ple_embedding.ngram_embedding
            rows = np.memmap(folder / "rows", np.float32, "r", shape=(len(table.weight), table.embedding_dim))
            middle = len(rows) // 2
            assert torch.equal(table.weight[middle], torch.from_numpy(rows[middle])), "the rows are others"
            table.weight.data = torch.from_numpy(rows)
    model.eval()
    loaded = time.monotonic() - started
    prompt = torch.randint(3, 512, (1, PROMPT), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        started = time.monotonic()
        model(prompt)
        prefill = time.monotonic() - started
        started = time.monotonic()
        model.generate(prompt[:, :16], max_new_tokens=DECODED, min_new_tokens=DECODED, do_sample=False)
        decode = time.monotonic() - started
    report(loaded, prefill, decode)


def write_rows(folder):
    """The table alone, as a file that can be mapped, with its padding."""
    import torch
    from safetensors import safe_open

    checkpoint = folder / "checkpoint/model.safetensors"
    with safe_open(checkpoint, framework="pt") as file, (folder / "rows").open("wb") as out:
        names = [name for name in file.keys() if ".ngram_embedding.shard_" in name]
        for name in sorted(names, key=lambda name: int(name.split(".shard_")[1].split(".")[0])):
            file.get_tensor(name).to(torch.float32).numpy().tofile(out)


def main():
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2 and sys.argv[2] in WAYS:
        return measure(folder, sys.argv[2])
    mib, rounds = (int(argument) for argument in [*sys.argv[2:], *["600", "3"][len(sys.argv) - 2:]])
    if not (folder / "lean").exists():
        make_checkpoint(folder, mib)
    if not (folder / "rows").exists():
        write_rows(folder)

    def start(way):
        return subprocess.run([sys.executable, __file__, folder, way], capture_output=True, text=True, check=True)

    compare(folder, WAYS, start, rounds)


if __name__ == "__main__":
    main()
