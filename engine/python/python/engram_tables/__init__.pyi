from typing import Any, Literal

from . import errors as errors
from ._native import DEAD as DEAD, Column as Column, Layer as Layer, _Path, RowIds as RowIds
from ._native import Sequence as Sequence, Store as Store, Ticket as Ticket
from ._packs import attach as attach, build as build, convert as convert, verify as verify
from .errors import EngramError as EngramError

__version__: str

def open(
    path: _Path,
    *,
    cache: int | str | None = None,
    from_env: bool = False,
    cache_bytes: int | str | None = None,
    reader: Literal["direct", "direct_threads", "mmap", "pread", "memory"] | None = None,
    resident: Literal["none"] | dict[str, int | str] | None = None,
    profile: _Path | None = None,
    check_seals: bool | None = None,
    checkpoint: _Path | None = None,
    stripes: dict[int, _Path] | None = None,
    columns: Literal["all"] | tuple[int, int] | list[int] | dict[str, Any] | None = None,
    resident_folder: _Path | None = None,
    cache_folder: _Path | None = None,
    io_threads: int | None = None,
    io_depth: int | None = None,
    gather_threads: int | None = None,
    pool_bytes: int | str | None = None,
) -> Store: ...
