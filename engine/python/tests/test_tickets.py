"""Tickets: rows that come while the caller does something else."""

import asyncio
import gc
import select
import threading
import weakref

import numpy as np
import pytest
from conftest import VECTORS

import engram_tables
from engram_tables import errors


@pytest.fixture(params=["direct", "direct_threads", "memory"])
def store(request):
    with engram_tables.open(VECTORS / "deepseek", reader=request.param, cache=0) as store:
        yield store


def test_a_ticket_brings_what_a_lookup_does(store):
    ids = np.arange(120)
    expected = store.lookup(1, ids)
    for priority in (None, "decode", "prefill", "warm"):
        ticket = store.submit(1, ids, priority=priority)
        assert (ticket.wait() == expected).all()
        assert ticket.done
        assert ticket.wait() is ticket.wait(timeout=0)


def test_large_batches_come_too(store):
    ids = np.tile(np.arange(120), 500)
    expected = store.lookup(1, ids)
    assert (store.submit(1, ids).wait(timeout=60) == expected).all()
    out = np.empty((len(ids), 80), np.float32)[:, :64]
    assert (store.submit(1, ids, out=out).wait() == expected).all()


def test_tickets_are_awaited(store):
    ids = np.arange(120)
    expected = store.lookup(1, ids)

    async def one(ids):
        return await store.submit(1, ids)

    async def run():
        ticket = store.submit(1, ids)
        both = await asyncio.gather(asyncio.ensure_future(wait(ticket)), asyncio.ensure_future(wait(ticket)))
        assert both[0] is both[1]
        assert (both[0] == expected).all()
        many = await asyncio.gather(*(one(ids[first:]) for first in range(60)))
        assert all((rows == expected[first:]).all() for first, rows in enumerate(many))
        assert (await asyncio.wait_for(store.submit(1, ids), 60) == expected).all()
        cancelled = store.submit(1, ids)
        cancelled.cancel()
        with pytest.raises(errors.CancelledError):
            await cancelled

    async def wait(ticket):
        return await ticket

    asyncio.run(run())


def test_a_file_tells_when_it_is_done(store):
    ticket = store.submit(1, np.arange(120))
    file = ticket.fileno()
    assert file == ticket.fileno()
    assert select.select([ticket], [], [], 60)[0] == [ticket]
    assert ticket.done
    ticket.wait()
    ended = store.submit(1, [1])
    ended.wait()
    assert select.select([ended], [], [], 0)[0] == [ended]


def test_a_cancelled_ticket_says_so(store):
    out = np.zeros((120, 64), np.float32)
    ticket = store.submit(1, np.arange(120), out=out)
    ticket.cancel()
    ticket.cancel()
    for _ in range(2):
        with pytest.raises(errors.CancelledError):
            ticket.wait()
    assert ticket.done
    # The memory is the caller's again.
    assert (store.lookup(1, np.arange(120), out=out) == store.lookup(1, np.arange(120))).all()


def test_tickets_may_be_dropped_at_any_time(store):
    for count in range(200):
        ticket = store.submit(1, np.arange(count % 120))
        if count % 3 == 0:
            ticket.cancel()
    kept = weakref.ref(ticket)
    del ticket
    gc.collect()
    assert kept() is None


def test_any_thread_may_wait_and_cancel(store):
    ids = np.arange(120)
    expected = store.lookup(1, ids)
    for turn in range(50):
        ticket = store.submit(1, ids)
        ends = []

        def wait():
            try:
                ends.append((ticket.wait() == expected).all())
            except errors.CancelledError:
                ends.append(turn % 2 == 1)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        if turn % 2:
            ticket.cancel()
        for thread in threads:
            thread.join()
        assert ends == [True] * 3


def test_a_ticket_outlives_its_store():
    store = engram_tables.open(VECTORS / "deepseek")
    tickets = [store.submit(1, np.arange(120)) for _ in range(10)]
    store.close()
    del store
    gc.collect()
    assert all(ticket.wait().any() for ticket in tickets)
