"""Stores in other processes: pickled, spawned and forked."""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
from conftest import VECTORS

import engram_tables
from engram_tables import errors

IDS = np.arange(120)


def rows_of(store, ids):
    return store.lookup(1, ids).tobytes()


def test_a_pickled_store_opens_its_pack_again(reader, tmp_path, monkeypatch):
    monkeypatch.chdir(VECTORS)
    with engram_tables.open("deepseek", reader=reader, cache="1 MiB") as store:
        text = pickle.dumps(store)
        monkeypatch.chdir(tmp_path)
        with pickle.loads(text) as other:
            assert other.backend == store.backend
            assert other.path == store.path
            assert rows_of(other, IDS) == rows_of(store, IDS)
            assert other.metrics()["cache_bytes"] == store.metrics()["cache_bytes"]
    with pytest.raises(errors.ClosedError):
        pickle.dumps(store)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_read_the_same_rows(reader, method):
    context = multiprocessing.get_context(method)
    with engram_tables.open(VECTORS / "deepseek", reader=reader, cache="64 KiB") as store:
        expected = rows_of(store, IDS)
        with context.Pool(2) as pool:
            assert pool.starmap(rows_of, [(store, IDS)] * 8, chunksize=1) == [expected] * 8
        assert rows_of(store, IDS) == expected


def in_fork(work):
    """Whether `work` was true in a forked process."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_goes_on_with_the_store(reader):
    with engram_tables.open(VECTORS / "deepseek", reader=reader, cache="64 KiB") as store:
        expected = rows_of(store, IDS)
        sequence = store.sequence()
        sequence.extend([1, 2])
        ticket = store.submit(1, IDS)

        def work():
            grandchild = in_fork(lambda: rows_of(store, IDS) == expected)
            mine = rows_of(store, IDS) == expected and rows_of(store, IDS[::-1]) != expected
            try:
                of_ticket = ticket.wait().tobytes() == expected
            except errors.ForkedError:
                of_ticket = True
            ticket.cancel()
            sequence.extend([3])
            with store:
                pass
            return grandchild and mine and of_ticket and len(sequence) == 3 and store.closed

        assert in_fork(work)
        assert ticket.wait().tobytes() == expected
        assert len(sequence) == 2 and not store.closed
        assert rows_of(store, IDS) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_beside_busy_threads():
    with engram_tables.open(VECTORS / "deepseek", cache=0) as store:
        expected = rows_of(store, IDS)
        ended = threading.Event()

        def work():
            while not ended.is_set():
                rows_of(store, IDS)
                store.submit(1, IDS).wait()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        good = [in_fork(lambda: rows_of(store, IDS) == expected) for _ in range(20)]
        ended.set()
        for thread in threads:
            thread.join()
        assert all(good)
