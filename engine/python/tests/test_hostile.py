"""What cannot work raises an exception that says why: never a crash, a hang or a wrong row."""

import gc
import os
import re
import shutil
import threading

import numpy as np
import pytest
from conftest import ROOT, VECTORS

import engram_tables
from engram_tables import errors


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (np.zeros(3, np.float32), errors.ArgumentTypeError),
        (np.zeros(3, np.int16), errors.ArgumentTypeError),
        (np.zeros(3, ">i8"), errors.ArgumentTypeError),
        (np.zeros(3, "i4,i4"), errors.ArgumentTypeError),
        (np.array([object()]), Exception),
        (b"12345678", errors.ArgumentTypeError),
        ("12", errors.ArgumentTypeError),
        (7, errors.ArgumentTypeError),
        (None, errors.ArgumentTypeError),
        (object(), errors.ArgumentTypeError),
        ([1, "2"], errors.ArgumentTypeError),
        ([1.5], errors.ArgumentTypeError),
        ([2**63], errors.ArgumentTypeError),
        ([[1], [2]], errors.ArgumentTypeError),
        ([120], errors.RowOutOfRangeError),
        ([2**62], errors.RowOutOfRangeError),
        (np.array([0, 120], np.int32), IndexError),
    ],
    ids=repr,
)
def test_rows_that_are_none(store, rows, error):
    out = np.full((2, 64), 7, np.float32)
    for ask in (store.lookup, store.submit):
        with pytest.raises(error):
            ask(1, rows)
    if isinstance(rows, np.ndarray) and rows.dtype == np.int32:
        with pytest.raises(errors.RowOutOfRangeError, match="row 120 at index 1"):
            store.lookup(1, rows, out=out)
        assert not out.any()


def bad_places():
    read_only = np.zeros((2, 64), np.float32)
    read_only.flags.writeable = False
    wide = np.zeros((2, 128), np.float32)
    yield "read-only array", read_only, None, errors.BadArgumentError
    yield "bytes", bytes(512), "float32", errors.BadArgumentError
    yield "no array", object(), None, errors.ArgumentTypeError
    yield "list", [0.0] * 128, None, errors.ArgumentTypeError
    yield "float64", np.zeros((2, 64)), None, errors.ArgumentTypeError
    yield "float64, float32 wanted", np.zeros((2, 64)), "float32", errors.ArgumentTypeError
    yield "float32, bfloat16 wanted", np.zeros((2, 64), np.float32), "bfloat16", errors.ArgumentTypeError
    yield "bits of an unknown type", np.zeros((2, 64), np.uint16), None, errors.ArgumentTypeError
    yield "other byte order", np.zeros((2, 64), ">f4"), None, errors.ArgumentTypeError
    yield "complex", np.zeros((2, 32), np.complex64), "float32", errors.ArgumentTypeError
    yield "too short", np.zeros((1, 64), np.float32), None, errors.BadArgumentError
    yield "too long", np.zeros((3, 64), np.float32), None, errors.BadArgumentError
    yield "too narrow", np.zeros((2, 63), np.float32), None, errors.BadArgumentError
    yield "turned", np.zeros((64, 2), np.float32), None, errors.BadArgumentError
    yield "transposed", np.zeros((64, 2), np.float32).T, None, errors.BadArgumentError
    yield "every second value", wide[:, ::2], None, errors.BadArgumentError
    yield "backwards", np.zeros((2, 64), np.float32)[::-1], None, errors.BadArgumentError
    yield "one row for all", np.lib.stride_tricks.as_strided(wide, (2, 64), (0, 4)), None, errors.BadArgumentError
    yield "rows that overlap", np.lib.stride_tricks.as_strided(wide, (2, 64), (4, 4)), None, errors.BadArgumentError
    yield "not aligned", np.frombuffer(bytearray(513), np.uint8)[1:], "float32", errors.MisalignedError
    yield "scalar", np.zeros((), np.float32), None, errors.BadArgumentError
    yield "unknown type", None, "float64", errors.ArgumentTypeError
    yield "unknown name", None, "half", errors.ArgumentTypeError


@pytest.mark.parametrize("place", list(bad_places()), ids=lambda place: place[0])
def test_memory_that_will_not_do_is_refused_untouched(store, place):
    _, out, dtype, error = place
    for ask in (store.lookup, store.submit):
        with pytest.raises(error):
            ask(1, [1, 2], out=out, dtype=dtype)
    if isinstance(out, np.ndarray):
        assert not out.any()


def test_a_buffer_cannot_shrink_while_rows_are_on_their_way(store):
    out = bytearray(512)
    ticket = store.submit(1, [1, 2], out=out, dtype="float32")
    with pytest.raises(BufferError):
        out.clear()
    ticket.wait()
    del ticket
    gc.collect()
    out.clear()


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        ([60], errors.TokenOutOfRangeError),
        ([2**32 - 2], errors.TokenOutOfRangeError),
        (np.array([60], np.uint32), ValueError),
        ([-2], errors.BadArgumentError),
        ([2**32], errors.BadArgumentError),
        ([2**70], errors.ArgumentTypeError),
        (["a"], errors.ArgumentTypeError),
        ("abc", errors.ArgumentTypeError),
        (np.zeros(2), errors.ArgumentTypeError),
        (None, errors.ArgumentTypeError),
    ],
    ids=repr,
)
def test_tokens_that_are_none_change_nothing(store, tokens, error):
    sequence = store.sequence()
    sequence.extend([1, 2])
    for ask in (store.rows, sequence.extend, sequence.peek, sequence.advance):
        with pytest.raises(error):
            ask(tokens)
    with pytest.raises(error):
        store.extend_batch([sequence], [tokens])
    assert len(sequence) == 2


def test_masks_and_lists_that_do_not_fit_are_refused(store):
    windows = np.zeros((2, store.max_order), np.int32)
    with pytest.raises(errors.BadArgumentError):
        store.rows_of_windows(windows, np.zeros((2, 2), bool))
    with pytest.raises(errors.ArgumentTypeError):
        store.rows_of_windows(windows, np.zeros(windows.shape, np.int32))
    sequence = store.sequence()
    with pytest.raises(errors.BadArgumentError, match="named twice"):
        store.extend_batch([sequence, sequence], [[1], [2]])
    with pytest.raises(errors.BadArgumentError):
        store.extend_batch([sequence], [[1], [2]])
    assert len(sequence) == 0


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"reader": "tape"}, errors.OptionsFieldError),
        ({"cache": "512 MB"}, errors.OptionsFieldError),
        ({"cache": -1}, ValueError),
        ({"io_depth": 0}, errors.OptionsFieldError),
        ({"resident": {"rows": 3}}, errors.OptionsFieldError),
        ({"cash": "1 MiB"}, errors.OptionsUnknownFieldError),
        ({"profile": "/no/such/profile"}, errors.FileError),
        ({"cache": 1, "cache_bytes": 1}, TypeError),
        ({"cache": object()}, TypeError),
    ],
    ids=repr,
)
def test_settings_that_there_are_not(settings, error):
    with pytest.raises(error):
        engram_tables.open(VECTORS / "deepseek", **settings)


def test_settings_come_from_the_environment_if_wanted(monkeypatch):
    monkeypatch.setenv("ENGRAM_READER", "pread")
    monkeypatch.setenv("ENGRAM_CACHE_BYTES", "1 MiB")
    with engram_tables.open(VECTORS / "deepseek", from_env=True) as store:
        assert store.backend == "pread"
    with engram_tables.open(VECTORS / "deepseek", from_env=True, reader="mmap") as store:
        assert store.backend == "mmap"
    with engram_tables.open(VECTORS / "deepseek", reader="memory") as store:
        assert store.backend == "memory"
    monkeypatch.setenv("ENGRAM_READER", "tape")
    with pytest.raises(errors.OptionsFieldError, match="ENGRAM_READER"):
        engram_tables.open(VECTORS / "deepseek", from_env=True)


def test_what_is_no_pack_is_named(tmp_path):
    with pytest.raises(errors.NotAPackError, match=re.escape(str(tmp_path))):
        engram_tables.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(errors.FormatError):
        engram_tables.open(tmp_path)
    with pytest.raises(TypeError):
        engram_tables.open(None)


def test_a_damaged_row_is_named_and_never_handed_out(tmp_path):
    pack = tmp_path / "pack"
    shutil.copytree(VECTORS / "deepseek", pack)
    shard = pack / "layer-01" / "order-2-head-0.shard"
    content = bytearray(shard.read_bytes())
    content[4096 + 3] ^= 1
    shard.write_bytes(content)
    with engram_tables.open(pack) as store:
        out = np.full((2, 64), 7, np.float32)
        with pytest.raises(errors.DamagedError, match="row 0 of layer 1"):
            store.lookup(1, [5, 0], out=out)
        assert not out.any()
        out[:] = 7
        with pytest.raises(errors.DamagedError):
            store.submit(1, [5, 0], out=out).wait()
        assert not out.any()
        assert store.lookup(1, [5], out=out[:1]).any()
    report = engram_tables.verify(pack, progress=False)
    assert [place["row"] for place in report["damage"]] == [0, None, None][: len(report["damage"])]


def test_a_closed_store_says_so(store):
    sequence = store.sequence()
    rows = store.rows([1, 2])
    ticket = store.submit(1, rows)
    store.close()
    store.close()
    assert store.closed and "closed" in repr(store)
    assert ticket.wait().shape == (2, 4, 64)
    for ask in [
        lambda: store.lookup(1, rows),
        lambda: store.submit(1, rows),
        lambda: store.rows([1]),
        lambda: sequence.extend([1]),
        lambda: store.layers,
        lambda: store.backend,
        lambda: store.metrics(),
        lambda: store.warm(1, rows),
    ]:
        with pytest.raises(errors.ClosedError):
            ask()


def test_other_arguments_that_there_are_not(store):
    with pytest.raises(errors.UnknownLayerError, match=r"layer 9 has no table; the pack has layers \[1, 3\]"):
        store.lookup(9, [1])
    with pytest.raises(errors.UnknownLayerError):
        store.rows([1])[2]
    with pytest.raises(errors.UnknownLayerError):
        store.layer(2)
    with pytest.raises(OverflowError):
        store.lookup(-1, [1])
    with pytest.raises(errors.BadArgumentError, match="priority"):
        store.lookup(1, [1], priority="urgent")
    with pytest.raises(errors.BadArgumentError):
        store.submit(1, [1]).wait(timeout=-1)


@pytest.mark.parametrize("reader", ["direct", "mmap"])
def test_threads_share_a_store(reader):
    with engram_tables.open(VECTORS / "deepseek", reader=reader, cache="64 KiB") as store:
        expected = store.lookup(1, np.arange(120))
        wrong = []

        def work(seed):
            random = np.random.default_rng(seed)
            for _ in range(200):
                ids = random.integers(-5, 120, random.integers(0, 40))
                rows = np.where((ids < 0)[:, None], 0, expected[ids])
                ticket = store.submit(1, ids)
                if not (store.lookup(1, ids) == rows).all() or not (ticket.wait() == rows).all():
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_closing_while_others_look_up_breaks_nothing():
    for _ in range(20):
        store = engram_tables.open(VECTORS / "deepseek", cache="64 KiB")
        begun = threading.Barrier(3)

        def work():
            begun.wait()
            with pytest.raises(errors.ClosedError):
                while True:
                    store.lookup(1, [1, 2, 3])

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait()
        store.close()
        for thread in threads:
            thread.join()


def test_every_kind_of_error_has_a_class():
    source = (ROOT / "engine" / "ffi" / "src" / "error_kind.rs").read_text()
    kinds = re.findall(r"^    (\w+),$", source, re.MULTILINE)
    assert len(kinds) > 50
    for kind in kinds:
        assert issubclass(getattr(errors, f"{kind}Error"), errors.EngramError)


# `ENGRAM_CALLS=1000000` makes a million calls.
CALLS = int(os.environ.get("ENGRAM_CALLS", 240_000))
CALLS_A_ROUND = 6


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_memory_does_not_grow(store):
    out = np.empty((24, 64), np.float32)
    ids = np.arange(24)
    listed = ids.tolist()
    sequence = store.sequence()

    def calls(rounds):
        for _ in range(rounds):
            store.lookup(1, ids, out=out)
            store.lookup(1, listed)
            rows = sequence.extend([1, 2])
            sequence.truncate(0)
            store.lookup(1, rows, dtype="stored")
            store.submit(1, ids, out=out).wait()
            try:
                store.lookup(1, [120])
            except errors.RowOutOfRangeError:
                pass

    calls(5_000)
    gc.collect()
    before = resident_bytes()
    calls(CALLS // CALLS_A_ROUND)
    gc.collect()
    # Nine bytes a call would show.
    assert resident_bytes() - before < 2 << 20
