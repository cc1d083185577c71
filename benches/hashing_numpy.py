"""Row ids a second of a plain NumPy implementation of DeepSeek-V4.1's hash, on one core.

    pip install numpy && python benches/hashing_numpy.py

The whole prompt is hashed at once, which is the fairest case for NumPy. The ids are compared with the published
ones first.
"""

import json
import time
from pathlib import Path

import numpy as np

TOKENS = 4096
ROOT = Path(__file__).resolve().parent.parent


def rows(constants, ids, pad):
    """Row ids [position][layer][column] of compressed ids."""
    padded = np.concatenate([np.full(3, pad), ids]).astype(np.int64)
    places = [padded[3 - s : len(padded) - s] for s in range(4)]
    out = np.empty((len(ids), 2, 24), dtype=np.int64)
    for layer, (multipliers, primes) in enumerate(constants):
        value = places[0] * multipliers[0]
        offset, column = 0, 0
        for order in range(1, 4):
            value = value ^ (places[order] * multipliers[order])
            for prime in primes[order - 1]:
                out[:, layer, column] = value % prime + offset
                offset += prime
                column += 1
    return out


def main():
    v41 = json.loads((ROOT / "format-spec/vectors/published.json").read_text())["v41"]
    constants = list(zip(v41["multipliers"], v41["primes"]))
    first = v41["F0_real_tokens_0_3_15"]
    assert (rows(constants, np.array(first["compressed"]), 2) == np.array(first["rows"])).all()

    ids = np.random.default_rng(0).integers(0, v41["compressed_vocab"], TOKENS)
    best = min(timed(lambda: rows(constants, ids, 2)) for _ in range(50))
    print(f"{TOKENS * 48 / best / 1e6:.1f} million row ids/s ({best * 1e3:.2f} ms for {TOKENS} tokens)")


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
