"""The native half of the package; the docstrings are there."""

from collections.abc import Awaitable, Callable, Generator, Sequence as List
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, TypeAlias, final

DEAD: Final = -1
VERSION: Final[str]

class _DLPack(Protocol):
    """A tensor, such as PyTorch's."""

    def __dlpack__(self) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

# An array of NumPy's, a buffer, or a tensor in the processor's memory. Type checkers have no name for the first two
# before Python 3.12.
_Array: TypeAlias = Any
_Tokens: TypeAlias = List[int] | _DLPack | _Array
_Rows: TypeAlias = "RowIds" | List[int] | _DLPack | _Array
# A name, or the type that NumPy or PyTorch has for it.
_Dtype: TypeAlias = Literal["float32", "float16", "bfloat16", "stored"] | Any
_Priority: TypeAlias = Literal["decode", "prefill", "warm"]
_Path: TypeAlias = str | PathLike[str]

@final
class Store:
    def __new__(cls, path: _Path, settings: str = "{}", from_env: bool = False) -> Self: ...
    @property
    def path(self) -> PathLike[str]: ...
    @property
    def closed(self) -> bool: ...
    @property
    def backend(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def max_order(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    def layer(self, id: int) -> Layer: ...
    def rows(self, tokens: _Tokens) -> RowIds: ...
    def rows_of_windows(self, windows: _Array, blocked: _Array | None = None) -> RowIds: ...
    def sequence(self) -> Sequence: ...
    def extend_batch(self, sequences: List[Sequence], tokens: List[_Tokens]) -> RowIds: ...
    def lookup(
        self,
        layer: int,
        rows: _Rows,
        out: _Array | None = None,
        dtype: _Dtype | None = None,
        priority: _Priority | None = None,
    ) -> _Array: ...
    def submit(
        self,
        layer: int,
        rows: _Rows,
        out: _Array | None = None,
        dtype: _Dtype | None = None,
        priority: _Priority | None = None,
    ) -> Ticket: ...
    def warm(self, layer: int, rows: _Rows) -> None: ...
    def wait_seeded(self) -> int: ...
    def metrics(self) -> dict[str, Any]: ...
    def prometheus(self) -> str: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class Layer:
    id: Final[int]
    codec: Final[str]
    width: Final[int]
    row_bytes: Final[int]
    value_bytes: Final[int]
    scale_bytes: Final[int]
    row_count: Final[int]
    columns: Final[list[Column]]

@final
class Column:
    order: Final[int]
    head: Final[int]
    first_row: Final[int]
    row_count: Final[int]

@final
class RowIds:
    @property
    def positions(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def layers(self) -> list[int]: ...
    def __getitem__(self, layer: int, /) -> _Array: ...

@final
class Sequence:
    def __new__(cls, store: Store) -> Self: ...
    def extend(self, tokens: _Tokens) -> RowIds: ...
    def peek(self, tokens: _Tokens) -> RowIds: ...
    def advance(self, tokens: _Tokens) -> None: ...
    def truncate(self, len: int) -> None: ...
    def fork(self) -> Self: ...
    def __len__(self) -> int: ...

@final
class Ticket(Awaitable[_Array]):
    def wait(self, timeout: float | None = None) -> _Array: ...
    @property
    def done(self) -> bool: ...
    def cancel(self) -> None: ...
    def fileno(self) -> int: ...
    def __await__(self) -> Generator[Any, Any, _Array]: ...

def build(
    checkpoint: _Path,
    pack: _Path,
    *,
    stripes: List[_Path] = ...,
    jobs: int = 0,
    resume: bool = False,
    allow_nan: bool = False,
    allow_zeros: bool = False,
    tokenizer: _Path | None = None,
    scheme: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> str: ...
def attach(
    checkpoint: _Path,
    pack: _Path,
    *,
    allow_zeros: bool = False,
    tokenizer: _Path | None = None,
    scheme: str | None = None,
) -> None: ...
def convert(
    pack: _Path,
    output: _Path,
    codec: str,
    *,
    keep_layers: List[int] = ...,
    stripes: List[_Path] = ...,
    jobs: int = 0,
    resume: bool = False,
    checkpoint: _Path | None = None,
    moved_stripes: dict[int, _Path] = ...,
    progress: Callable[[int, int], object] | None = None,
) -> str: ...
def verify(
    pack: _Path,
    *,
    jobs: int = 0,
    sample: float | None = None,
    checkpoint: _Path | None = None,
    stripes: dict[int, _Path] = ...,
    progress: Callable[[int, int], object] | None = None,
) -> str: ...
def run_pack(args: List[str]) -> int: ...
def run_bench(args: List[str]) -> int: ...
