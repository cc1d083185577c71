"""How a ticket is awaited."""

import asyncio
import os


async def wait(ticket):
    """Waits for ``ticket`` in the running event loop of asyncio, and returns its rows."""
    if not ticket.done:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        # A copy for each waiter: a loop knows a file by its number, and one reader of it.
        event = os.dup(ticket.fileno())
        loop.add_reader(event, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(event)
            os.close(event)
    return ticket.wait()


def _set(ready):
    if not ready.done():
        ready.set_result(None)
