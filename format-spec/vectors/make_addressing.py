"""Writes addressing.json: row ids by a plain NumPy implementation, independent of the Rust one.

    pip install numpy && python make_addressing.py

published.json beside it holds the vectors that appear in the sources of the models themselves.
"""

import json
from pathlib import Path

import numpy as np

DEAD = 2**32 - 1
MASK = 2**64 - 1


def primes_from(start, count, seen):
    found, n = [], start
    while len(found) < count:
        if n > 1 and n not in seen and all(n % d for d in range(2, int(n**0.5) + 1)):
            found.append(n)
            seen.add(n)
        n += 1
    return found


def engram(p):
    """EngramFamily: multipliers from numpy.random.default_rng(seed + 10007 * layer)."""
    bound = max(1, (2**63 - 1) // p["compressed_vocab_size"] // 2)
    seen, layers = set(), []
    orders = len(p["bucket_starts"]) + 1
    for layer in p["layers"]:
        drawn = np.random.default_rng(p["seed"] + 10007 * layer).integers(0, bound, size=orders)
        buckets = [q for s in p["bucket_starts"] for q in primes_from(s, p["heads"], seen)]
        layers.append({"multipliers": [int(2 * r + 1) for r in drawn], "buckets": buckets})
    return layers


def splitmix(v):
    v = (v + 0x9E3779B97F4A7C15) & MASK
    v = ((v ^ (v >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    v = ((v ^ (v >> 27)) * 0x94D049BB133111EB) & MASK
    return v ^ (v >> 31)


def qwen(p):
    half = max(1, (2**63 - 1) // p["vocab_size"] // 2)
    seen, layers = set(), []
    for index in range(len(p["layers"])):
        base = p["seed"] + 10007 * index
        multipliers = [
            2 * (splitmix((base + 0x9E3779B97F4A7C15 * (i + 1)) & MASK) % half) + 1
            for i in range(p["max_order"])
        ]
        columns = (p["max_order"] - 1) * p["heads"]
        layers.append({"multipliers": multipliers, "buckets": primes_from(p["bucket_start"], columns, seen)})
    return layers


def xor_rows(layers, windows, heads):
    """Row ids [position][layer][column] of windows, newest id first."""
    out = []
    for window in windows:
        per_layer = []
        for layer in layers:
            value, rows, offset, column = window[0] * layer["multipliers"][0], [], 0, 0
            for place in range(1, len(window)):
                value ^= window[place] * layer["multipliers"][place]
                for _ in range(heads):
                    rows.append(value % layer["buckets"][column] + offset)
                    offset += layer["buckets"][column]
                    column += 1
            per_layer.append(rows)
        out.append(per_layer)
    return out


def windows_sticky(ids, order, fill):
    out = []
    for p in range(len(ids)):
        window, blocked = [], False
        for s in range(order):
            blocked = blocked or p < s or ids[p - s] == DEAD
            window.append(fill if blocked else ids[p - s])
        out.append(window)
    return out


def windows_eos(ids, order, eos):
    out = []
    for p in range(len(ids)):
        window = []
        for s in range(order):
            valid = p >= s and eos not in ids[p - s : p]
            window.append(ids[p - s] if valid else eos)
        out.append(window)
    return out


def longcat_rows(p, ids):
    """By the definition: terms stop at the start and at an ignored token, the current one included."""
    n, k, vocab = p["max_order"], p["heads"], p["vocab_size"]
    out = []
    for pos in range(len(ids)):
        rows, offset = [], 0
        for i in range((n - 1) * k):
            modulus, total = p["bucket_base"] + 2 * i + 1, 0
            for s in range(i // k + 2):
                if pos < s or ids[pos - s] in p["ignored"]:
                    break
                total += ids[pos - s] * pow(vocab, s, modulus)
            rows.append(total % modulus + offset)
            offset += modulus
        out.append([rows])
    return out


def main():
    rng = np.random.default_rng(20261123)
    cases = []

    def draw(limit, count):
        return [int(t) for t in rng.integers(0, limit, size=count)]

    for name, layers, heads, starts, vocab, pad, seed in [
        ("small", [0, 2, 7], 3, [50, 70, 50], 99092, 2, 0),
        ("seeded", [1, 15], 8, [646400, 646400], 98627, 2, 1234567890123),
        ("deep", [3, 700], 2, [1000, 20, 3000, 2000000], 1000, 999, 42),
    ]:
        p = dict(name=name, layers=layers, heads=heads, bucket_starts=starts)
        p |= dict(compressed_vocab_size=vocab, pad=pad, seed=seed)
        ids = draw(vocab, 12)
        ids[4] = ids[9] = DEAD
        constants = engram(p)
        rows = xor_rows(constants, windows_sticky(ids, len(starts) + 1, pad), heads)
        multipliers = [layer["multipliers"] for layer in constants]
        cases.append(dict(family="engram", params=p, ids=ids, multipliers=multipliers, rows=rows))

    p = dict(name="q", layers=[1, 4], max_order=4, heads=4, bucket_start=3000, row_multiple=128)
    p |= dict(vocab_size=5000, eos=4990, seed=99)
    ids = draw(5000, 14)
    ids[3] = ids[4] = ids[9] = 4990
    constants = qwen(p)
    rows = xor_rows(constants, windows_eos(ids, 4, 4990), 4)
    multipliers = [layer["multipliers"] for layer in constants]
    cases.append(dict(family="qwen", params=p, ids=ids, multipliers=multipliers, rows=rows))

    for base, vocab in [(78 * 131072, 131072), (211, 64)]:
        p = dict(name="l", max_order=4, heads=4, bucket_base=base, vocab_size=vocab, ignored=[2])
        ids = draw(vocab, 12)
        ids[5] = ids[8] = 2
        cases.append(dict(family="longcat", params=p, ids=ids, multipliers=[], rows=longcat_rows(p, ids)))

    text = json.dumps({"cases": cases}, separators=(",", ":"))
    Path(__file__).with_name("addressing.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
