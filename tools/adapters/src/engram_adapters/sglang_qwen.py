"""Qwen3.8-Flash-Next in SGLang, with the rows of its N-gram table from a pack.

In the place of SGLang's table in host memory, which it makes with `--ple-offload-embedding`. Hashing, the prefetch
stream, the split of rows over ranks and the scale of the table stay SGLang's own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from sglang.srt.layers.utils import get_layer_id
from sglang.srt.models import qwen4_exp
from torch import nn

from .device_rows import DeviceRows
from .graph_breaks import read
from .identity import WrongTable, check_codec, check_ids, check_table, sample_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram_tables import Store

EMBEDDING = "sglang.srt.models.qwen4_exp.Qwen4ExpPinnedHostEmbedding"
NGRAM_INIT = "sglang.srt.models.qwen4_exp.Qwen4ExpNGramEmbedding.__init__"

_CODECS = {torch.bfloat16: "bf16", torch.float8_e4m3fn: "fp8_e4m3_scaled"}


class PackPLEEmbedding(qwen4_exp.Qwen4ExpPinnedHostEmbedding):
    """A kind of SGLang's embedding in host memory whose table is one row, which no look-up reads.

    Each rank gives the rows that it owns, and zeros for the others, which SGLang adds up.
    """

    def __init__(self, embedding: nn.Module, *, backend: str = "pinned", table_dir: str | None = None) -> None:
        # The parent makes the table.
        nn.Module.__init__(self)
        for name in self._COPIED_ATTRIBUTES:
            setattr(self, name, getattr(embedding, name))
        self.quant_method = None
        self.owned = embedding.shard_indices
        # SGLang copies to a table what of the checkpoint's rows its rank owns: here none.
        self.shard_indices = SimpleNamespace(org_vocab_start_index=0, org_vocab_end_index=0)
        row = torch.zeros(1, self.embedding_dim, dtype=embedding.weight.dtype, device="cpu")
        self.weight = nn.Parameter(row, requires_grad=False)
        self.register_buffer("weight_scale", embedding.weight_scale, persistent=True)
        del embedding.weight
        self.rows: DeviceRows | None = None

    def gather(self, input_ids: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Rows of `input_ids` [...] as bfloat16 [..., embedding_dim]: values of FP8 tables without their scale."""
        if out is None:
            out = self.allocate_output((*input_ids.shape, self.embedding_dim), input_ids.device)
        is_owned = (input_ids >= self.owned.org_vocab_start_index) & (input_ids < self.owned.org_vocab_end_index)
        ids = input_ids.masked_fill(~is_owned, -1)
        if self.weight.dtype == torch.bfloat16:
            read(self.rows, ids, out)
            return out
        stored = torch.empty(out.shape, dtype=self.weight.dtype, device=out.device)
        read(self.rows, ids, stored.view(torch.uint8))
        return out.copy_(stored)


def check_made(store_of_server: Callable[[], Store]) -> Callable[..., None]:
    """Around SGLang's making of a model's N-gram embedding: stops unless the pack is its table."""

    def init_checked(
        init: Any, self: nn.Module, config: Any, embedding_dim: int, ple_layer_index: int = 0,
        quant_config: Any = None, prefix: str = "",
    ) -> None:
        init(self, config, embedding_dim, ple_layer_index, quant_config, prefix)
        store, embedding = store_of_server(), self.ngram_embedding
        if not isinstance(embedding, PackPLEEmbedding):
            raise WrongTable(f"{store.path}: rows come from a pack only with --ple-offload-embedding")
        layer = get_layer_id(f"{prefix}.")
        check_table(store, layer, self.ngram_heads_vocab_sizes.tolist(), self.head_dim_per_ngram)
        check_codec(store, layer, _CODECS[embedding.weight.dtype], is_decoded=embedding.weight.dtype == torch.bfloat16)
        _check_hash(store, layer, self)
        embedding.rows = DeviceRows(store, layer)

    return init_checked


def _check_hash(store: Store, layer: int, embedding: nn.Module) -> None:
    """Compares the row ids by the pack's scheme with those of SGLang's hash for some tokens."""
    tokens = sample_tokens(embedding.unigram_vocab_size)
    tokens[len(tokens) // 2] = embedding.eos_token_id
    size, device = embedding.ngram_size, embedding.layer_multipliers.device
    history = torch.tensor([embedding.eos_token_id] * (size - 1) + tokens, device=device)
    # The pool of requests is not there yet, where layers leave windows for each other.
    pool, qwen4_exp.get_req_to_token_pool = qwen4_exp.get_req_to_token_pool, _no_windows
    try:
        expected = embedding._hash_contexts(history.unfold(0, size, 1))
    finally:
        qwen4_exp.get_req_to_token_pool = pool
    check_ids(store, layer, store.rows(tokens)[layer].ravel().tolist(), expected.flatten().tolist())


def _no_windows() -> Any:
    return SimpleNamespace(ple_window_cache=None)
