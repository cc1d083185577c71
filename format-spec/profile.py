"""A reader of profiles, written from PROFILE.md alone and independent of the Rust one.

Needs Python 3.9 and the package xxhash.

    profile.py FILE                        the profile as JSON; exit code 1 if it must be rejected
    profile.py check VECTORS               compares VECTORS/profiles with its expected.json, and counts its texts anew
"""

from __future__ import annotations

import json
import struct
import sys
from collections import Counter
from pathlib import Path

import xxhash

from reader import Pack, PackError, canonical, need, whole

HEADER = 184
CHECKSUM = 16
MAX_ORDER = 8
MAX_NGRAMS = 2**24


class Profile:
    """A profile, checked as 'What a reader rejects' lists."""

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        need(data[:8] == b"ENGRAMPF", where, "magic", data[:8], b"ENGRAMPF")
        need(len(data) >= HEADER + CHECKSUM, where, "size", len(data), f"{HEADER + CHECKSUM} or more")
        version, self.max_order, self.vocab, self.fill, compressed, reserved = struct.unpack_from("<6I", data, 8)
        whole(version, 1, 2, where, "version")
        found = xxhash.xxh3_128_intdigest(data[:-CHECKSUM])
        stored = int.from_bytes(data[-CHECKSUM:], "little")
        need(found == stored, where, "checksum", f"{found:032x}", f"{stored:032x}")
        whole(self.max_order, *((2, MAX_ORDER) if version == 1 else (1, 1)), where, "max order")
        self.first_order = min(self.max_order, 2)
        whole(self.vocab, 1, 2**32 - 2, where, "hashed vocabulary")
        whole(self.fill, 0, self.vocab - 1, where, "fill")
        whole(compressed, 0, 1, where, "compressed")
        need(reserved == 0, where, "reserved field", reserved, 0)
        self.boundary = f"{int.from_bytes(data[32:48], 'little'):032x}"
        token_map = int.from_bytes(data[48:64], "little")
        need(compressed or token_map == 0, where, "digest of no token map", token_map, 0)
        self.token_map = f"{token_map:032x}" if compressed else None
        (self.tokens,) = struct.unpack_from("<Q", data, 64)
        whole(self.tokens, 1, 2**64 - 1, where, "tokens")
        sizes = []
        for place in range(MAX_ORDER - 1):
            order = self.first_order + place
            distinct, kept = struct.unpack_from("<2Q", data, 72 + 16 * place)
            if order > self.max_order:
                need(distinct == kept == 0, where, f"n-grams of order {order}", (distinct, kept), "none")
                continue
            whole(distinct, 1, self.tokens, where, f"different n-grams of order {order}")
            whole(kept, 1, min(distinct, MAX_NGRAMS), where, f"n-grams held of order {order}")
            sizes.append((order, distinct, kept))
        expected = HEADER + sum(kept * (4 * order + 8) for order, _, kept in sizes) + CHECKSUM
        need(len(data) == expected, where, "size", len(data), expected)
        self.orders, at = [], HEADER
        for order, distinct, kept in sizes:
            records = list(struct.iter_unpack(f"<{order}IQ", data[at : at + kept * (4 * order + 8)]))
            at += kept * (4 * order + 8)
            ngrams = [(list(record[:-1]), record[-1]) for record in records]
            self._check(order, distinct, ngrams)
            self.orders.append({"distinct": distinct, "ngrams": ngrams})

    def _check(self, order: int, distinct: int, ngrams: list[tuple[list[int], int]]) -> None:
        left = self.tokens
        for index, (ids, count) in enumerate(ngrams):
            what = f"n-gram {index} of order {order}"
            whole(max(ids), 0, self.vocab - 1, self.where, f"largest id of {what}")
            whole(count, 1, left, self.where, f"count of {what}")
            left -= count
            if index:
                before, most = ngrams[index - 1]
                need((-most, before) < (-count, ids), self.where, what, (ids, count), f"after {(before, most)}")
        others = distinct - len(ngrams)
        whole(left, others, others * ngrams[-1][1], self.where, f"tokens left of order {order}")

    def rules(self) -> dict:
        return {
            "boundary": self.boundary,
            "fill": self.fill,
            "hashed_vocab_size": self.vocab,
            "max_order": self.max_order,
            "token_map": self.token_map,
        }

    def check_pack(self, pack: Pack) -> None:
        """A profile belongs to a pack whose windows follow from the same rules."""
        scheme, token_map = pack.scheme, pack.manifest["token_map"]
        expected = {
            "boundary": xxhash.xxh3_128_hexdigest(canonical(scheme["boundary"])),
            "fill": scheme["fill"],
            "hashed_vocab_size": scheme["hashed_vocab_size"],
            "max_order": scheme["max_order"],
            "token_map": token_map and token_map["digest"],
        }
        for field, found in self.rules().items():
            need(found == expected[field], self.where, field, found, expected[field])


def read(path: Path) -> Profile:
    try:
        return Profile(path.read_bytes(), str(path))
    except OSError as error:
        raise PackError(f"{path}: {error.strerror}") from error


def counted(windows: list[list[int]], order: int, top: int) -> dict:
    """The n-grams of one order as a profile has them, by a plain count."""
    counts = Counter(tuple(window[:order]) for window in windows)
    ngrams = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {"distinct": len(counts), "ngrams": [[list(ids), count] for ids, count in ngrams[:top]]}


def check_vectors(folder: Path) -> bool:
    """Compares every profile of `folder` with its expected.json, and with a count of the text."""
    good = True
    for name, expected in json.loads((folder / "profiles/expected.json").read_text()).items():
        profile, pack = read(folder / "profiles" / f"{name}.profile"), Pack(folder / name)
        profile.check_pack(pack)
        faults = [] if profile.rules() == expected["rules"] else ["rules differ"]
        windows = pack.windows(expected["tokens"], frozenset(expected["dead"]))
        if len(windows) != profile.tokens:
            faults.append("tokens differ")
        for order, (found, wanted) in enumerate(zip(profile.orders, expected["orders"]), profile.first_order):
            if json.loads(json.dumps(found)) != wanted:
                faults.append(f"order {order} differs")
            if counted(windows, order, len(wanted["ngrams"])) != wanted:
                faults.append(f"order {order} differs from a count of the text")
        print(f"{name}: {'; '.join(faults) or 'ok'}")
        good = good and not faults
    return good


def main() -> int:
    words = sys.argv[1:]
    try:
        if words[:1] == ["check"] and len(words) == 2:
            return 0 if check_vectors(Path(words[1])) else 1
        if len(words) == 1 and words[0] not in ("check", "-h", "--help"):
            profile = read(Path(words[0]))
            print(json.dumps({"rules": profile.rules(), "tokens": profile.tokens, "orders": profile.orders}))
            return 0
    except PackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
