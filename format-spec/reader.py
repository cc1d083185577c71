"""A reader of Engram packs, written from FORMAT.md alone and independent of the Rust one.

Needs Python 3.9 and the package xxhash; for the frames of cold packs also Python 3.14 or the package zstandard.

    reader.py PACK verify                  exit code 1 if anything is damaged
    reader.py PACK rows 0,3,15 [--dead 1]  row ids [position][layer][column] as JSON
    reader.py PACK get LAYER ROW           the row's bytes in hexadecimal
    reader.py check VECTORS                compares the packs in a folder with its expected.json

--checkpoint DIR says where the files behind an attached pack lie, --stripe N=DIR where stripe N lies.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import sys
from pathlib import Path

import xxhash

try:
    from compression import zstd  # from Python 3.14 on
except ImportError:
    zstd = None
try:
    import zstandard
except ImportError:
    zstandard = None

BLOCK = 4096
SEAL = 8


class PackError(Exception):
    """A pack that must be rejected."""


def need(holds: bool, where: str, field: str, found: object, expected: object) -> None:
    if not holds:
        raise PackError(f"{where}: {field} is {found}, expected {expected}")


def canonical(value: object) -> bytes:
    """The canonical form of FORMAT.md, 'Manifest'."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def keys(value: object, names: str, where: str) -> None:
    need(isinstance(value, dict), where, "value", value, "an object")
    need(sorted(value) == sorted(names.split()), where, "keys", sorted(value), names)


def whole(value: object, low: int, high: int, where: str, field: str) -> int:
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    need(good, where, field, value, f"{low} to {high}")
    return value


def text(value: object, where: str, field: str) -> str:
    need(isinstance(value, str), where, field, value, "a string")
    return value


def digest(value: object, where: str, field: str) -> str:
    good = isinstance(value, str) and len(value) == 32 and not set(value) - set("0123456789abcdef")
    need(good, where, field, value, "32 hexadecimal digits")
    return value


SCALES = {
    "f32": (4, lambda raw: struct.unpack("<f", raw)[0]),
    "f16": (2, lambda raw: struct.unpack("<e", raw)[0]),
    "bf16": (2, lambda raw: struct.unpack("<f", b"\0\0" + raw)[0]),
    "e4m3": (1, lambda raw: e4m3(raw[0])),
    "ue8m0": (1, lambda raw: ue8m0(raw[0])),
}
IQ4_NL = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


class Codec:
    """'Row codecs': sizes of the planes, and exact values."""

    # Id, keys beside name and width, and what a block takes: values, bytes.
    KINDS = {
        "f32": (1, "", 1, 4),
        "f16": (2, "", 1, 2),
        "bf16": (3, "", 1, 2),
        "fp8_e4m3_ue8m0": (4, "group", 1, 1),
        "fp8_e4m3_scaled": (5, "scale_bits", 1, 1),
        "fp8_e4m3": (6, "", 1, 1),
        "fp8_e4m3_grouped": (7, "group scale", 1, 1),
        "int8": (8, "group scale", 1, 1),
        "int4": (9, "group scale", 16, 8),
        "nvfp4": (10, "scale_bits", 16, 8),
        "mxfp4": (11, "", 32, 16),
        "q8_0": (12, "", 32, 34),
        "q4_0": (13, "", 32, 18),
        "iq4_nl": (14, "", 32, 18),
        "mxfp4_gguf": (15, "", 32, 17),
        "nvfp4_gguf": (16, "scale_bits", 64, 36),
        "q4_k": (17, "", 256, 144),
        "q5_k": (18, "", 256, 176),
    }

    def __init__(self, codec: dict, where: str) -> None:
        self.name = codec.get("name")
        need(self.name in self.KINDS, where, "codec", self.name, "/".join(self.KINDS))
        self.id, extra, block, block_bytes = self.KINDS[self.name]
        keys(codec, f"name width {extra}", where)
        self.width = whole(codec["width"], 1, 1 << 20, where, "width")
        need(self.width % block == 0, where, "width", self.width, f"a multiple of {block}")
        self.values = self.width // block * block_bytes
        self.planes = [self.values]
        self.group = {"nvfp4": 16, "mxfp4": 32}.get(self.name, 0)
        if "group" in codec:
            self.group = whole(codec["group"], 1, self.width, where, "group")
            good = self.width % self.group == 0 and self.group % block == 0
            need(good, where, "group", self.group, f"a multiple of {block} that divides the width")
        if self.group:
            kind = codec.get("scale", "e4m3" if self.name == "nvfp4" else "ue8m0")
            need(kind in SCALES, where, "scale", kind, "/".join(SCALES))
            self.scale_bytes, self.scale_value = SCALES[kind]
            self.planes.append(self.width // self.group * self.scale_bytes)
        self.scale = 1.0
        if "scale_bits" in codec:
            bits = whole(codec["scale_bits"], 0, 2**32 - 1, where, "scale_bits")
            (self.scale,) = struct.unpack("<f", struct.pack("<I", bits))
            need(math.isfinite(self.scale), where, "scale_bits", bits, "the bits of a finite number")
        self.row_bytes = sum(self.planes)

    def decode(self, row: bytes) -> list[float]:
        values, scales = row[: self.values], row[self.values :]
        if self.group:
            size = self.scale_bytes
            spread = [self.scale_value(scales[i : i + size]) for i in range(0, len(scales), size)]
            return [v * spread[i // self.group] * self.scale for i, v in enumerate(self._plain(values))]
        if self.name.startswith("fp8") or self.name in ("f32", "f16", "bf16"):
            return [v * self.scale for v in self._plain(values)]
        _, _, _, size = self.KINDS[self.name]
        blocks = (values[i : i + size] for i in range(0, len(values), size))
        return [v * self.scale for block in blocks for v in getattr(self, "_" + self.name)(block)]

    def _plain(self, values: bytes) -> list[float]:
        """Of codecs whose scales lie apart, or that have none."""
        if self.name == "f32":
            return list(struct.unpack(f"<{self.width}f", values))
        if self.name == "f16":
            return list(struct.unpack(f"<{self.width}e", values))
        if self.name == "bf16":
            widened = b"".join(b"\0\0" + values[i : i + 2] for i in range(0, len(values), 2))
            return list(struct.unpack(f"<{self.width}f", widened))
        if self.name == "int8":
            return [float(v) for v in struct.unpack(f"<{self.width}b", values)]
        if self.name.startswith("fp8"):
            return [e4m3(code) for code in values]
        codes = [code for byte in values for code in (byte & 15, byte >> 4)]
        if self.name == "int4":
            return [float(code - 16 if code > 7 else code) for code in codes]
        return [e2m1(code) for code in codes]

    @staticmethod
    def _q8_0(block: bytes) -> list[float]:
        scale, *codes = struct.unpack("<e32b", block)
        return [scale * code for code in codes]

    @staticmethod
    def _q4_0(block: bytes) -> list[float]:
        return [half(block) * (code - 8) for code in halves(block[2:])]

    @staticmethod
    def _iq4_nl(block: bytes) -> list[float]:
        return [half(block) * IQ4_NL[code] for code in halves(block[2:])]

    @staticmethod
    def _mxfp4_gguf(block: bytes) -> list[float]:
        return [2.0 ** (block[0] - 127) * (e2m1(code) or 0.0) for code in halves(block[1:])]

    @staticmethod
    def _nvfp4_gguf(block: bytes) -> list[float]:
        out = []
        for part in range(4):
            scale = ue4m3(block[part])
            out += [scale * (e2m1(code) or 0.0) for code in halves(block[4 + 8 * part : 12 + 8 * part])]
        return out

    @staticmethod
    def _q4_k(block: bytes) -> list[float]:
        return k_quants(block, [0] * 32, block[16:])

    @staticmethod
    def _q5_k(block: bytes) -> list[float]:
        return k_quants(block, block[16:48], block[48:])


def half(block: bytes, at: int = 0) -> float:
    return struct.unpack_from("<e", block, at)[0]


def halves(codes: bytes) -> list[int]:
    """The low nibbles of some bytes, then the high ones."""
    return [byte & 15 for byte in codes] + [byte >> 4 for byte in codes]


def k_quants(block: bytes, fifth_bits: bytes | list[int], codes: bytes) -> list[float]:
    packed, out = block[4:16], []
    for group in range(8):
        if group < 4:
            scale, least = packed[group] & 63, packed[group + 4] & 63
        else:
            scale = packed[group + 4] & 15 | packed[group - 4] >> 6 << 4
            least = packed[group + 4] >> 4 | packed[group] >> 6 << 4
        for at in range(32):
            code = codes[group // 2 * 32 + at] >> group % 2 * 4 & 15 | (fifth_bits[at] >> group & 1) << 4
            out.append(half(block) * scale * code - half(block, 2) * least)
    return out


def e4m3(code: int) -> float:
    exponent, mantissa = code >> 3 & 15, code & 7
    if code & 0x7F == 0x7F:
        return math.nan
    size = (1 + mantissa / 8) * 2.0 ** (exponent - 7) if exponent else mantissa * 2.0**-9
    return -size if code & 0x80 else size


def ue4m3(code: int) -> float:
    return 0.0 if code == 0x7F else 480.0 if code == 0xFF else abs(e4m3(code))


def e2m1(code: int) -> float:
    exponent, mantissa = code >> 1 & 3, code & 1
    size = (1 + mantissa / 2) * 2.0 ** (exponent - 1) if exponent else mantissa / 2
    return -size if code & 8 else size


def ue8m0(code: int) -> float:
    return math.nan if code == 255 else 2.0 ** (code - 127)


class Table:
    """One layer: its columns, codec and record geometry."""

    def __init__(self, entry: dict, layer: dict, scheme: dict, where: str) -> None:
        converted = " source_codec" if "source_codec" in entry else ""
        keys(entry, f"codec layer planes samples shards{converted}", where)
        need(entry["layer"] == layer["layer"], where, "layer", entry["layer"], layer["layer"])
        self.layer = layer["layer"]
        self.codec = Codec(entry["codec"], where)
        self.source_codec = Codec(entry["source_codec"], where) if converted else self.codec
        need(self.source_codec.width == self.codec.width, where, "source_codec", "of another width", self.codec.width)
        self.planes, self.shards, self.samples = entry["planes"], entry["shards"], entry["samples"]
        self.columns, first = [], 0  # (order, head, first row, rows)
        heads, first_order = scheme["heads"], min(scheme["max_order"], 2)
        for index, rows in enumerate(layer["buckets"]):
            self.columns.append((index // heads + first_order, index % heads, first, rows))
            first += rows
        self.rows = first
        self.row_bytes = self.codec.row_bytes
        self.stride = -(-(self.row_bytes + SEAL) // 16) * 16
        self.group_bytes = -(-self.stride // BLOCK) * BLOCK
        self.group_records = self.group_bytes // self.stride

    def shard_name(self, column: int) -> str:
        order, head, _, _ = self.columns[column]
        return f"layer-{self.layer:02d}/order-{order}-head-{head}.shard"

    def record_offset(self, index: int) -> int:
        group, slot = divmod(index, self.group_records)
        return BLOCK + group * self.group_bytes + slot * self.stride

    def shard_bytes(self, column: int) -> int:
        return BLOCK + -(-self.columns[column][3] // self.group_records) * self.group_bytes

    def header(self, column: int) -> bytes:
        """'Shard header': every field follows from the manifest."""
        order, head, first, rows = self.columns[column]
        digests = self.shards[column]
        fields = struct.pack(
            "<8s8I2Q", b"ENGRAMSH", 1, self.codec.id, self.layer, column, order, head,
            self.row_bytes, self.stride, first, rows,
        )
        fields += int(digests["data"], 16).to_bytes(16, "little")
        fields += int(digests["rows"], 16).to_bytes(16, "little")
        fields = fields.ljust(BLOCK - 8, b"\0")
        return fields + struct.pack("<Q", xxhash.xxh3_64_intdigest(fields))

    def seal(self, row: int, data: bytes) -> int:
        return xxhash.xxh3_64_intdigest(data) ^ (self.layer << 48 | row)

    def column_of(self, row: int) -> int:
        for index, (_, _, first, rows) in enumerate(self.columns):
            if first <= row < first + rows:
                return index
        raise PackError(f"layer {self.layer}: row {row} is outside the {self.rows} rows")


def can_decompress() -> bool:
    return zstd is not None or zstandard is not None


def decompress(frame: bytes, dictionary: bytes, size: int) -> bytes:
    """Exactly one frame, of so many bytes."""
    try:
        if zstd is not None:
            decoder = zstd.ZstdDecompressor(zstd.ZstdDict(dictionary) if dictionary else None)
            data = decoder.decompress(frame, size + 1)
            good, rest = decoder.eof, decoder.unused_data
        elif zstandard is not None:
            words = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
            # The size that the frame says is checked before anything of it is allocated.
            found = zstandard.frame_content_size(frame)
            need(found == size, "frame", "size that it says", found, size)
            decoder = zstandard.ZstdDecompressor(dict_data=words).decompressobj()
            data = decoder.decompress(frame)
            good, rest = decoder.eof, decoder.unused_data
        else:
            raise PackError("frames need Python 3.14 or the package zstandard")
    except (ValueError, getattr(zstd, "ZstdError", OSError), getattr(zstandard, "ZstdError", OSError)) as error:
        raise PackError(f"frame: {error}") from error
    need(good and not rest, "frame", "end", "another", "that of the bytes")
    return data


class ColdFile:
    """'Cold packs': the file of one column."""

    SKIPPABLE, ENTRY = 0x184D2A50, struct.Struct("<IQQ")

    def __init__(self, path: Path, table: Table, column: int, cold: dict) -> None:
        self.path, self.table, self.frame_rows = path, table, cold["frame_rows"]
        shard = cold["shards"][column]
        where = str(path)
        keys(shard, "bytes dictionary_bytes digest", where)
        digest(shard["digest"], where, "digest")
        size = whole(shard["bytes"], 0, 2**64 - 1, where, "bytes")
        words = whole(shard["dictionary_bytes"], 0, 2**20, where, "dictionary_bytes")
        order, head, self.first, self.rows = table.columns[column]
        group = table.group_records
        most = 2**24 // table.group_bytes * group
        need(self.frame_rows % group == 0 and group <= self.frame_rows <= most, where, "frame_rows",
             self.frame_rows, f"a multiple of {group} up to {most}")
        frames = -(-self.rows // self.frame_rows)
        whole(frames * self.ENTRY.size, 0, 2**28, where, "bytes of the index")
        begin = BLOCK + (8 + words if words else 0) + 8 + frames * self.ENTRY.size
        need(size >= begin + frames, where, "bytes", size, f"at least {begin + frames}")
        need(path.is_file(), where, "file", "missing", "there")
        found = path.stat().st_size
        need(found == size, where, "size", found, size)
        with path.open("rb") as file:
            data = file.read(begin)
        fields = struct.pack(
            "<2I8s8I4Q", self.SKIPPABLE, BLOCK - 8, b"ENGRAMCS", 1, table.codec.id, table.layer, column, order,
            head, table.row_bytes, words, self.frame_rows, self.first, self.rows, size,
        )
        for value in (shard["digest"], table.shards[column]["data"], table.shards[column]["rows"]):
            fields += int(value, 16).to_bytes(16, "little")
        fields = fields.ljust(BLOCK - 8, b"\0")
        fields += struct.pack("<Q", xxhash.xxh3_64_intdigest(fields))
        differ = [i for i in range(BLOCK) if data[i] != fields[i]]
        need(not differ, where, "header byte", differ[:1], "what follows from the manifest")
        rest = data[BLOCK:]
        found = xxhash.xxh3_128_hexdigest(rest)
        need(found == shard["digest"], where, "digest of dictionary and index", found, shard["digest"])
        self.dictionary = b""
        if words:
            need(rest[:8] == struct.pack("<2I", self.SKIPPABLE, words), where, "dictionary part", rest[:8], words)
            self.dictionary, rest = rest[8 : 8 + words], rest[8 + words :]
        need(rest[:8] == struct.pack("<2I", self.SKIPPABLE, len(rest) - 8), where, "index part", rest[:8], "its length")
        self.frames, offset = [], begin  # (offset, length, checksum, hash of seals)
        for frame, (length, checksum, seals) in enumerate(self.ENTRY.iter_unpack(rest[8:])):
            size_of_rows = self.count(frame) * table.row_bytes
            whole(length, 1, size_of_rows + size_of_rows // 128 + 512, where, f"length of frame {frame}")
            self.frames.append((offset, length, checksum, seals))
            offset += length
        need(offset == size, where, "end of the last frame", offset, size)

    def count(self, frame: int) -> int:
        return min(self.frame_rows, self.rows - frame * self.frame_rows)

    def read(self, frame: int) -> list[bytes]:
        """The rows of a frame."""
        table, (offset, length, checksum, seals) = self.table, self.frames[frame]
        where = f"{self.path}, frame {frame}"
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        found = xxhash.xxh3_64_intdigest(data)
        need(found == checksum, where, "checksum", f"{found:016x}", f"{checksum:016x}")
        size = self.count(frame) * table.row_bytes
        data = decompress(data, self.dictionary, size)
        need(len(data) == size, where, "size", len(data), size)
        rows = [data[at : at + table.row_bytes] for at in range(0, size, table.row_bytes)]
        first = self.first + frame * self.frame_rows
        sealed = b"".join(struct.pack("<Q", table.seal(row, data)) for row, data in enumerate(rows, first))
        found = xxhash.xxh3_64_intdigest(sealed)
        need(found == seals, where, "hash of seals", f"{found:016x}", f"{seals:016x}")
        return rows


class Pack:
    """An open pack, checked as 'What a reader rejects' lists."""

    def __init__(self, path: str | Path, checkpoint: str | None = None, moved: dict[int, str] | None = None) -> None:
        self.path = Path(path)
        self.moved = moved or {}
        try:
            self._open(checkpoint)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise PackError(f"manifest: a value of another type: {error}") from error

    def _open(self, checkpoint: str | None) -> None:
        self.manifest = self._read_manifest()
        for source in self.manifest["sources"]:
            has_bytes = " header_bytes" if "header_bytes" in source else ""
            keys(source, f"bytes header_digest{has_bytes} name", "source")
            whole(source["bytes"], 0, 2**64 - 1, "source", "bytes")
            digest(source["header_digest"], "source", "header_digest")
            if has_bytes:
                most = min(source["bytes"], 2**28)
                whole(source["header_bytes"], 0, most, "source", "header_bytes")
            name = text(source["name"], "source", "name")
            good = name not in ("", ".", "..") and not set(name) & set("/\\\0")
            need(good, "source", "name", name, "a file name without folders")
        self._check_scheme(self.manifest["scheme"])
        self.token_map = self._read_token_map()
        layers, entries = self.scheme["layers"], self.manifest["tables"]
        need(len(entries) == len(layers), "manifest", "tables", len(entries), len(layers))
        self.tables = [
            Table(entry, layer, self.scheme, f"table {layer['layer']}")
            for entry, layer in zip(entries, layers)
        ]
        storage = self.manifest["storage"]
        self.attached = storage.get("kind") == "attached"
        self.cold = storage.get("kind") == "cold"
        keys(storage, {"attached": "checkpoint kind", "cold": "kind tables"}.get(storage["kind"], "kind"), "storage")
        need(storage["kind"] in ("packed", "attached", "cold"), "storage", "kind", storage, "packed/attached/cold")
        for table, layer in zip(self.tables, layers):
            self._check_table(table, layer)
        converted = any(table.source_codec is not table.codec for table in self.tables)
        rules = [layer["hash"].get("rule") for layer in layers]
        needs_3 = self.cold or converted or self.scheme["max_order"] == 1 or "per_column" in rules
        version = 3 if needs_3 else 2 if "stripes" in self.manifest else 1
        need(self.manifest["version"] == version, "manifest", "version", self.manifest["version"], version)
        self._check_stripes()
        if self.attached:
            self.folder = Path(checkpoint or text(storage["checkpoint"], "storage", "checkpoint"))
            self._check_sources()
            for table in self.tables:
                sample = table.samples[0]
                found = table.seal(sample["row"], self._assemble(table, sample["row"]))
                need(found == sample["seal"], f"table {table.layer}", "a known row", found, sample["seal"])
        elif self.cold:
            self._check_cold(storage["tables"])
        else:
            self._check_shards()

    def _check_cold(self, entries: list) -> None:
        need(len(entries) == len(self.tables), "storage", "tables", len(entries), len(self.tables))
        self.cold_files = {}
        for table, entry in zip(self.tables, entries):
            where = f"storage, table {table.layer}"
            keys(entry, "frame_rows shards", where)
            whole(entry["frame_rows"], 1, 2**64 - 1, where, "frame_rows")
            need(len(entry["shards"]) == len(table.columns), where, "shards", len(entry["shards"]), len(table.columns))
            for column in range(len(table.columns)):
                path = self.path / table.shard_name(column).replace(".shard", ".cold")
                self.cold_files[table.layer, column] = ColdFile(path, table, column, entry)

    def _read(self, path: Path, most: int | None = None) -> bytes:
        try:
            if most is not None:
                size = path.stat().st_size
                need(size <= most, path.name, "size", size, f"at most {most}")
            return path.read_bytes()
        except OSError as error:
            raise PackError(f"{path}: {error.strerror}") from error

    def _read_manifest(self) -> dict:
        text = self._read(self.path / "manifest.json", 2**24)
        try:
            manifest = json.loads(text)
        except ValueError as error:
            raise PackError(f"manifest: {error}") from error
        need(isinstance(manifest, dict), "manifest", "value", type(manifest), "an object")
        need(manifest.get("format") == "engram-pack", "manifest", "format", manifest.get("format"), "engram-pack")
        version = whole(manifest.get("version"), 1, 3, "manifest", "version")
        need(text == canonical(manifest) + b"\n", "manifest", "form", "another", "canonical")
        has_stripes = version == 2 or (version == 3 and "stripes" in manifest)
        stripes = " stripes" if has_stripes else ""
        keys(manifest, "checksum format scheme sources storage tables token_map version" + stripes, "manifest")
        body = {key: value for key, value in manifest.items() if key != "checksum"}
        found = xxhash.xxh3_128_hexdigest(canonical(body))
        need(manifest["checksum"] == found, "manifest", "checksum", found, manifest["checksum"])
        return manifest

    def _check_scheme(self, scheme: dict) -> None:
        where = "scheme"
        keys(scheme, "boundary compressed fill hashed_vocab_size heads layers max_order name", where)
        self.scheme = scheme
        text(scheme["name"], where, "name")
        need(isinstance(scheme["compressed"], bool), where, "compressed", scheme["compressed"], "true/false")
        vocab = whole(scheme["hashed_vocab_size"], 1, 2**32 - 2, where, "hashed_vocab_size")
        whole(scheme["fill"], 0, vocab - 1, where, "fill")
        orders = whole(scheme["max_order"], 1, 8, where, "max_order")
        heads = whole(scheme["heads"], 1, 1024, where, "heads")
        columns = max(orders - 1, 1) * heads
        whole(columns, 1, 1024, where, "columns")
        if scheme["boundary"] is not None:
            keys(scheme["boundary"], "rule tokens", "boundary")
            rule = scheme["boundary"]["rule"]
            need(rule in ("ends_history", "dead"), "boundary", "rule", rule, "ends_history/dead")
            for token in scheme["boundary"]["tokens"]:
                whole(token, 0, vocab - 1, "boundary", "token")
        ids = [layer["layer"] for layer in scheme["layers"]]
        need(len(set(ids)) == len(ids) > 0, where, "layers", ids, "different ones")
        need(len(ids) <= 1024, where, "layers", len(ids), "at most 1024")
        for layer in scheme["layers"]:
            where = f"scheme, layer {layer['layer']}"
            keys(layer, "buckets hash layer row_count", where)
            whole(layer["layer"], 0, 65535, where, "layer")
            need(len(layer["buckets"]) == columns, where, "buckets", len(layer["buckets"]), columns)
            for buckets in layer["buckets"]:
                whole(buckets, 1, 2**36 - 1, where, "buckets")
            whole(layer["row_count"], sum(layer["buckets"]), 2**48 - 1, where, "row_count")
            rule = layer["hash"].get("rule")
            if rule == "xor_multiply":
                keys(layer["hash"], "multipliers rule", where)
                need(len(layer["hash"]["multipliers"]) == orders, where, "multipliers", layer["hash"], orders)
                for multiplier in layer["hash"]["multipliers"]:
                    whole(multiplier, 0, 2**64 - 1, where, "multiplier")
                    whole(multiplier * (vocab - 1), 0, 2**63 - 1, where, "largest product")
            elif rule == "per_column":
                keys(layer["hash"], "factors mix rule", where)
                mix, lists = layer["hash"]["mix"], layer["hash"]["factors"]
                need(mix in ("sum", "xor"), where, "mix", mix, "sum/xor")
                need(len(lists) == columns, where, "lists of factors", len(lists), columns)
                for column, factors in enumerate(lists):
                    order = column // heads + min(orders, 2)
                    need(len(factors) == order, where, f"factors of column {column}", len(factors), order)
                    for factor in factors:
                        whole(factor, 0, 2**64 - 1, where, "factor")
                    if mix == "sum":
                        whole(sum(factors) * (vocab - 1), 0, 2**64 - 1, where, "largest sum")
                    else:
                        whole(max(factors) * (vocab - 1), 0, 2**63 - 1, where, "largest product")
            else:
                need(rule == "polynomial", where, "rule", rule, "xor_multiply/polynomial/per_column")
                keys(layer["hash"], "base rule", where)
                whole(layer["hash"]["base"], 1, 2**32 - 1, where, "base")
                largest = orders * (vocab - 1) * (max(layer["buckets"]) - 1)
                whole(largest, 0, 2**64 - 1, where, "largest sum")

    def _read_token_map(self) -> tuple[int, ...] | None:
        entry = self.manifest["token_map"]
        if not self.scheme["compressed"]:
            need(entry is None, "manifest", "token_map", entry, None)
            return None
        keys(entry, "digest entries", "token_map")
        whole(entry["entries"], 1, 2**24, "token_map", "entries")
        data = self._read(self.path / "token_map.u32le", 2**26)
        need(len(data) == 4 * entry["entries"], "token_map.u32le", "size", len(data), 4 * entry["entries"])
        found = xxhash.xxh3_128_hexdigest(data)
        need(found == entry["digest"], "token_map.u32le", "digest", found, entry["digest"])
        ids = struct.unpack(f"<{entry['entries']}I", data)
        vocab = self.scheme["hashed_vocab_size"]
        need(max(ids) < vocab, "token_map.u32le", "largest id", max(ids), f"below {vocab}")
        return ids

    def _check_table(self, table: Table, layer: dict) -> None:
        where = f"table {table.layer}"
        shards, samples = (0, None) if self.attached else (len(table.columns), 0)
        need(len(table.shards) == shards, where, "shards", len(table.shards), shards)
        need(samples is None or not table.samples, where, "samples", len(table.samples), "none")
        need(samples == 0 or table.samples, where, "samples", 0, "at least one")
        for shard in table.shards:
            keys(shard, "data rows", where)
            digest(shard["data"], where, "data")
            digest(shard["rows"], where, "rows")
        for sample in table.samples:
            keys(sample, "row seal", where)
            whole(sample["row"], 0, table.rows - 1, where, "sampled row")
            whole(sample["seal"], 0, 2**64 - 1, where, "seal")
        found = [plane["row_bytes"] for plane in table.planes]
        good = found in (table.source_codec.planes, [table.source_codec.row_bytes])
        need(good, where, "planes", found, table.source_codec.planes)
        converted = table.source_codec is not table.codec
        need(not (converted and self.attached), where, "source_codec", "in an attached pack", "none")
        for plane in table.planes:
            keys(plane, "row_bytes segments", where)
            next_row = 0
            need(len(plane["segments"]) <= 65536, where, "segments", len(plane["segments"]), "at most 65536")
            for segment in plane["segments"]:
                keys(segment, "first_row offset row_count source tensor", where)
                text(segment["tensor"], where, "tensor")
                whole(segment["offset"], 0, 2**64 - 1, where, "offset")
                whole(segment["first_row"], 0, 2**48, where, "first_row")
                need(segment["first_row"] == next_row, where, "first_row", segment["first_row"], next_row)
                next_row += whole(segment["row_count"], 1, 2**48, where, "row_count")
                sources = self.manifest["sources"]
                source = sources[whole(segment["source"], 0, len(sources) - 1, where, "source")]
                end = segment["offset"] + segment["row_count"] * plane["row_bytes"]
                need(end <= source["bytes"], where, "end of " + segment["tensor"], end, source["bytes"])
            need(next_row == layer["row_count"], where, "rows of a plane", next_row, layer["row_count"])

    def _check_stripes(self) -> None:
        """'Stripes'."""
        self.stripes = self.manifest.get("stripes")
        if self.stripes is None:
            need(not self.moved, "manifest", "stripes", "none", f"stripes {sorted(self.moved)}")
            return
        where = "stripes"
        keys(self.stripes, "columns folders", where)
        need(not self.attached and not self.cold, where, "storage", "another", "packed")
        folders = self.stripes["folders"]
        whole(len(folders), 1, 256, where, "number of folders")
        need(len(set(folders)) == len(folders), where, "folders", folders, "different ones")
        for folder in folders:
            names = text(folder, where, "folder").removeprefix("/").split("/")
            good = folder == "." or all(n not in ("", ".", "..") and not set(n) & set("\\\0") for n in names)
            need(good, where, "folder", folder, "a path of plain names")
        found, expected = [len(c) for c in self.stripes["columns"]], [len(t.columns) for t in self.tables]
        need(found == expected, where, "columns", found, expected)
        for stripe in (stripe for columns in self.stripes["columns"] for stripe in columns):
            whole(stripe, 0, len(folders) - 1, where, "stripe of a column")
        for stripe in self.moved:
            whole(stripe, 0, len(folders) - 1, where, "moved stripe")

    def _shard_path(self, table: Table, column: int) -> Path:
        folder = self.path
        if self.stripes is not None:
            stripe = self.stripes["columns"][self.tables.index(table)][column]
            # An absolute path takes the place of the pack's when they are joined.
            folder = Path(self.moved.get(stripe) or self.path / self.stripes["folders"][stripe])
        return folder / table.shard_name(column)

    def _check_sources(self) -> None:
        for source in self.manifest["sources"]:
            path = self.folder / source["name"]
            need(path.is_file(), str(path), "file", "missing", "there")
            size = path.stat().st_size
            need(size == source["bytes"], str(path), "size", size, source["bytes"])
            with path.open("rb") as file:
                length = source.get("header_bytes")
                if length is None:
                    length = struct.unpack("<Q", file.read(8))[0] + 8
                file.seek(0)
                header = file.read(min(length, size))
            found = xxhash.xxh3_128_hexdigest(header)
            need(found == source["header_digest"], str(path), "header digest", found, source["header_digest"])

    def _check_shards(self) -> None:
        for table in self.tables:
            for column in range(len(table.columns)):
                path = self._shard_path(table, column)
                need(path.is_file(), str(path), "file", "missing", "there")
                size = path.stat().st_size
                need(size == table.shard_bytes(column), str(path), "size", size, table.shard_bytes(column))
                with path.open("rb") as file:
                    found = file.read(BLOCK)
                expected = table.header(column)
                differ = [i for i in range(BLOCK) if found[i] != expected[i]]
                need(not differ, str(path), "header byte", differ[:1], "what follows from the manifest")

    def windows(self, tokens: list[int], dead: frozenset[int] = frozenset()) -> list[list[int]]:
        """'From tokens to row ids': the window of each position."""
        scheme = self.scheme
        vocab = len(self.token_map) if self.token_map else scheme["hashed_vocab_size"]
        for position, token in enumerate(tokens):
            need(0 <= token < vocab, f"position {position}", "token", token, f"below {vocab}")
        ids = [self.token_map[t] if self.token_map else t for t in tokens]
        boundary = scheme["boundary"] or {"tokens": [], "rule": "ends_history"}
        ends = {p for p, i in enumerate(ids) if i in boundary["tokens"]}
        dead = set(dead) | (ends if boundary["rule"] == "dead" else set())
        out = []
        for p in range(len(ids)):
            window = []
            for s in range(scheme["max_order"]):
                reached = range(p - s, p + 1)
                blocked = p < s or any(q in dead for q in reached) or any(q in ends for q in reached if q < p)
                window.append(scheme["fill"] if blocked else ids[p - s])
            out.append(window)
        return out

    def hash(self, tokens: list[int], dead: frozenset[int] = frozenset()) -> list[list[list[int]]]:
        """'From tokens to row ids': [position][layer][column]."""
        layers = list(zip(self.scheme["layers"], self.tables))
        windows = self.windows(tokens, dead)
        return [[self._row_ids(layer, table, window) for layer, table in layers] for window in windows]

    @staticmethod
    def _row_ids(layer: dict, table: Table, window: list[int]) -> list[int]:
        rows = []
        for column, (order, _, first, buckets) in enumerate(table.columns):
            rule = layer["hash"]["rule"]
            if rule == "per_column" and layer["hash"]["mix"] == "sum":
                value = sum(window[place] * layer["hash"]["factors"][column][place] for place in range(order))
            elif rule != "polynomial":
                factors = layer["hash"]["multipliers"] if rule == "xor_multiply" else layer["hash"]["factors"][column]
                value = 0
                for place in range(order):
                    value ^= window[place] * factors[place]
            else:
                base = layer["hash"]["base"]
                value = sum(window[k] * pow(base, k, buckets) for k in range(order))
            rows.append(value % buckets + first)
        return rows

    def _table(self, layer: int) -> Table:
        for table in self.tables:
            if table.layer == layer:
                return table
        raise PackError(f"layer {layer} has no table")

    def row(self, layer: int, row: int) -> bytes:
        """The bytes of a row, checked against its seal where it has one."""
        table = self._table(layer)
        column = table.column_of(row)
        if self.attached:
            return self._assemble(table, row)
        if self.cold:
            file = self.cold_files[layer, column]
            frame, place = divmod(row - file.first, file.frame_rows)
            return file.read(frame)[place]
        name = table.shard_name(column)
        with self._shard_path(table, column).open("rb") as file:
            file.seek(table.record_offset(row - table.columns[column][2]))
            record = file.read(table.stride)
        data, (stored,) = record[: table.row_bytes], struct.unpack("<Q", record[-SEAL:])
        found = table.seal(row, data)
        need(found == stored, f"{name}, row {row}", "seal", f"{found:016x}", f"{stored:016x}")
        return data

    def _assemble(self, table: Table, row: int) -> bytes:
        parts = []
        for plane in table.planes:
            segment = next(s for s in plane["segments"] if row < s["first_row"] + s["row_count"])
            name = self.manifest["sources"][segment["source"]]["name"]
            with (self.folder / name).open("rb") as file:
                file.seek(segment["offset"] + (row - segment["first_row"]) * plane["row_bytes"])
                parts.append(file.read(plane["row_bytes"]))
        return b"".join(parts)

    def decode(self, layer: int, row: bytes) -> list[float]:
        return self._table(layer).codec.decode(row)

    def verify(self) -> list[str]:
        """Everything damaged: records, padding and digests, or the samples of an attached pack."""
        damage = []
        for table in self.tables:
            for sample in table.samples:
                if table.seal(sample["row"], self._assemble(table, sample["row"])) != sample["seal"]:
                    damage.append(f"layer {table.layer}, row {sample['row']}: differs")
            for column in range(len(table.shards)):
                damage += self._verify_cold(table, column) if self.cold else self._verify_shard(table, column)
        return damage

    def _verify_cold(self, table: Table, column: int) -> list[str]:
        file, damage = self.cold_files[table.layer, column], []
        all_rows = xxhash.xxh3_128()
        for frame in range(len(file.frames)):
            try:
                for row in file.read(frame):
                    all_rows.update(row)
            except PackError as error:
                damage.append(str(error))
        if not damage and all_rows.hexdigest() != table.shards[column]["rows"]:
            damage.append(f"{file.path}: rows digest is {all_rows.hexdigest()}")
        return damage

    def _verify_shard(self, table: Table, column: int) -> list[str]:
        name, (_, _, first, rows) = table.shard_name(column), table.columns[column]
        data, damage = self._read(self._shard_path(table, column)), []
        all_rows, used = xxhash.xxh3_128(), bytearray(len(data) - BLOCK)
        for index in range(rows):
            start = table.record_offset(index)
            record = data[start : start + table.stride]
            row, padding = record[: table.row_bytes], record[table.row_bytes : -SEAL]
            all_rows.update(row)
            used[start - BLOCK : start - BLOCK + table.stride] = b"\1" * table.stride
            if struct.pack("<Q", table.seal(first + index, row)) != record[-SEAL:] or any(padding):
                damage.append(f"{name}, row {first + index}, offset {start}: damaged")
        if any(byte and not record for byte, record in zip(data[BLOCK:], used)):
            damage.append(f"{name}: padding is not zero")
        for what, found in (("data", xxhash.xxh3_128_hexdigest(data[BLOCK:])), ("rows", all_rows.hexdigest())):
            if found != table.shards[column][what]:
                damage.append(f"{name}: {what} digest is {found}, expected {table.shards[column][what]}")
        return damage


def f32_bits(value: float) -> int:
    """All NaN have the same; what is too large is infinite."""
    if math.isnan(value):
        return 0x7FC00000
    try:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0xFF800000 if value < 0 else 0x7F800000


def check_codecs(path: Path) -> bool:
    """Compares the rows of codecs.json with their values."""
    good = True
    for vector in json.loads(path.read_text()):
        codec = Codec(vector["codec"], path.name)
        for row, expected in zip(vector["rows"], vector["f32"]):
            found = "".join(f"{f32_bits(value):08x}" for value in codec.decode(bytes.fromhex(row)))
            if found != expected:
                print(f"{path.name}: {vector['codec']}, row {row}: {found}, expected {expected}")
                good = False
    print(f"{path.name}: {'ok' if good else 'differs'}")
    return good


def check_vectors(folder: Path) -> bool:
    """Compares every pack of `folder` with its expected.json, and the codecs with codecs.json where there is one."""
    codecs = folder / "codecs.json"
    good = not codecs.exists() or check_codecs(codecs)
    for name, expected in json.loads((folder / "expected.json").read_text()).items():
        pack = Pack(folder / name)
        if pack.cold and not can_decompress():
            print(f"{name}: frames skipped, for want of zstandard; all else is ok")
            continue
        faults = pack.verify()
        if pack.hash(expected["tokens"], frozenset(expected["dead"])) != expected["rows"]:
            faults.append("row ids differ")
        for place, value in expected["values"].items():
            layer, row = map(int, place.split(":"))
            data = pack.row(layer, row)
            if data.hex() != value["hex"]:
                faults.append(f"row {place} differs")
            if [f32_bits(v) for v in pack.decode(layer, data)] != value["f32_bits"]:
                faults.append(f"values of row {place} differ")
        print(f"{name}: {'; '.join(faults) or 'ok'}")
        good = good and not faults
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="PACK COMMAND ...")
    parser.add_argument("--dead", default="", help="dead positions, separated by commas")
    parser.add_argument("--stripe", action="append", default=[], help="N=DIR: folder of stripe N")
    parser.add_argument("--checkpoint", help="folder of the files behind an attached pack")
    args = parser.parse_args()
    words = args.words
    try:
        if words[0] == "check" and len(words) == 2:
            return 0 if check_vectors(Path(words[1])) else 1
        moved = {int(stripe): folder for stripe, _, folder in (word.partition("=") for word in args.stripe)}
        pack = Pack(words[0], args.checkpoint, moved)
        if words[1:] == ["verify"]:
            damage = pack.verify()
            print("\n".join(damage) or "ok")
            return 1 if damage else 0
        if words[1:2] == ["rows"] and len(words) == 3:
            dead = frozenset(int(p) for p in args.dead.split(",") if p)
            print(json.dumps(pack.hash([int(t) for t in words[2].split(",")], dead)))
            return 0
        if words[1:2] == ["get"] and len(words) == 4:
            print(pack.row(int(words[2]), int(words[3])).hex())
            return 0
    except PackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    parser.error("see --help")
    return 2


if __name__ == "__main__":
    sys.exit(main())
