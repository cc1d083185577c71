"""Qwen3.8-Flash-Next in vLLM, with the rows of its N-gram table from a pack.

In the place of vLLM's table in pinned memory, which it makes with `cpu_offload`, its default. Hashing, the prefetch
stream, the split of rows over ranks and the scale of the table stay vLLM's own.
"""

from __future__ import annotations

import threading
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .device_rows import DeviceRows
from .identity import WrongTable, check_codec, check_ids, check_table, sample_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from engram_tables import Store

MODULE = "vllm.models.qwen4_exp.nvidia.ngram_embedding"

_FP8 = "fp8_e4m3_scaled"

# What packs call the encodings that vLLM has classes for.
_CODECS = {
    "Qwen4ExpPLEUnquantizedEmbeddingMethod": "bf16",
    "Qwen4ExpPLEFp8EmbeddingMethod": _FP8,
    "Qwen4ExpPLENvFp4EmbeddingMethod": "nvfp4",
}


def change(ngram: ModuleType, store_of_config: Callable[[], Store | None]) -> None:
    """Makes `ngram`, vLLM's module, read from the pack of `store_of_config`, where there is one."""
    pinned = ngram.Qwen4ExpPLEPinnedHostEmbedding
    init = ngram.Qwen4ExpNGramEmbedding.__init__
    if not isinstance(pinned, type):
        return
    ours = _class(pinned)

    @wraps(pinned, updated=())
    def make(*arguments: Any, **settings: Any) -> nn.Module:
        store = store_of_config()
        return pinned(*arguments, **settings) if store is None else ours(store, *arguments, **settings)

    @wraps(init)
    def init_checked(self: nn.Module, *arguments: Any, **settings: Any) -> None:
        init(self, *arguments, **settings)
        store = store_of_config()
        if store is None:
            return
        if not isinstance(self.ngram_embedding, ours):
            raise WrongTable(f"{store.path}: rows come from a pack only with `cpu_offload` of vLLM's engram settings")
        layer = self.ngram_embedding.layer
        check_table(store, layer, self.ngram_heads_vocab_sizes.tolist(), self.head_dim)
        _check_hash(store, layer, self)

    ngram.Qwen4ExpPLEPinnedHostEmbedding = make
    ngram.Qwen4ExpNGramEmbedding.__init__ = init_checked


def _class(pinned: type[nn.Module]) -> type[nn.Module]:
    class PackPLEEmbedding(pinned):
        """A kind of vLLM's pinned embedding whose table is one row, which no look-up reads."""

        def __init__(
            self,
            store: Store,
            num_embeddings: int,
            embedding_dim: int,
            *,
            prefix: str,
            num_ngram_heads: int = 1,
            max_total_tokens: int = 0,
            **settings: Any,
        ) -> None:
            from vllm.model_executor.models.utils import extract_layer_index

            # Past the constructor that pins the table and maps it for the GPU.
            super(pinned, self).__init__(num_embeddings, embedding_dim, prefix=prefix, **settings)
            self.layer = extract_layer_index(prefix)
            self._rows = DeviceRows(store, self.layer)
            # What the parent keeps for its prefetch; of the view of the table that is the device alone.
            self._uva_weight = torch.empty(0)
            self._prefetch_stream = None
            self._prefetch_buffer = None
            self._prefetch_alloc_lock = threading.Lock()
            self._prefetch_rows = max_total_tokens * self.etp_data_parallel_size
            self._num_ngram_heads = num_ngram_heads
            self._output_dim = num_ngram_heads * embedding_dim
            self._check_codec(store)

        def _check_codec(self, store: Store) -> None:
            """FP8 goes to the GPU as vLLM has it in its table; the rest goes decoded, as vLLM's own look-up does it."""
            name = type(self.embedding_method).__name__
            expected = _CODECS.get(name, name)
            check_codec(store, self.layer, expected, is_decoded=expected != _FP8)

        def allocate_embedding_weight(
            self, num_embeddings: int, embedding_dim: int, dtype: torch.dtype
        ) -> torch.Tensor:
            return torch.zeros(1, embedding_dim, dtype=dtype, device="cpu").expand(num_embeddings, embedding_dim)

        def weight_loader(
            self, param: torch.Tensor, loaded_weight: torch.Tensor, checkpoint_start: int | None = None
        ) -> None:
            """Drops the table of the checkpoint unread, and loads the scale of all of it."""
            if param is not self.weight and checkpoint_start is None:
                super().weight_loader(param, loaded_weight, checkpoint_start)

        def _lookup(self, input_ids: torch.Tensor, output: torch.Tensor | None = None) -> torch.Tensor:
            if output is None:
                dtype = self.embedding_method.lookup_dtype(self)
                output = torch.empty((*input_ids.shape, self.embedding_dim), dtype=dtype, device=input_ids.device)
            # Each rank gives the rows that it owns, and zeros for the others, which vLLM adds up.
            owned = self.shard_indices
            is_owned = (input_ids >= owned.org_vocab_start_index) & (input_ids < owned.org_vocab_end_index)
            ids = input_ids.masked_fill(~is_owned, -1)
            self._rows.read(ids, output.view(torch.uint8) if output.dtype == torch.float8_e4m3fn else output)
            return output

    return PackPLEEmbedding


def _check_hash(store: Store, layer: int, embedding: nn.Module) -> None:
    """Compares the row ids by the pack's scheme with those of vLLM's hash for some tokens."""
    tokens = sample_tokens(embedding.unigram_vocab_size)
    device = embedding.layer_multipliers.device
    expected = embedding.compute_ngram_ids(
        torch.tensor(tokens, dtype=torch.int32, device=device),
        torch.tensor([0, len(tokens)], dtype=torch.int32, device=device),
        torch.full((1, embedding.ngram_size - 1), embedding.eos_token_id, dtype=torch.int32, device=device),
    )
    check_ids(store, layer, store.rows(tokens)[layer].ravel().tolist(), expected.flatten().tolist())
