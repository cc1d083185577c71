"""Writes families.json: row ids of further models by plain Python, independent of the Rust code.

    python make_families.py > families.json

LongCat is computed in two ways that must agree: as SGLang's kernel walks back from a token, and as the model's own
code shifts a whole text. addressing.json beside it has the first families, and is never made anew.
"""

import json
import random

DEAD = 2**32 - 1
RANDOM = random.Random(20261129)


def scope(text):
    """Token ids of a special_token_scope such as "0:4,36:55", whose ranges leave out their end."""
    ids = []
    for part in text.split(","):
        start, end = part.split(":")
        ids += range(int(start), int(end))
    return ids


def longcat_walk(p, ids, ignored):
    """Each column walks back from its token, until the start, or a token that is ignored, this one included."""
    n, k, vocab = p["emb_neighbor_num"], p["emb_split_num"], p["vocab_size"]
    out = []
    for position in range(len(ids)):
        rows, offset = [], 0
        for column in range((n - 1) * k):
            size = int(p["ngram_vocab_size_ratio"] * vocab + 2 * column + 1)
            bucket = 0
            for back in range(column // k + 2):
                if back > position or ids[position - back] in ignored or ids[position - back] == DEAD:
                    break
                bucket = (bucket + ids[position - back] * pow(vocab, back, size)) % size
            rows.append(bucket + offset)
            offset += size
        out.append([rows])
    return out


def longcat_shift(p, ids, ignored):
    """Ignored tokens become 0, shifts do not cross a 0, and the products of all shifts are added."""
    n, k, vocab = p["emb_neighbor_num"], p["emb_split_num"], p["vocab_size"]
    text = [0 if token in ignored or token == DEAD else token for token in ids]
    segment, starts = 0, []
    for position, token in enumerate(text):
        starts.append(segment)
        if token == 0:
            segment = position + 1
    shifted = []
    for back in range(n):
        line = [text[q - back] if q - back >= starts[q] and text[q] else 0 for q in range(len(text))]
        shifted.append(line if back else text)
    out = [[[]] for _ in text]
    offset = 0
    for column in range((n - 1) * k):
        size = int(p["ngram_vocab_size_ratio"] * vocab + 2 * column + 1)
        powers = [vocab**back % size for back in range(n)]
        for position, rows in enumerate(out):
            total = sum(shifted[back][position] * powers[back] for back in range(column // k + 2))
            rows[0].append(total % size + offset)
        offset += size
    return out


def primes_from(start, count, seen):
    found, number = [], start
    while len(found) < count:
        if number > 1 and number not in seen and all(number % d for d in range(2, int(number**0.5) + 1)):
            found.append(number)
            seen.add(number)
        number += 1
    return found


def windows(p, ids):
    boundary = p.get("boundary") or {"rule": "ends_history", "tokens": []}
    out = []
    for position in range(len(ids)):
        window, blocked = [], False
        for back in range(p["max_order"]):
            token = ids[position - back] if back <= position else DEAD
            ends = token in boundary["tokens"]
            blocked = blocked or token == DEAD or (ends and (back > 0 or boundary["rule"] == "dead"))
            window.append(p.get("fill", 0) if blocked else token)
        out.append(window)
    return out


def over_encoding(p, ids):
    """Bucket counts of each layer, and row ids."""
    columns, seen, all_sizes = (p["max_order"] - 1) * p["heads"], set(), []
    for layer in p["layers"]:
        ((kind, value),) = layer["sizes"].items()
        if kind == "primes_from":
            sizes = primes_from(value, columns, seen)
        else:
            sizes = value if kind == "each" else [value + 2 * i + 1 for i in range(columns)]
        all_sizes.append(sizes)
    out = []
    for window in windows(p, ids):
        of_layers = []
        for layer, sizes in zip(p["layers"], all_sizes):
            hash_, rows, offset = layer["hash"], [], 0
            for column, size in enumerate(sizes):
                order = column // p["heads"] + 2
                if hash_["rule"] == "polynomial":
                    bases = hash_["bases"]
                    base = bases[0 if len(bases) == 1 else column % p["heads"] if len(bases) == p["heads"] else column]
                    factors = [base**back % size for back in range(order)]
                elif hash_["rule"] == "xor_multiply":
                    factors = hash_["multipliers"][:order]
                else:
                    factors = hash_["factors"][column]
                products = [token * factor for token, factor in zip(window, factors)]
                value = sum(products)
                if hash_["rule"] == "xor_multiply" or hash_.get("mix") == "xor":
                    value = 0
                    for product in products:
                        value ^= product
                rows.append(value % size + offset)
                offset += size
            of_layers.append(rows)
        out.append(of_layers)
    return all_sizes, out


def draw(vocab, count, places):
    """Ids that are neither 0 nor 1, with others at some places."""
    ids = [RANDOM.randrange(2, vocab) for _ in range(count)]
    for place, token in places.items():
        ids[place] = token
    return ids


def main():
    cases = []
    for name, vocab, hidden, ratio, n, listed in [
        ("longcat-lite-4096", 163840, 4096, 59.604, 5, scope("0:4,36:55")),
        ("longcat-2.0", 163840, 8192, 100.567, 5, [2, 3]),
        ("small", 64, 64, 3.3, 3, [2, 9]),
    ]:
        p = {"vocab_size": vocab, "hidden_size": hidden, "ngram_vocab_size_ratio": ratio}
        p |= {"emb_neighbor_num": n, "emb_split_num": 4, "eos_token_id": 2}
        ids = draw(vocab, 18, {4: 2, 9: listed[-1], 10: listed[-1], 13: DEAD})
        rows = longcat_walk(p, ids, listed)
        assert rows == longcat_shift(p, ids, listed)
        p["name"] = name
        cases.append({"family": "longcat", "params": p, "ignored": listed, "ids": ids, "rows": rows})

    for name, vocab in [("gemma-3n", 262144), ("gemma-4", 262144)]:
        ids = draw(vocab, 9, {3: DEAD, 5: 0, 6: vocab - 1})
        rows = [[[0 if token == DEAD else token]] for token in ids]
        cases.append({"family": "per_layer", "params": {"name": name}, "ids": ids, "rows": rows})

    primes, sizes = {"primes_from": 900}, {"each": [5, 80, 64, 1]}
    bases, factors = [7, 11, 13, 17], [[3, 5], [7, 11], [2, 9, 31], [8, 1, 77]]
    mixed = [
        {"layer": 0, "sizes": primes, "hash": {"rule": "polynomial", "bases": [500]}},
        {"layer": 2, "sizes": primes, "hash": {"rule": "polynomial", "bases": [31, 1_000_003]}},
        {"layer": 3, "sizes": {"odd_above": 700}, "hash": {"rule": "polynomial", "bases": bases, "mix": "xor"}},
        {"layer": 5, "sizes": primes, "hash": {"rule": "xor_multiply", "multipliers": [12345, 999, 77777]}},
        {"layer": 7, "sizes": sizes, "hash": {"rule": "per_column", "mix": "xor", "factors": factors}},
        {"layer": 9, "sizes": primes, "hash": {"rule": "per_column", "mix": "sum", "factors": factors}},
    ]
    large = {"layer": 0, "sizes": {"primes_from": 20_000_000}, "hash": {"rule": "polynomial", "bases": [151936, 10007]}}
    for p, places in [
        ({"name": "mixed", "vocab_size": 500, "max_order": 3, "heads": 2, "layers": mixed}, {4: DEAD}),
        (
            {"name": "bounded", "vocab_size": 500, "fill": 3, "max_order": 3, "heads": 2, "layers": mixed}
            | {"boundary": {"rule": "ends_history", "tokens": [44, 45]}},
            {4: 44, 7: 45, 8: 45, 11: DEAD},
        ),
        ({"name": "large", "vocab_size": 151936, "max_order": 5, "heads": 2, "layers": [large]}, {}),
    ]:
        ids = draw(p["vocab_size"], 14, places)
        sizes, rows = over_encoding(p, ids)
        cases.append({"family": "over_encoding", "params": p, "buckets": sizes, "ids": ids, "rows": rows})
    print(json.dumps({"cases": cases}, separators=(",", ":")))


if __name__ == "__main__":
    main()
