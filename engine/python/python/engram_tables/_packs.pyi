from collections.abc import Callable, Iterable
from typing import Any, Literal

from ._native import _Path

_Progress = Callable[[int, int], object] | Literal[False] | None

def build(
    checkpoint: _Path,
    pack: _Path,
    *,
    stripes: Iterable[_Path] = (),
    jobs: int = 0,
    resume: bool = False,
    allow_nan: bool = False,
    allow_zeros: bool = False,
    tokenizer: _Path | None = None,
    scheme: _Path | None = None,
    progress: _Progress = None,
) -> dict[str, Any]: ...
def attach(
    checkpoint: _Path,
    pack: _Path,
    *,
    allow_zeros: bool = False,
    tokenizer: _Path | None = None,
    scheme: _Path | None = None,
) -> None: ...
def convert(
    pack: _Path,
    output: _Path,
    codec: str,
    *,
    keep_layers: Iterable[int] = (),
    stripes: Iterable[_Path] = (),
    jobs: int = 0,
    resume: bool = False,
    checkpoint: _Path | None = None,
    moved_stripes: dict[int, _Path] | None = None,
    progress: _Progress = None,
) -> dict[str, Any]: ...
def verify(
    pack: _Path,
    *,
    jobs: int = 0,
    sample: float | None = None,
    checkpoint: _Path | None = None,
    stripes: dict[int, _Path] | None = None,
    progress: _Progress = None,
) -> dict[str, Any]: ...
