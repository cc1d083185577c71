"""Rows are those of the pack, whatever is asked for and wherever they go."""

import array
import ctypes
import mmap
import subprocess
import sys

import numpy as np
import pytest
from conftest import VECTORS

import engram_tables
from engram_tables import errors


PACK = VECTORS / "deepseek"


def tokens_of(expected):
    """The tokens of a frozen pack, with its dead positions."""
    dead = set(expected["dead"])
    return [-1 if place in dead else token for place, token in enumerate(expected["tokens"])]


def bfloat16_bits(values):
    """Rounded to nearest, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, rounded).astype(np.uint16)


def test_every_pack_and_reader_gives_the_frozen_rows(pack, reader, expected, second_reader):
    expected = expected[pack.name]
    second = second_reader.Pack(pack)
    with engram_tables.open(pack, reader=reader, cache="1 MiB") as store:
        rows = store.rows(tokens_of(expected))
        for index, layer in enumerate(store.layers):
            frozen = np.array([position[index] for position in expected["rows"]])
            assert (rows[layer.id] == frozen).all()
            for _ in range(2):  # the second time from the cache, where there is one
                stored = store.lookup(layer.id, rows, dtype="stored")
                values = store.lookup(layer.id, rows)
                assert stored.shape == (*frozen.shape, layer.row_bytes)
                assert values.shape == (*frozen.shape, layer.width)
                for place in np.ndindex(frozen.shape):
                    row = int(frozen[place])
                    assert stored[place].tobytes() == second.row(layer.id, row)
                    if value := expected["values"].get(f"{layer.id}:{row}"):
                        assert stored[place].tobytes().hex() == value["hex"]
                        assert values[place].view(np.uint32).tolist() == value["f32_bits"]
            with np.errstate(over="ignore"):
                halves = values.astype(np.float16)
            assert np.array_equal(store.lookup(layer.id, rows, dtype="float16"), halves, equal_nan=True)
            assert (store.lookup(layer.id, rows, dtype="bfloat16") == bfloat16_bits(values)).all()


def test_facts_are_those_of_the_manifest(pack, second_reader):
    second = second_reader.Pack(pack)
    with engram_tables.open(pack, reader="mmap") as store:
        assert store.scheme == second.scheme["name"]
        assert (store.max_order, store.heads) == (second.scheme["max_order"], second.scheme["heads"])
        assert store.columns == max(store.max_order - 1, 1) * store.heads
        assert store.backend == "mmap"
        for layer, table in zip(store.layers, second.tables, strict=True):
            assert (layer.id, layer.row_bytes, layer.width) == (table.layer, table.row_bytes, table.codec.width)
            assert layer.value_bytes + layer.scale_bytes == layer.row_bytes
            assert layer.row_count == sum(column.row_count for column in layer.columns)
            assert [column[:3] for column in table.columns] == [
                (column.order, column.head, column.first_row) for column in layer.columns
            ]
            assert store.layer(layer.id).codec == layer.codec


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint64])
def test_ids_may_have_any_type_and_shape(store, dtype):
    ids = np.arange(24).reshape(2, 3, 4)
    expected = store.lookup(1, list(range(24)))
    assert (store.lookup(1, ids.astype(dtype)).reshape(24, -1) == expected).all()
    scattered = np.zeros((4, 3, 8), dtype).transpose(2, 1, 0)[::4]
    scattered[:] = ids
    assert (store.lookup(1, scattered) == expected.reshape(2, 3, 4, -1)).all()
    assert (store.lookup(1, ids[::-1]) == expected.reshape(2, 3, 4, -1)[::-1]).all()
    assert store.lookup(1, dtype(7)).tolist() == expected[7].tolist()
    assert store.lookup(1, np.zeros((0, 4), dtype)).shape == (0, 4, 64)
    assert store.lookup(1, array.array("q", [3, 5])).tolist() == expected[[3, 5]].tolist()


@pytest.mark.parametrize("reader", ["direct", "memory"])
def test_a_negative_id_is_a_row_of_zeros(reader):
    with engram_tables.open(PACK, reader=reader) as store:
        all_rows = store.lookup(1, list(range(20)))
        ids = np.array([-1, 5, -7, -1, 19, 0, -1], np.int32)
        expected = np.where((ids < 0)[:, None], 0, all_rows[ids])
        assert (store.lookup(1, ids) == expected).all()
        assert (store.submit(1, ids).wait() == expected).all()
        assert not store.lookup(1, [-1, -1]).any()
        assert not store.lookup(1, np.array([2**64 - 1], np.uint64)).any()


def places_for_rows():
    """Arrays and buffers of 5 rows of 64 float32, how to read them, and what has to be said of them."""

    def buffer(name, out, dtype=None):
        return name, out, np.frombuffer(out, np.float32), dtype

    rows = np.empty((5, 64), np.float32)
    flat = np.empty(5 * 64, np.float32)
    gaps = np.empty((5, 100), np.float32)[:, 20:84]
    every_third = np.empty((5, 3, 64), np.float32)[:, 1]
    bits = np.empty((5, 64), np.uint32)
    address = np.empty(5 * 64, np.float32)
    by_address = (ctypes.c_ubyte * address.nbytes).from_address(address.ctypes.data)
    return [
        ("rows", rows, rows, None),
        ("flat", flat, flat, None),
        ("rows with gaps", gaps, gaps, None),
        ("every third row", every_third, every_third, None),
        ("bits", bits, bits.view(np.float32), "float32"),
        ("address", by_address, address, "float32"),
        buffer("bytearray", bytearray(5 * 256), "float32"),
        buffer("memoryview", memoryview(bytearray(5 * 256)).cast("f")),
        buffer("array", array.array("f", bytes(5 * 256))),
        buffer("map", mmap.mmap(-1, 5 * 256), "float32"),
    ]


@pytest.mark.parametrize("reader", ["direct", "memory"])
@pytest.mark.parametrize("place", places_for_rows(), ids=lambda place: place[0])
def test_rows_go_right_to_the_callers_memory(reader, place):
    _, out, view, dtype = place
    ids = [3, 1, -1, 1, 100]
    with engram_tables.open(PACK, reader=reader) as store:
        expected = store.lookup(1, ids)
        for ask in (store.lookup, lambda *args, **kwargs: store.submit(*args, **kwargs).wait()):
            view[...] = 9
            assert ask(1, ids, out=out, dtype=dtype) is out
            assert (view.reshape(5, 64) == expected).all()


def test_what_lies_between_rows_is_not_touched(store):
    around = np.full((5, 100), 7, np.float32)
    store.lookup(1, [1, 2, 3, 4, 5], out=around[:, 20:84])
    assert (around[:, :20] == 7).all() and (around[:, 84:] == 7).all()


def test_the_type_of_out_says_what_rows_are(store):
    ids = [3, 1]
    for dtype, name in [(np.float32, "float32"), (np.float16, "float16"), (np.uint8, "stored")]:
        items = 66 if dtype is np.uint8 else 64
        out = store.lookup(1, ids, out=np.empty((2, items), dtype))
        assert (out == store.lookup(1, ids, dtype=name)).all()
        for named in (dtype, np.dtype(dtype)):
            assert (store.lookup(1, ids, dtype=named) == out).all()
    bits = store.lookup(1, ids, out=np.empty((2, 64), np.uint16), dtype="bfloat16")
    assert (bits == store.lookup(1, ids, dtype="bfloat16")).all()


def test_histories_give_the_same_rows_however_they_are_split(pack, expected):
    tokens = tokens_of(expected[pack.name])
    with engram_tables.open(pack, reader="mmap") as store:
        whole = store.rows(tokens)
        sequence = store.sequence()
        parts = [sequence.extend(np.array(part, np.int32)) for part in (tokens[:1], [], tokens[1:9])]
        ahead = sequence.peek(tokens[9:14])
        assert len(sequence) == 9
        fork = sequence.fork()
        sequence.advance(tokens[9:12])
        sequence.truncate(10)
        parts.append(sequence.extend(tokens[10:]))
        forked = fork.extend(np.array(tokens[9:], np.int64))
        for layer in store.layers:
            got = np.concatenate([part[layer.id] for part in parts])
            rows = whole[layer.id]
            assert (got == np.delete(rows, 9, axis=0)).all()
            assert (ahead[layer.id] == rows[9:14]).all()
            assert (forked[layer.id] == rows[9:]).all()


def test_many_histories_are_extended_at_once(store):
    sequences = [store.sequence() for _ in range(3)]
    first = store.extend_batch(sequences, [[1, 2], [], [3]])
    second = store.extend_batch(sequences, [[4], np.array([5], np.int64), [6]])
    expected = [store.rows([1, 2, 4])[1], store.rows([5])[1], store.rows([3, 6])[1]]
    assert first[1].tolist() == [*expected[0][:2].tolist(), expected[2][0].tolist()]
    assert second[1].tolist() == [rows[-1].tolist() for rows in expected]


def test_windows_hash_as_a_history_does(pack, expected):
    tokens = tokens_of(expected[pack.name])
    with engram_tables.open(pack, reader="mmap") as store:
        order = store.max_order
        padded = [-1] * (order - 1) + tokens
        windows = np.array([padded[place : place + order][::-1] for place in range(len(tokens))])
        by_history = store.rows(tokens)
        by_windows = store.rows_of_windows(windows)
        blocked = windows == -1
        windows[blocked] = 2**31
        by_mask = store.rows_of_windows(windows, blocked)
        for layer in store.layers:
            assert (by_windows[layer.id] == by_history[layer.id]).all()
            assert (by_mask[layer.id] == by_history[layer.id]).all()
        with pytest.raises(errors.WindowTokenOutOfRangeError):
            store.rows_of_windows(windows)
        if order > 1:
            # Any number of tokens is a number of whole windows of one.
            with pytest.raises(errors.WindowShapeError):
                store.rows_of_windows(windows.reshape(-1)[: order + 1])


def test_without_numpy_rows_are_memory_views(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError")
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import engram_tables
        with engram_tables.open({str(PACK)!r}) as store:
            rows = store.rows([0, 3])
            view = rows[1]
            assert (view.format, view.shape) == ("q", (2, 4)), view
            values = store.lookup(1, rows)
            assert (type(values), values.format, values.shape) == (memoryview, "f", (2, 4, 64))
            assert store.lookup(1, view).tolist() == values.tolist()
            assert store.lookup(1, []).nbytes == 0
            print(values.tobytes().hex())
            print(store.lookup(1, rows, dtype="bfloat16").shape, store.lookup(1, rows, dtype="stored").shape)
    """
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    with engram_tables.open(PACK) as store:
        assert ran.stdout.split()[0] == store.lookup(1, store.rows([0, 3])).tobytes().hex()
