"""Writes codecs.json: for each row codec some rows and their values, by libraries that know nothing of this format.

Needs NumPy and the packages gguf 0.19 and ml_dtypes 0.6. Prints the text; the frozen one is never written again.

    python make_codecs.py > codecs.json
"""

import json
import sys

import gguf
import ml_dtypes
import numpy as np

RANDOM = np.random.default_rng(17)
SCALES = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "e4m3": ml_dtypes.float8_e4m3fn,
    "ue8m0": ml_dtypes.float8_e8m0fnu,
}
# Zeros, subnormals, the largest, infinities and NaN, then ordinary ones: of binary16 and of bfloat16.
HALVES = [0, 0x8000, 1, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0x3C00, 0xB555, 0x2E66, 0x1F0F]
SHORTS = [0, 1, 0x7F7F, 0x7F80, 0xFFC0, 0x3F80, 0xBDCC]
# Zeros, subnormals, the largest and the codes that are or might be NaN, then ordinary ones.
BYTES = [0x00, 0x01, 0x02, 0x07, 0x08, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, *range(0x25, 0x100, 0x1D)]
TABLE_SCALE = 0x3951_0123  # as float32 about 0.0002


def bytes_of(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, count, dtype=np.uint8)


def numbers(raw: np.ndarray, kind: str) -> np.ndarray:
    """Scales or values as float32."""
    return np.ascontiguousarray(raw).view(SCALES[kind]).astype(np.float32)


def product(*factors: np.ndarray) -> np.ndarray:
    """Rounded once: three factors have fewer bits than a float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.float64(1)
        for factor in factors:
            result = result * np.asarray(factor).astype(np.float64)
        return result.astype(np.float32)


def table_scale() -> np.ndarray:
    return np.array([TABLE_SCALE], np.uint32).view(np.float32)


def unpacked(raw: np.ndarray, dtype: type) -> np.ndarray:
    """Two values a byte, the low one first."""
    codes = np.stack([raw & 0xF, raw >> 4], axis=-1).reshape(*raw.shape[:-1], -1)
    return codes.astype(np.uint8).view(dtype).astype(np.float32)


def scale_codes(kind: str, rows: int, columns: int) -> np.ndarray:
    """Bytes of scales, every special one among them."""
    size = np.dtype(SCALES[kind]).itemsize
    if size == 1:
        codes = np.resize(np.array(BYTES, np.uint8), rows * columns)
    elif kind == "f32":
        special = [0, 1 << 31, 1, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x00800000, 0x3F800000, 0x3951_0123]
        codes = np.resize(np.array(special, np.uint32), rows * columns).view(np.uint8)
    elif kind == "bf16":
        codes = np.resize(np.array(SHORTS, np.uint16), rows * columns).view(np.uint8)
    else:
        codes = np.resize(np.array(HALVES, np.uint16), rows * columns).view(np.uint8)
    return codes.reshape(rows, columns * size)


def floats(kind: str, width: int, rows: int):
    raw = bytes_of(rows * width * np.dtype(SCALES[kind]).itemsize).reshape(rows, -1)
    special = scale_codes(kind, 1, width)[0]
    raw[0] = special
    return {"name": kind, "width": width}, raw, numbers(raw, kind).reshape(rows, width)


def grouped(name: str, values: str, scale: str, width: int, group: int, rows: int, named_scale: bool):
    """Values, then scales: FP8, or integers of eight or four bits."""
    if values == "int4":
        raw = np.resize(np.arange(256, dtype=np.uint8), (rows, width // 2)) ^ bytes_of(rows)[:, None]
        exact = unpacked(raw, np.uint8)
        exact = np.where(exact > 7, exact - 16, exact)
    else:
        raw = np.resize(np.arange(256, dtype=np.uint8), (rows, width))
        exact = raw.view(np.int8).astype(np.float32) if values == "int8" else numbers(raw, "e4m3")
    scales = scale_codes(scale, rows, width // group)
    spread = np.repeat(numbers(scales, scale).reshape(rows, -1), group, axis=1)
    codec = {"name": name, "width": width, "group": group}
    if named_scale:
        codec["scale"] = scale
    return codec, np.hstack([raw, scales]), product(exact, spread)


def fp4(name: str, scale: str, group: int, width: int, rows: int, scaled: bool):
    raw = bytes_of(rows * width // 2).reshape(rows, -1)
    codes = scale_codes(scale, rows, width // group)
    spread = np.repeat(numbers(codes, scale).reshape(rows, -1), group, axis=1)
    codec = {"name": name, "width": width}
    factors = [unpacked(raw, ml_dtypes.float4_e2m1fn), spread]
    if scaled:
        codec["scale_bits"] = TABLE_SCALE
        factors.append(table_scale())
    return codec, np.hstack([raw, codes]), product(*factors)


def blocks(name: str, kind: str, block: int, blocks_a_row: int, rows: int, heads: int):
    """GGML's blocks; `heads` half-precision scales begin each."""
    quant = gguf.GGMLQuantizationType[kind]
    size = gguf.GGML_QUANT_SIZES[quant][1]
    raw = bytes_of(rows * blocks_a_row * size).reshape(-1, size)
    if heads:
        for head in range(heads):
            halves = np.resize(np.array(HALVES, np.uint16), len(raw) * (3 if head else 1))[:: 3 if head else 1]
            raw[:, 2 * head : 2 * head + 2] = halves.reshape(-1, 1).view(np.uint8)
    else:
        scales = 4 if kind == "NVFP4" else 1
        raw[:, :scales] = np.resize(np.array(BYTES, np.uint8), (len(raw), scales))
    if kind == "Q8_0":
        raw[:, 2:] = np.resize(np.arange(256, dtype=np.uint8), (len(raw), 32))
    width = block * blocks_a_row
    with np.errstate(over="ignore", invalid="ignore"):
        values = gguf.dequantize(raw.reshape(rows, -1), quant).astype(np.float32).reshape(rows, width)
    codec = {"name": name, "width": width}
    if kind == "NVFP4":
        codec["scale_bits"] = TABLE_SCALE
        values = product(values, table_scale())
    return codec, raw.reshape(rows, -1), values


def plain(width: int):
    raw = np.arange(256, dtype=np.uint8).reshape(-1, width)
    return {"name": "fp8_e4m3", "width": width}, raw, numbers(raw, "e4m3").reshape(raw.shape)


def scaled(width: int):
    codec, raw, values = plain(width)
    return codec | {"name": "fp8_e4m3_scaled", "scale_bits": TABLE_SCALE}, raw, product(values, table_scale())


def all_codecs():
    for kind in ("f32", "f16", "bf16"):
        yield floats(kind, 16, 4)
    yield grouped("fp8_e4m3_ue8m0", "fp8", "ue8m0", 256, 16, 3, False)
    yield scaled(64)
    yield plain(64)
    for scale, group in (("f32", 64), ("f16", 64), ("bf16", 16), ("e4m3", 16)):
        yield grouped("fp8_e4m3_grouped", "fp8", scale, 64, group, 14, True)
    for scale, group in (("f32", 64), ("f16", 32), ("bf16", 64)):
        yield grouped("int8", "int8", scale, 64, group, 14, True)
    for scale, group in (("f16", 16), ("e4m3", 16), ("f16", 160), ("f32", 160), ("ue8m0", 32)):
        yield grouped("int4", "int4", scale, 160, group, 6, True)
    yield fp4("nvfp4", "e4m3", 16, 256, 6, True)
    yield fp4("mxfp4", "ue8m0", 32, 256, 6, False)
    yield blocks("q8_0", "Q8_0", 32, 2, 14, 1)
    yield blocks("q4_0", "Q4_0", 32, 5, 4, 1)
    yield blocks("iq4_nl", "IQ4_NL", 32, 5, 4, 1)
    yield blocks("mxfp4_gguf", "MXFP4", 32, 8, 4, 0)
    yield blocks("nvfp4_gguf", "NVFP4", 64, 4, 8, 0)
    yield blocks("q4_k", "Q4_K", 256, 1, 8, 2)
    yield blocks("q5_k", "Q5_K", 256, 1, 8, 2)


def bits_of(values: np.ndarray) -> str:
    """Eight hexadecimal digits a value; all NaN are one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return "".join(f"{code:08x}" for code in np.where(np.isnan(values), 0x7FC00000, bits).ravel())


def main() -> None:
    lines = []
    for codec, raw, values in all_codecs():
        rows = [row.tobytes().hex() for row in raw]
        lines.append(json.dumps({"codec": codec, "rows": rows, "f32": [bits_of(row) for row in values]}))
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
