"""What the measurements of engines have in common: a model with a table, ways to have its rows, and rounds of these."""

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ADAPTERS = Path(__file__).parents[1] / "tools/adapters"

PROMPT, DECODED = 512, 64


def make_checkpoint(folder, mib):
    """A small Qwen model with a table of `mib` MiB, its pack, and the model without the table."""
    import engram_tables
    import torch

    sys.path.insert(0, str(ADAPTERS / "tests"))
    import tiny_qwen

    # 16 columns of rows of 16 values in float32.
    tiny_qwen.save(folder / "checkpoint", ngram_vocab_size_base=(mib << 20) // (16 * 16 * 4), ple_embed_dim=256,
                   hidden_size=256, dtype=torch.float32)
    engram_tables.build(folder / "checkpoint", folder / "pack", progress=False)
    command = Path(sys.executable).with_name("engram-pack")
    subprocess.run([command, "-q", "lean", folder / "checkpoint", folder / "pack", "-o", folder / "lean"], check=True)


def compare(folder, ways, start, rounds):
    """Runs `start(way)`, a process that ends with `report`, for all ways in turns, cold; prints medians."""
    figures = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            drop_from_page_cache(folder)
            run = start(way)
            figures[way].append(json.loads(run.stdout.splitlines()[-1]))
            print(f"{way}: {figures[way][-1]}", file=sys.stderr, flush=True)
    print(f"{'':14}{'load, s':>10}{'prefill, tokens/s':>20}{'decode, tokens/s':>20}{'resident, MiB':>16}{'peak':>8}")
    for way, runs in figures.items():
        load, prefill, decode, resident, peak = map(statistics.median, zip(*runs))
        print(f"{way:14}{load:10.2f}{prefill:20.0f}{decode:20.1f}{resident:16.0f}{peak:8.0f}")


def report(load, prefill, decode):
    """Prints what a run has measured, in seconds, and the memory that its process has resident, and had at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * resource.getpagesize() / (1 << 20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([load, PROMPT / prefill, DECODED / decode, resident, peak]))


def drop_from_page_cache(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
