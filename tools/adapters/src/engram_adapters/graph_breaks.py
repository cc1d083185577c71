"""Reading rows between the pieces of a CUDA graph of SGLang's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sglang.srt.model_executor.runner_backend_utils.breakable_cuda_graph.breakable_cuda_graph import eager_on_graph

from .device_rows import DeviceRows

if TYPE_CHECKING:
    from collections.abc import Callable

_read = eager_on_graph(DeviceRows.read)


def read(rows: DeviceRows, ids: torch.Tensor, out: torch.Tensor) -> None:
    """`DeviceRows.read`, which breaks a graph that can be broken while it is captured.

    Where a layer has broken the graph already it cannot be broken twice, as in prompts.
    """
    is_captured = ids.is_cuda and torch.cuda.is_current_stream_capturing()
    call: Callable[..., None] = _read if is_captured else _read.run_eager
    call(rows, ids, out)
