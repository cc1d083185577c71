"""LongCat-Flash-Lite in vLLM, with the rows of its n-gram tables from a pack.

vLLM joins the tables to one embedding and looks rows up before the forward. That embedding is replaced; hashing, the
projections and the mean with the word embedding stay vLLM's own.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .device_rows import DeviceRows
from .identity import check_codec, check_ids, check_table, sample_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from engram_tables import Store

MODULE = "vllm.model_executor.models.longcat_flash_ngram"

# The tables are at the input of the model, and packs have them as those of this layer.
_LAYER = 0

_CODECS = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}


def change(longcat: ModuleType, store_of_config: Callable[[], Store | None]) -> None:
    """Makes `longcat`, vLLM's module, read from the pack of `store_of_config`, where there is one."""
    whole = longcat.VocabParallelEmbedding
    init = longcat.NgramEmbedding._init_ngram_embeddings
    load_weight = longcat.NgramEmbedding.load_weight
    if not isinstance(whole, type):
        return
    ours = _class(whole)

    # The module makes its table by this name, and nothing else.
    @wraps(whole, updated=())
    def make(*arguments: Any, **settings: Any) -> nn.Module:
        store = store_of_config()
        return whole(*arguments, **settings) if store is None else ours(store, *arguments, **settings)

    @wraps(init)
    def init_checked(self: nn.Module) -> None:
        init(self)
        if not isinstance(self.oe_embedder, ours):
            return
        store = self.oe_embedder.store
        check_table(store, _LAYER, self._sizes, self.oe_dim)
        check_codec(store, _LAYER, _CODECS.get(self._dtype, str(self._dtype)), is_decoded=True)
        _check_hash(longcat.ops, store, self)

    @wraps(load_weight)
    def load_other_weight(self: nn.Module, weight_name: str, loaded_weight: torch.Tensor) -> str:
        """Drops the tables of the checkpoint unread."""
        if "ngram_embeddings.embedders." in weight_name and isinstance(self.oe_embedder, ours):
            return "ngram_embeddings.oe_embedder.weight"
        return load_weight(self, weight_name, loaded_weight)

    longcat.VocabParallelEmbedding = make
    longcat.NgramEmbedding._init_ngram_embeddings = init_checked
    longcat.NgramEmbedding.load_weight = load_other_weight


def _class(whole: type[nn.Module]) -> type[nn.Module]:
    class PackNgramTable(nn.Module):
        """Takes the place of vLLM's embedding of all tables: the same rows, and no parameters.

        Each rank reads the rows that it would own, and vLLM's collective adds them up.
        """

        def __init__(self, store: Store, num_embeddings: int, embedding_dim: int, params_dtype: torch.dtype) -> None:
            super().__init__()
            # For the split alone; it has no memory.
            with torch.device("meta"):
                split = whole(num_embeddings, embedding_dim, params_dtype=params_dtype)
            self.shard_indices = split.shard_indices
            self.tp_size = split.tp_size
            self.embedding_dim = embedding_dim
            self.params_dtype = params_dtype
            self.store = store
            self._rows = DeviceRows(store, _LAYER)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            """Rows of `ids` [...] as [..., embedding_dim]."""
            from vllm.distributed import tensor_model_parallel_all_reduce

            out = torch.empty((*ids.shape, self.embedding_dim), dtype=self.params_dtype, device=ids.device)
            if self.tp_size == 1:
                self._rows.read(ids, out)
                return out
            owned = self.shard_indices
            is_owned = (ids >= owned.org_vocab_start_index) & (ids < owned.org_vocab_end_index)
            self._rows.read(ids.masked_fill(~is_owned, -1), out)
            return tensor_model_parallel_all_reduce(out)

    return PackNgramTable


def _check_hash(ops: ModuleType, store: Store, embedding: nn.Module) -> None:
    """Compares the row ids by the pack's scheme with those of vLLM's hash for some tokens."""
    tokens = sample_tokens(min(embedding.config.vocab_size, store.vocab_size))
    tokens[len(tokens) // 2] = embedding.eos_token_id
    device = embedding.ne_weights.device
    # Before a text there is nothing, and past its end tokens no n-gram goes: negative numbers stand for both.
    before = [-1] * (embedding.n - 1)
    marked = [-token if token == embedding.eos_token_id else token for token in tokens]
    expected = torch.empty((len(tokens), embedding.num_embedders), dtype=torch.int32, device=device)
    ops.ngram_compute_n_gram_ids(
        embedding.n,
        embedding.k,
        embedding.ne_weights,
        embedding.ne_mods,
        embedding.exclusive_sizes,
        torch.tensor([0, len(tokens)], dtype=torch.int32, device=device),
        torch.tensor([before + marked], dtype=torch.int32, device=device),
        torch.zeros(1, dtype=torch.int64, device=device),
        torch.tensor([len(before)], dtype=torch.int32, device=device),
        expected,
    )
    check_ids(store, _LAYER, store.rows(tokens)[_LAYER].ravel().tolist(), expected.flatten().tolist())
