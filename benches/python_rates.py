"""Rates of lookups from Rust, C and Python, of NumPy's `take` from a mapped file, and of EngramDB's wheel, in turns.

    pip install numpy engramdb-python==0.3.0        # and the wheel of engine/python
    benches/c_against_rust.sh PACK 1                # builds the programs of Rust and C
    python benches/python_rates.py PACK [FOLDER] [--programs target/release] [--rounds 5]

Random rows of the pack's first layer, all in memory, one thread. FOLDER gets the same bytes as bare rows for NumPy and
EngramDB, who look at nothing that they read; each figure is the median of the rounds.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import engram_tables

TOKEN_ROWS = 24
ROWS = [TOKEN_ROWS, 192, 1_536, 16_320]
SECONDS = 1
BATCHES = 64


def rate(call, batches):
    """Million rows a second."""
    calls, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < SECONDS:
        for batch in batches:
            call(batch)
        calls += len(batches)
    return 1e-6 * calls * len(batches[0]) / took


def program_rate(program, *arguments):
    """The same, of a program that says so."""
    ran = subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True)
    return float(ran.stdout.split(": ")[1].split()[0])


def bare_rows(store, layer, folder):
    """All rows of a layer in a file that is mapped, and in the page cache."""
    path = folder / "rows"
    if not path.exists():
        with path.open("wb") as file:
            for first in range(0, layer.row_count, 1 << 16):
                ids = np.arange(first, min(first + (1 << 16), layer.row_count))
                store.lookup(layer.id, ids, dtype="stored").tofile(file)
    rows = np.memmap(path, np.uint8, "r", shape=(layer.row_count, layer.row_bytes))
    rows.sum(dtype=np.uint64)
    return rows


def engramdb_store(rows, folder):
    """The same rows as EngramDB keeps them; none without its wheel."""
    try:
        import engramdb
    except ImportError:
        print("no EngramDB: its wheel is not installed")
        return None
    shards, (count, row_bytes) = 16, rows.shape
    in_shard = -(-count // shards)
    files = folder / "engramdb"
    if not files.exists():
        files.mkdir()
        for shard in range(shards):
            rows[shard * in_shard :][:in_shard].tofile(files / f"shard_{shard:03}.bin")
    store = engramdb.Store(str(files), shards, in_shard, row_bytes)
    sample = np.arange(0, count, count // 100)
    assert np.frombuffer(store.fetch(sample), np.uint8).tobytes() == rows[sample].tobytes()
    return store


def compare(pack, folder, programs, rounds):
    with engram_tables.open(pack, reader="memory") as store:
        layer = store.layers[0]
        bare = bare_rows(store, layer, folder)
        engramdb = engramdb_store(bare, folder)
        options = '{"reader": "memory"}'
        print("million rows a second; as f32: Rust, C, Python to an array (of Rust's), Python to a new array;")
        print("as stored: Python to an array, NumPy's take, EngramDB's fetch")
        random = np.random.default_rng(1)
        for rows in ROWS:
            batches = list(random.integers(0, layer.row_count, (BATCHES, rows)))
            values = np.empty((rows, layer.width), np.float32)
            stored = np.empty((rows, layer.row_bytes), np.uint8)
            ways = [
                lambda: program_rate(programs / "examples" / "get_rows", pack, options, layer.id, rows),
                lambda: program_rate(programs / "get_rows_c", "--time", pack, options, layer.id, rows),
                lambda: rate(lambda ids: store.lookup(layer.id, ids, values), batches),
                lambda: rate(lambda ids: store.lookup(layer.id, ids), batches),
                lambda: rate(lambda ids: store.lookup(layer.id, ids, stored), batches),
                lambda: rate(lambda ids: np.take(bare, ids, 0, stored, "clip"), batches),
            ]
            if engramdb:
                ways.append(lambda: rate(engramdb.fetch, batches))
            rates = [[way() for way in ways] for _ in range(rounds)]
            of_rust = statistics.median(100 * python / rust for rust, _, python, *_ in rates)
            figures = [f"{statistics.median(way):6.2f}" for way in zip(*rates)]
            figures[2] += f" ({of_rust:.0f} %)"
            print(f"{rows:6}", *figures, flush=True)
        own_time(store, layer)


def own_time(store, layer):
    """What a call takes that asks for one row, which is in the processor's cache."""
    out = np.empty((1, layer.row_bytes), np.uint8)
    calls = [np.zeros(1, np.int64)] * 1_000
    print(f"a call for one row: {1 / rate(lambda ids: store.lookup(layer.id, ids, out), calls):.2f} us")
    sequence = store.sequence()

    def token(_):
        sequence.extend([7])
        sequence.truncate(0)

    print(f"hashing one token: {1 / rate(token, calls):.2f} us")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--programs", type=Path, default="target/release")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(exist_ok=True)
        compare(options.pack, folder, options.programs, options.rounds)


if __name__ == "__main__":
    main()
