"""Which pack a server reads, and how: by the engine's configuration, else by the environment."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import engram_tables

from .identity import WrongTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram_tables import Store

# Path of the pack. The store's own settings have variables too, such as ENGRAM_CACHE_BYTES.
PACK = "ENGRAM_PACK"


def store_of(settings: Mapping[str, Any] | str | None = None) -> Store | None:
    """The store that `settings` name, else the one that the environment names; None where there is neither.

    `settings` is the path of a pack, or `{"pack": PATH}` with what `engram_tables.open` takes beside it. The same
    settings give the same store, so that the layers of a process share one cache and one set of reading threads.
    """
    given = {"pack": settings} if isinstance(settings, str) else dict(settings or {})
    pack = given.pop("pack", None) or os.environ.get(PACK)
    if pack:
        return _open(pack, json.dumps(given, sort_keys=True))
    if given:
        raise WrongTable(f"settings {sorted(given)} are for a pack, and neither `pack` nor {PACK} names one")
    return None


@cache
def _open(pack: str, settings: str) -> Store:
    return engram_tables.open(pack, from_env=True, **json.loads(settings))
