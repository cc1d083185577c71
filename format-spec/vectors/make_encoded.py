"""Writes encoded.json: values, and their rows in each row codec, by libraries that know nothing of this format.

Needs NumPy and the packages gguf 0.19 and ml_dtypes 0.6. The quantizers that gguf has not (IQ4_NL, NVFP4, Q4_K, Q5_K)
are GGML's own, from src/ggml-quants.c of a copy of its repository, compiled without contraction of products and sums,
and without what quantizing does not call:

    gcc -O2 -ffp-contract=off -shared -fPIC -D_GNU_SOURCE -Iinclude -Isrc src/ggml-quants.c -o libquants.so -lm \\
        -Wl,--defsym=ggml_abort=0,--defsym=ggml_row_size=0,--defsym=ggml_type_name=0,--defsym=ggml_type_size=0
    python make_encoded.py --ggml libquants.so > encoded.json

Without --ggml these are left out; --seed makes other values. The frozen file is never written again.
"""

import argparse
import ctypes
import json
import sys

import gguf
import ml_dtypes
import numpy as np

F32 = np.float32
SCALES = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "e4m3": ml_dtypes.float8_e4m3fn,
}
TABLE_SCALE = 0x3B83_126F  # as float32 about 0.004


def values_of(random: np.random.Generator, width: int) -> np.ndarray:
    """Rows of many kinds, as float32."""
    normal = random.standard_normal((12, width))
    rows = normal * 10.0 ** random.uniform(-3, 0, (12, 1))
    rows[1] *= random.random(width) < 0.1
    rows[2] = 0
    rows[3] = np.round(normal[3] * 8) / 16
    rows[4] = np.abs(rows[4]) + 0.25
    rows[5] = -0.375
    rows[6] = normal[6] ** 3 * 0.03
    rows[7] *= np.repeat(10.0 ** random.uniform(-3, 0, width // 16), 16)
    rows[8] = np.where(np.arange(width) % 2, -0.0, 0.001 * normal[8])
    rows[9, :] = 2.0 ** random.integers(-9, 0, width) * random.choice([-1, 1], width)
    return np.clip(rows, -1.5, 1.5).astype(F32)


def raw(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)


def pairs(codes: np.ndarray) -> np.ndarray:
    """Nibbles of neighbours, the first in the low one."""
    codes = codes.astype(np.uint8) & 15
    return codes[:, 0::2] | codes[:, 1::2] << 4


def power_above(scale: np.ndarray) -> np.ndarray:
    """The exponent of the least power of two that is as much."""
    mantissa, exponent = np.frexp(scale)
    return np.where(mantissa == 0.5, exponent - 1, exponent)


def grouped(name: str, kind: str, group: int, most: float, values: np.ndarray):
    rows, width = values.shape
    groups = values.reshape(rows, -1, group)
    largest = np.abs(groups).max(axis=2, keepdims=True)
    wanted = (largest / F32(most)).astype(F32)
    if kind == "ue8m0":
        exponent = np.maximum(power_above(wanted), -127)
        scale = np.exp2(exponent.astype(np.float64)).astype(F32)
        stored = np.where(largest > 0, exponent + 127, 0).astype(np.uint8)
    else:
        stored = wanted.astype(SCALES[kind])
        bits = stored.view(np.dtype(f"u{stored.itemsize}"))
        bits = np.where((bits == 0) & (largest > 0), 1, bits).astype(bits.dtype)
        stored = bits.view(SCALES[kind])
        if kind == "e4m3":
            more = (bits + (stored.astype(F32) < wanted)).astype(bits.dtype)
            stored = more.view(SCALES[kind])
        scale = stored.astype(F32)
    with np.errstate(invalid="ignore"):
        scaled = np.where(largest > 0, (groups / scale).astype(F32), F32(0)).reshape(rows, width)
    if name.startswith("fp8"):
        codes = raw(np.clip(scaled, -448, 448).astype(ml_dtypes.float8_e4m3fn))
    else:
        codes = np.rint(np.clip(scaled, -most, most)).astype(np.int8)
        codes = pairs(codes) if name == "int4" else raw(codes)
    codec = {"name": name, "width": width, "group": group}
    if name != "fp8_e4m3_ue8m0":
        codec["scale"] = kind
    return codec, np.hstack([codes, raw(stored)])


def plain(kind: str, values: np.ndarray):
    return {"name": kind, "width": values.shape[1]}, raw(values.astype(SCALES[kind]))


def fp8(values: np.ndarray):
    return {"name": "fp8_e4m3", "width": values.shape[1]}, raw(values.astype(ml_dtypes.float8_e4m3fn))


def fp8_scaled(values: np.ndarray):
    scale = np.array(TABLE_SCALE, np.uint32).view(F32)
    codec = {"name": "fp8_e4m3_scaled", "width": values.shape[1], "scale_bits": TABLE_SCALE}
    return codec, raw((values / scale).astype(ml_dtypes.float8_e4m3fn))


def nvfp4(values: np.ndarray):
    table = (np.abs(values).max() / F32(6 * 448)).astype(F32)
    rows, width = values.shape
    groups = values.reshape(rows, -1, 16)
    largest = np.abs(groups).max(axis=2, keepdims=True)
    stored = (largest / F32(6) / table).astype(ml_dtypes.float8_e4m3fn)
    bits = np.where((stored.view(np.uint8) == 0) & (largest > 0), 1, stored.view(np.uint8)).astype(np.uint8)
    scale = bits.view(ml_dtypes.float8_e4m3fn).astype(F32) * table
    with np.errstate(invalid="ignore"):
        scaled = np.where(largest > 0, (groups / scale).astype(F32), F32(0)).reshape(rows, width)
    codes = np.clip(scaled, -6, 6).astype(ml_dtypes.float4_e2m1fn)
    codec = {"name": "nvfp4", "width": width, "scale_bits": int(table.view(np.uint32))}
    return codec, np.hstack([pairs(raw(codes)), bits.reshape(rows, -1)])


def mxfp4(values: np.ndarray):
    rows, width = values.shape
    groups = values.reshape(rows, -1, 32)
    largest = np.abs(groups).max(axis=2, keepdims=True)
    exponent = np.where(largest > 0, np.frexp(largest)[1] - 1 - 2, -127)
    scaled = groups / np.exp2(exponent.astype(np.float64)).astype(F32)
    codes = np.clip(scaled.reshape(rows, width), -6, 6).astype(ml_dtypes.float4_e2m1fn)
    return {"name": "mxfp4", "width": width}, np.hstack([pairs(raw(codes)), raw((exponent + 127).astype(np.uint8))])


def by_gguf(name: str, kind: str, values: np.ndarray):
    quant = gguf.GGMLQuantizationType[kind]
    return {"name": name, "width": values.shape[1]}, gguf.quantize(values, quant).view(np.uint8)


def by_ggml(library: ctypes.CDLL, name: str, kind: str, values: np.ndarray):
    quant = gguf.GGMLQuantizationType[kind]
    rows, width = values.shape
    block, size = gguf.GGML_QUANT_SIZES[quant]
    out = np.zeros((rows, width // block * size), np.uint8)
    source = np.ascontiguousarray(values).ctypes.data_as(ctypes.c_void_p)
    target = out.ctypes.data_as(ctypes.c_void_p)
    if kind == "IQ4_NL":
        library.quantize_iq4_nl(source, target, ctypes.c_int64(rows), ctypes.c_int64(width), None)
    else:
        library[f"quantize_row_{kind.replace('NVFP4', 'nvfp4').replace('Q', 'q')}_ref"](
            source, target, ctypes.c_int64(rows * width)
        )
    codec = {"name": name, "width": width}
    if kind == "NVFP4":
        codec["scale_bits"] = int(F32(1).view(np.uint32))
    return codec, out


def all_codecs(values: np.ndarray, library: ctypes.CDLL | None):
    width = values.shape[1]
    for kind in ("f32", "f16", "bf16"):
        yield plain(kind, values)
    yield fp8(values)
    yield fp8_scaled(values)
    for group in (32, 128):
        yield grouped("fp8_e4m3_ue8m0", "ue8m0", group, 448, values)
    for kind in ("f32", "f16", "bf16", "e4m3", "ue8m0"):
        yield grouped("fp8_e4m3_grouped", kind, 32, 448, values)
        yield grouped("int8", kind, 32, 127, values)
        yield grouped("int4", kind, 16, 7, values)
    yield grouped("int8", "f32", width, 127, values)
    yield nvfp4(values)
    yield mxfp4(values)
    for name, kind in (("q8_0", "Q8_0"), ("q4_0", "Q4_0"), ("mxfp4_gguf", "MXFP4")):
        yield by_gguf(name, kind, values)
    if library:
        for name, kind in (("iq4_nl", "IQ4_NL"), ("nvfp4_gguf", "NVFP4"), ("q4_k", "Q4_K"), ("q5_k", "Q5_K")):
            yield by_ggml(library, name, kind, values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ggml", help="GGML's quantizers as a shared library")
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    values = values_of(np.random.default_rng(options.seed), 256)
    bits = ["".join(f"{code:08x}" for code in row) for row in values.view(np.uint32)]
    lines = []
    for codec, rows in all_codecs(values, ctypes.CDLL(options.ggml) if options.ggml else None):
        lines.append(json.dumps({"codec": codec, "rows": [row.tobytes().hex() for row in rows]}))
    sys.stdout.write('{"f32": ' + json.dumps(bits) + ',\n"encoded": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
