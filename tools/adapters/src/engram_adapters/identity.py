"""Is this pack the model's table? Asked before the first token, since a wrong row looks like any other."""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram_tables import Layer, Store

# An engine's version that the tests did not run with is used all the same where this is set.
ANY_VERSION = "ENGRAM_ANY_ENGINE_VERSION"

# A pack whose rows are encoded otherwise than the model's is used all the same where this is set.
ANY_CODEC = "ENGRAM_ANY_CODEC"


class WrongTable(RuntimeError):
    """The pack is not the table of the model, or the engine is not one that is known."""


def check_version(distribution: str, tried: Sequence[str]) -> None:
    """Refuses a version of an engine whose insides may be others than those that this adapter takes the place of.

    `tried` are the versions that the tests ran with, such as "5.24.0", or their beginnings, such as "5.24.".
    """
    found = metadata.version(distribution)
    if os.environ.get(ANY_VERSION) or any(found.startswith(known) for known in tried):
        return
    known = " and ".join(tried)
    raise WrongTable(f"{distribution} is {found}; tried were {known}. Set {ANY_VERSION}=1 to use it all the same")


def table_of(store: Store, layer: int) -> Layer:
    """The table of `layer`, if the pack has one."""
    known = [table.id for table in store.layers]
    if layer not in known:
        raise WrongTable(f"{store.path}: layer is {layer} in the model, the pack has {known}")
    return store.layer(layer)


def check_table(store: Store, layer: int, column_rows: Sequence[int], width: int) -> Layer:
    """The table of `layer`, if its columns have `column_rows` rows each and a row has `width` values."""
    table = table_of(store, layer)
    _check(store, layer, "rows of the columns", [column.row_count for column in table.columns], list(column_rows))
    _check(store, layer, "values of a row", table.width, width)
    return table


def check_codec(store: Store, layer: int, expected: str, *, is_decoded: bool) -> None:
    """Refuses rows of another codec than `expected`, that of the model.

    If rows are handed out decoded (`is_decoded`), they can be taken from another codec on purpose, such as from a table
    that was quantized. If they are handed out as they are stored, they cannot.
    """
    found = table_of(store, layer).codec
    if found == expected or (is_decoded and os.environ.get(ANY_CODEC)):
        return
    otherwise = f". Set {ANY_CODEC}=1 to read it all the same" if is_decoded else ""
    raise WrongTable(f"{store.path}, layer {layer}: codec is {found} in the pack, {expected} in the model{otherwise}")


def check_ids(store: Store, layer: int, found: Sequence[int], expected: Sequence[int]) -> None:
    """Compares the row ids that the pack's scheme gives with those of the engine's own hash."""
    if list(found) == list(expected):
        return
    differs = next((i for i, (ours, theirs) in enumerate(zip(found, expected)) if ours != theirs), len(expected))
    raise WrongTable(
        f"{store.path}, layer {layer}: row id {differs} of {len(found)} is {_at(found, differs)} by the pack's scheme "
        f"and {_at(expected, differs)} of {len(expected)} by the model's hash"
    )


def sample_tokens(vocab_size: int) -> list[int]:
    """Tokens, all over a vocabulary, whose row ids an engine and a pack must agree upon."""
    return [place * 7_919 % vocab_size for place in range(64)]


def _check(store: Store, layer: int, field: str, found: object, expected: object) -> None:
    if found != expected:
        raise WrongTable(f"{store.path}, layer {layer}: {field} is {found} in the pack, {expected} in the model")


def _at(ids: Sequence[int], place: int) -> object:
    return ids[place] if place < len(ids) else "none"
