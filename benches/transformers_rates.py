"""A `qwen4_exp` model of transformers with its table in memory, mapped, and from a pack: speed and memory.

    python benches/transformers_rates.py FOLDER [TABLE_MIB] [ROUNDS]

Makes a small model with a table of about TABLE_MIB in FOLDER (kept for the next run), and its pack. Every way runs in a
process of its own, in turns, with the checkpoint out of the page cache at its start: seconds to load, tokens a second of
a prompt of 512 and of 64 decoded ones, and the most memory that it took. Needs engram-tables, engram-adapters and
transformers.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

WAYS = ["in memory", "mapped", "pack, memory", "pack, drive"]


def make(folder, mib):
    import engram_tables
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "tools/adapters/tests"))
    import tiny_qwen

    # 16 columns of rows of 16 values in float32.
    tiny_qwen.save(folder / "checkpoint", ngram_vocab_size_base=(mib << 20) // (16 * 16 * 4), ple_embed_dim=256,
                   hidden_size=256, dtype=torch.float32)
    engram_tables.build(folder / "checkpoint", folder / "pack", progress=False)
    command = Path(sys.executable).with_name("engram-pack")
    subprocess.run([command, "-q", "lean", folder / "checkpoint", folder / "pack", "-o", folder / "lean"], check=True)


def drop_from_page_cache(folder):
    import os

    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def measure(folder, way):
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
        # Loading maps the file; a copy is what takes memory.
        model = AutoModelForCausalLM.from_pretrained(folder / "checkpoint")
        if way == "in memory":
            table = model.model.layers[1].ple.ple_embedding.ngram_embedding
            table.weight.data = table.weight.data.clone()
    model.eval()
    loaded = time.monotonic() - started
    prompt = torch.randint(3, 512, (1, 512), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        started = time.monotonic()
        model(prompt)
        prefill = 512 / (time.monotonic() - started)
        started = time.monotonic()
        model.generate(prompt[:, :16], max_new_tokens=64, min_new_tokens=64, do_sample=False)
        decode = 64 / (time.monotonic() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([loaded, prefill, decode, peak]))


def main():
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2 and sys.argv[2] in WAYS:
        return measure(folder, sys.argv[2])
    mib, rounds = (int(argument) for argument in [*sys.argv[2:], *["600", "3"][len(sys.argv) - 2:]])
    if not (folder / "lean").exists():
        make(folder, mib)
    figures = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            drop_from_page_cache(folder)
            run = subprocess.run([sys.executable, __file__, folder, way], capture_output=True, text=True, check=True)
            figures[way].append(json.loads(run.stdout.splitlines()[-1]))
    print(f"{'':14}{'load, s':>10}{'prefill, tokens/s':>20}{'decode, tokens/s':>20}{'peak, MiB':>12}")
    for way, runs in figures.items():
        load, prefill, decode, peak = (sorted(values)[len(values) // 2] for values in zip(*runs))
        print(f"{way:14}{load:10.2f}{prefill:20.0f}{decode:20.1f}{peak:12.0f}")


if __name__ == "__main__":
    main()
