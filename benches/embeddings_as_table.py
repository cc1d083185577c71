"""Puts rows of real embeddings, quantised to FP8 with UE8M0 scales, into the tables of a made-up checkpoint.

    engram-pack synth --scheme deepseek-v4.1-flash --scale 32000 -o CHECKPOINT
    python embeddings_as_table.py CHECKPOINT EMBEDDINGS.safetensors [--zeros SHARE]

EMBEDDINGS has one matrix of F16, BF16 or F32 whose rows are of 256 values, such as that in the package `wordllama` of
PyPI (32,000 rows, MIT). The tables take its rows in order, each once. With --zeros 0.5 half of the rows, chosen at
random, are zero instead, as rows that no text has trained are. Needs numpy, ml_dtypes and safetensors.
"""

import argparse
import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import safe_open

WIDTH, GROUP, LARGEST = 256, 32, 448.0


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales: the smallest power of two by which no value of a group is beyond the largest code."""
    groups = rows.astype(np.float32).reshape(len(rows), -1, GROUP)
    largest = np.maximum(np.abs(groups).max(axis=2), 2.0**-100)
    exponents = np.ceil(np.log2(largest / LARGEST)).astype(np.int32)
    codes = (groups / np.exp2(exponents)[:, :, None]).astype(ml_dtypes.float8_e4m3fn)
    return codes.reshape(rows.shape).view(np.uint8), (exponents + 127).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--zeros", type=float, default=0.0)
    args = parser.parse_args()
    with safe_open(args.embeddings, "numpy") as file:
        (name,) = file.keys()
        rows = file.get_tensor(name)
    assert rows.shape[1] == WIDTH, rows.shape
    rows[np.random.default_rng(1).random(len(rows)) < args.zeros] = 0
    codes, scales = quantise(rows)
    next_row = {"F8_E4M3": 0, "F8_E8M0": 0}
    for path in sorted(args.checkpoint.glob("*.safetensors")):
        data = np.memmap(path, np.uint8, "r+")
        (length,) = struct.unpack("<Q", data[:8].tobytes())
        tensors = json.loads(data[8 : 8 + length].tobytes())
        tensors.pop("__metadata__", None)
        # Values and scales in the same order, by the names that they have in common.
        for name, tensor in sorted(tensors.items()):
            source = {"F8_E4M3": codes, "F8_E8M0": scales}.get(tensor["dtype"])
            if source is None or "engram" not in name or source.shape[1] != tensor["shape"][1]:
                continue
            first, count = next_row[tensor["dtype"]], tensor["shape"][0]
            assert first + count <= len(source), f"{len(source)} rows are too few; take a larger scale"
            start, end = (8 + length + offset for offset in tensor["data_offsets"])
            data[start:end] = source[first : first + count].ravel()
            next_row[tensor["dtype"]] += count
        data.flush()
    assert next_row["F8_E4M3"] == next_row["F8_E8M0"] > 0, next_row
    print(f"{next_row['F8_E4M3']} rows, {np.mean(~codes.any(axis=1)):.0%} of those given are zero")


if __name__ == "__main__":
    main()
