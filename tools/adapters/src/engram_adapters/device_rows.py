"""Rows of a store for row ids that lie on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from engram_tables import Store


class DeviceRows:
    """Brings the rows of one layer to where an engine wants them. For one thread at a time."""

    def __init__(self, store: Store, layer: int) -> None:
        self.store = store
        self.layer = layer
        self._ids = _Pinned()
        self._rows = _Pinned()
        self._copied: torch.cuda.Event | None = None

    def read(self, ids: torch.Tensor, out: torch.Tensor) -> None:
        """The rows `ids` (int32 or int64 [...]; negative ones are no rows) into `out` [..., width].

        They are decoded, or as the pack has them where `out` is of bytes.

        On a GPU, the current stream is waited for, up to the ids, and the rows are copied there in its order.
        """
        if ids.numel() == 0:
            return
        dtype = "stored" if out.dtype == torch.uint8 else out.dtype
        if ids.device.type == "cpu":
            self.store.lookup(self.layer, ids.contiguous(), out=out, dtype=dtype)
            return
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"layer {self.layer}: rows of {self.store.path} cannot be read inside a captured CUDA graph, only "
                "between its pieces; choose breakable or piecewise graphs"
            )
        host_ids = self._ids.like(ids)
        host_ids.copy_(ids, non_blocking=True)
        torch.cuda.current_stream(ids.device).synchronize()
        if self._copied is None:
            self._copied = torch.cuda.Event()
        # The memory still holds the rows before these until they have been copied.
        self._copied.synchronize()
        host_rows = self._rows.like(out)
        self.store.lookup(self.layer, host_ids, out=host_rows, dtype=dtype)
        out.copy_(host_rows, non_blocking=True)
        self._copied.record(torch.cuda.current_stream(out.device))


class _Pinned:
    """Pinned memory that grows to what is asked of it: a GPU copies from and to no other without a stop."""

    def __init__(self) -> None:
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        size = tensor.numel() * tensor.element_size()
        if self._bytes.numel() < size:
            self._bytes = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        return self._bytes[:size].view(tensor.dtype).view(tensor.shape)
