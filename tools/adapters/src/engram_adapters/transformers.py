"""Qwen3.8-Flash-Next (`qwen4_exp`) in transformers, with the rows of its N-gram table from a pack.

    with tables_from("qwen.pack", cache="1 GiB"):
        model = AutoModelForCausalLM.from_pretrained("qwen-lean")

Hashing, cache, masks and generation stay transformers' own. Their embedding of the whole table is replaced by one
without parameters, and the rows of a pass are asked for before its first layer computes.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import engram_tables
import torch
from torch import nn
from transformers.models.qwen4_exp import modeling_qwen4_exp as qwen
from transformers.monkey_patching import register_patch_mapping, unregister_patch_mapping

from .identity import check_ids, check_table, check_version
from .torch_rows import StoreEmbedding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram_tables import RowIds, Store

__all__ = ["TRIED", "tables_from"]

# Versions of transformers that the tests ran with.
TRIED = ("5.24.",)

_ORIGINALS = {each.__name__: each for each in (qwen.Qwen4ExpTextNGramEmbedding, qwen.Qwen4ExpTextDecoderLayer)}

# Tokens whose row ids the model and the pack must agree upon before the first pass.
_SAMPLE_TOKENS = 64


@contextmanager
def tables_from(pack: str | Store, **settings: Any) -> Iterator[Store]:
    """Models that are made or loaded inside read their rows from `pack`, then and later.

    `pack` is a path, opened as `engram_tables.open(pack, **settings)`, or an open store. It must stay open as long as
    such a model is used.

    Raises `WrongTable` if the pack is not the table of a model: when the model is made, as far as numbers of rows and
    values tell, or in its first pass, if its hash gives other rows.
    """
    check_version("transformers", TRIED)
    store = pack if isinstance(pack, engram_tables.Store) else engram_tables.open(pack, **settings)
    classes = _classes(store)
    register_patch_mapping(classes)
    try:
        yield store
    finally:
        unregister_patch_mapping(list(classes))
        _put_back(classes)


def _put_back(classes: dict[str, type[nn.Module]]) -> None:
    """Gives transformers its own classes back, which it does not do itself where loading has failed."""
    for name, ours in classes.items():
        for module in list(sys.modules.values()):
            is_theirs = getattr(module, "__name__", "").startswith("transformers.")
            if is_theirs and vars(module).get(name) is ours:
                setattr(module, name, _ORIGINALS[name])


def _classes(store: Store) -> dict[str, type[nn.Module]]:
    """What takes the place of which of transformers' classes."""
    # The embeddings of the model that is being made. Its layers are made in their order, the first one first.
    embeddings: list[_PackEmbedding] = []

    class PackEmbedding(_PackEmbedding):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(store, *args, **kwargs)
            embeddings.append(self)

    class PackDecoderLayer(qwen.Qwen4ExpTextDecoderLayer):
        def __init__(self, config: Any, layer_idx: int) -> None:
            nonlocal embeddings
            if layer_idx == 0:
                embeddings = []
            super().__init__(config, layer_idx)
            # The first layer asks for all. They are in a list, so that they are no parts of it for PyTorch.
            self.embeddings = embeddings if layer_idx == 0 else []

        def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            for embedding in self.embeddings:
                embedding.ask(kwargs["ple_input_ids"], kwargs.get("cache"))
            return super().forward(hidden_states, *args, **kwargs)

    classes = dict(zip(_ORIGINALS, (PackEmbedding, PackDecoderLayer), strict=True))
    for name, ours in classes.items():
        # Placement on devices goes by the names of classes.
        ours.__name__ = name
    return classes


class _PackEmbedding(qwen.Qwen4ExpTextNGramEmbedding):
    """Their hash and cache, and rows from a store."""

    def __init__(self, store: Store, config: Any, embedding_dim: int, layer_idx: int, ple_layer_index: int = 0) -> None:
        # The parent makes an embedding of the whole table, for which no machine may have the memory.
        with torch.device("meta"):
            super().__init__(config, embedding_dim, layer_idx, ple_layer_index)
        multipliers = qwen._build_layer_multipliers(
            self.unigram_vocab_size, self.ngram_size, self.ple_layer_index, self.seed
        )
        self.layer_multipliers = nn.Buffer(multipliers)
        self.ngram_heads_vocab_sizes = nn.Buffer(torch.tensor(self.head_vocab_sizes, dtype=torch.long))
        self.ngram_heads_offsets = nn.Buffer(torch.tensor(self.head_offsets, dtype=torch.long))
        width = self.ngram_embedding.embedding_dim
        check_table(store, layer_idx, self.head_vocab_sizes, width)
        self.ngram_embedding = StoreEmbedding(store, layer_idx, width)
        self.is_checked = False

    def ask(self, input_ids: torch.Tensor, cache: Any) -> None:
        """Begins to bring the rows of a pass over `input_ids` after the tokens that `cache` has seen."""
        if not self.is_checked:
            self._check_sample()
        context = cache.get_conv_state(self.layer_idx, state_idx=2) if cache is not None else None
        self.ngram_embedding.ask(self._rows(context, input_ids))

    def _rows(self, context: torch.Tensor | None, input_ids: torch.Tensor) -> RowIds:
        """Row ids by the pack's scheme."""
        if context is None:
            context = input_ids.new_full((input_ids.shape[0], self.context_len), self.eos_token_id)
        history = torch.cat([context.to(input_ids), input_ids], dim=-1).to("cpu", torch.int32)
        # Each token and those before it, the newest first.
        windows = history.unfold(1, self.ngram_size, 1).flip(-1)
        return self.ngram_embedding.store.rows_of_windows(windows.reshape(-1, self.ngram_size).contiguous())

    def _check_sample(self) -> None:
        """Compares the row ids of some tokens with those by the model's hash."""
        tokens = torch.arange(_SAMPLE_TOKENS) * 7_919 % self.unigram_vocab_size
        tokens[_SAMPLE_TOKENS // 2] = self.eos_token_id
        tokens = tokens.to(self.layer_multipliers.device)[None]
        rows = self.ngram_embedding
        self.ngram_embedding = _Ids()
        try:
            expected = super().forward(tokens, None)
        finally:
            self.ngram_embedding = rows
        found = rows.ids(self._rows(None, tokens))
        check_ids(rows.store, rows.layer, found.tolist(), expected.flatten().tolist())
        self.is_checked = True


class _Ids(nn.Module):
    """In the place of an embedding, gives back the ids that it is asked for."""

    weight = torch.empty(0)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return ids
