"""Rows of Engram tables (N-gram memory of language models), read from packs that are larger than memory.

    import engram_tables

    with engram_tables.open("pack", cache="1 GiB") as store:
        rows = store.rows([0, 3, 15])                # which rows these tokens read, in every layer
        for layer in rows.layers:
            values = store.lookup(layer, rows)       # float32 [tokens][columns][width]

Rows come as NumPy arrays where NumPy is installed, else as memory views, or into an array, buffer or tensor of the
caller's. Stores may be used by any threads at the same time; the interpreter is free while rows come.
"""

import json as _json
import os as _os

from . import errors
from ._native import DEAD, VERSION as __version__, Column, Layer, RowIds, Sequence, Store, Ticket
from ._packs import attach, build, convert, verify
from .errors import EngramError

__all__ = [
    "DEAD",
    "Column",
    "EngramError",
    "Layer",
    "RowIds",
    "Sequence",
    "Store",
    "Ticket",
    "attach",
    "build",
    "convert",
    "errors",
    "open",
    "verify",
]


def open(path, *, cache=None, from_env=False, **settings):
    """Opens the pack in the folder ``path``. Use the store in a ``with`` statement, or close it.

    A size is a number of bytes or text such as ``"512 MiB"``. What is not given is as in the last column.

    ===================  =============================================================================  =============
    ``cache``            size of the cache of rows read before (also ``cache_bytes``)                   256 MiB, or
                                                                                                        what memory allows
    ``reader``           ``"direct"``, ``"direct_threads"``, ``"mmap"``, ``"pread"`` or ``"memory"``    ``"direct"``
    ``resident``         columns kept in memory: ``"none"``, ``{"orders": N}``, ``{"bytes": SIZE}``     ``"none"``
    ``profile``          path of a profile, by which the cache is filled and columns are chosen
    ``check_seals``      whether each row is checked against its seal                                   ``True``
    ``checkpoint``       path of the checkpoint behind an attached pack, where it has moved
    ``stripes``          where stripes of the pack lie now, by their numbers: ``{1: "/mnt/drive"}``
    ``columns``          columns of each layer that are opened: ``"all"``, ``[START, END]``, such a     ``"all"``
                         list by layer, or ``{"rank": R, "ranks": N}``
    ``resident_folder``  folder in which processes share resident columns
    ``cache_folder``     folder in which processes share the cache
    ``io_threads``       threads that read, 0 for as many as suit                                       0
    ``io_depth``         reads in flight of each thread                                                 256
    ``gather_threads``   threads that work on large batches                                             by cores
    ``pool_bytes``       size of the memory that unused buffers keep                                    64 MiB
    ===================  =============================================================================  =============

    With ``from_env`` each setting that is not given is taken from a variable such as ``ENGRAM_CACHE_BYTES``, if there
    is one.

    Raises ``errors.ConfigError`` for settings, ``errors.OpenError`` or ``errors.IoError`` for a pack that cannot be
    opened.
    """
    if cache is not None:
        if "cache_bytes" in settings:
            raise TypeError("`cache` and `cache_bytes` are the same setting")
        settings["cache_bytes"] = cache
    given = {name: value for name, value in settings.items() if value is not None}
    return Store(path, _json.dumps(given, default=_os.fspath), from_env)
