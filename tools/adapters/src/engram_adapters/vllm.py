"""DeepSeek-V4.1 in vLLM, with the rows of its Engram tables from a pack. Qwen's model is in `vllm_qwen`.

    vllm serve MODEL --additional-config '{"engram_pack": {"pack": "/packs/v4.1"}}'

vLLM calls `register` in each of its processes (entry point group `vllm.general_plugins`). Hashing, staging, the streams
and the block itself stay vLLM's own; only the embedding that holds the table is another. Without a pack in the settings
nothing changes.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from . import vllm_longcat, vllm_qwen
from .device_rows import DeviceRows
from .identity import check_codec, check_ids, check_table, check_version, sample_tokens
from .settings import store_of
from .when_imported import when_imported

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from engram_tables import Store

__all__ = ["TRIED", "PackEngramEmbedding", "register"]

# Versions of vLLM that the tests ran with.
TRIED = ("0.33.0",)

# Key of `--additional-config`.
SETTINGS = "engram_pack"


def register() -> None:
    """Puts packs in the place of tables, once vLLM imports a model. May be called more than once."""
    when_imported("vllm.models.deepseek_v41.common.engram", _change)
    for model in (vllm_qwen, vllm_longcat):
        when_imported(model.MODULE, partial(model.change, store_of_config=_current_store))


def _change(engram: ModuleType) -> None:
    create_embedding = engram.Engram._create_embedding
    init_hash = engram.NgramHashState.__init__
    if hasattr(create_embedding, "__wrapped__"):
        return

    @wraps(create_embedding)
    def create_pack_embedding(self: nn.Module, layout: Any, layer_hash_index: int) -> nn.Module:
        store = _current_store()
        if store is None:
            return create_embedding(self, layout, layer_hash_index)
        return PackEngramEmbedding(store, layout, layer_hash_index)

    @wraps(init_hash)
    def init_checked_hash(self: nn.Module, vllm_config: Any, layout: Any, swa_cache_module: nn.Module) -> None:
        init_hash(self, vllm_config, layout, swa_cache_module)
        store = _store(vllm_config)
        if store is not None:
            check_hash(store, self)

    engram.Engram._create_embedding = create_pack_embedding
    engram.NgramHashState.__init__ = init_checked_hash


def _current_store() -> Store | None:
    from vllm.config import get_current_vllm_config

    return _store(get_current_vllm_config())


def _store(vllm_config: Any) -> Store | None:
    store = store_of((vllm_config.additional_config or {}).get(SETTINGS))
    if store is not None:
        check_version("vllm", TRIED)
        from . import vllm_metrics

        vllm_metrics.publish(store, vllm_config)
    return store


class PackEngramEmbedding(nn.Module):
    """Takes the place of `ParallelEngramEmbedding`: the same rows, and no parameters.

    A rank of tensor parallelism reads its columns alone: `part_n_hash_cols` of them, zeros where there are no more.
    Replicas of data parallelism read rows for themselves.
    """

    dp_size = 1

    def __init__(self, store: Store, layout: Any, layer_hash_index: int) -> None:
        from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size

        super().__init__()
        layer = layout.layer_ids[layer_hash_index]
        sizes = [size for order in layout.primes[layer_hash_index] for size in order]
        check_table(store, layer, sizes, layout.head_dim)
        check_codec(store, layer, "fp8_e4m3_ue8m0", is_decoded=True)
        self.dim = layout.head_dim
        self.n_hash_cols = len(sizes)
        self.tp_size = get_tensor_model_parallel_world_size()
        self.part_n_hash_cols = -(-self.n_hash_cols // self.tp_size)
        self.head_start = get_tensor_model_parallel_rank() * self.part_n_hash_cols
        # Where it is set, vLLM looks rows up beside its main stream, and outside of the graphs that it breaks for that.
        self.cpu_offload = torch.get_default_device().type != "cpu"
        self._rows = DeviceRows(store, layer)

    def lookup(self, indices: torch.Tensor, out: torch.Tensor, background: bool = False) -> None:
        """Rows of this rank's columns of `indices` [T, columns] into `out` [T, part_n_hash_cols, 256], bfloat16.

        `background` is vLLM's word for kernels that shall leave room for others. There is no kernel here.
        """
        ids = indices[:, self.head_start : self.head_start + self.part_n_hash_cols]
        missing = self.part_n_hash_cols - ids.shape[1]
        if missing:
            ids = nn.functional.pad(ids, (0, missing), value=-1)
        self._rows.read(ids, out)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Drops the table of the checkpoint, whose tensors are mapped and not read."""
        return {name for name, _ in weights}

    def collapse_huge_pages(self) -> None:
        """There is no table in memory whose pages could be made huge ones."""


def check_hash(store: Store, state: nn.Module) -> None:
    """Compares the row ids by the pack's scheme with those of vLLM's hash, `state`, for some tokens."""
    tokens = sample_tokens(min(len(state.token_map), store.vocab_size))
    device = state.token_map.device
    count = len(tokens)
    ids = torch.tensor(tokens, dtype=torch.int32, device=device)
    is_dead = torch.zeros(count, dtype=torch.bool, device=device)
    no_tokens = torch.full((1, state.lookback_depth), -1, dtype=torch.int32, device=device)
    # The cache of earlier steps is not there yet, and a text from its start needs none.
    uses_cache, state.use_slot_cache = state.use_slot_cache, False
    try:
        expected = state(
            ids,
            torch.arange(count, device=device),
            torch.tensor([0, count], dtype=torch.int32, device=device),
            is_dead,
            no_tokens,
            torch.zeros_like(no_tokens, dtype=torch.bool),
            None,
            None,
        )
    finally:
        state.use_slot_cache = uses_cache
    found = store.rows(tokens)
    for index, layer in enumerate(state.layout.layer_ids):
        check_ids(store, layer, found[layer].ravel().tolist(), expected[:, index].flatten().tolist())
