"""An embedding without parameters, whose rows come from a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from engram_tables import RowIds, Store, Ticket


class _Asked(NamedTuple):
    ids: torch.Tensor
    ticket: Ticket
    out: torch.Tensor


class StoreEmbedding(nn.Module):
    """Takes the place of `nn.Embedding` for one table: ids [...] to rows [..., width], of the module's type and device.

    It has no parameter, so loading a model reads nothing for it. `weight` is empty: it tells type and device to whoever
    asks an embedding for them.
    """

    def __init__(self, store: Store, layer: int, width: int) -> None:
        super().__init__()
        self.store = store
        self.layer = layer
        self.width = width
        self.weight = nn.Buffer(torch.empty(0), persistent=False)
        # Passes whose rows were on their way before they were wanted, and others.
        self.asked_ahead = 0
        self.looked_up = 0
        self._asked: _Asked | None = None

    def ids(self, rows: RowIds) -> torch.Tensor:
        """The table's ids of hashed tokens: int64 [tokens * columns]."""
        return torch.as_tensor(rows[self.layer]).to(torch.int64).flatten()

    def ask(self, rows: RowIds) -> None:
        """Begins to bring rows that the next call of the module will want."""
        self.forget()
        out = self._memory(rows.positions * rows.columns)
        ticket = self.store.submit(self.layer, rows, out=out, dtype=out.dtype)
        self._asked = _Asked(self.ids(rows), ticket, out)

    def forget(self) -> None:
        """Takes back what was asked for and not fetched, such as for a pass that has failed."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.ticket.cancel()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        wanted = ids.to("cpu", torch.int64).flatten()
        asked = self._asked
        # Two passes at the same time may have taken each other's rows: those that are wanted are the ones to give.
        if asked is not None and torch.equal(asked.ids, wanted):
            self._asked = None
            asked.ticket.wait()
            out = asked.out
            self.asked_ahead += 1
        else:
            self.forget()
            out = self._memory(wanted.numel())
            self.store.lookup(self.layer, wanted, out=out, dtype=out.dtype)
            self.looked_up += 1
        out = out.to(self.weight.device, non_blocking=True)
        return out.view(*ids.shape, self.width)

    def _memory(self, rows: int) -> torch.Tensor:
        # Only from pinned memory does a copy to a GPU go on by itself.
        pinned = self.weight.device.type == "cuda"
        return torch.empty((rows, self.width), dtype=self.weight.dtype, pin_memory=pinned)
