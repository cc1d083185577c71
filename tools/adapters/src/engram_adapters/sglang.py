"""DeepSeek-V4.1 and Qwen3.8-Flash-Next in SGLang, with the rows of their tables from a pack.

    ENGRAM_PACK=/packs/v4.1 sglang serve MODEL --cuda-graph-backend-decode breakable

SGLang calls `register` in each of its processes (entry point group `sglang.srt.plugins`). Rows of prompts are asked
for while the pass before still computes, where SGLang itself stages them; rows of single tokens are read when their
layer wants them. Without a pack in the environment nothing changes.

SGLang only logs what a plugin raises, and would go on with a table of its own that nobody filled. So `register` ends
the process instead, and where the model has been loaded it is checked that packs are in place.
"""

from __future__ import annotations

import os
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .device_rows import DeviceRows
from .identity import WrongTable, check_codec, check_ids, check_table, check_version, sample_tokens
from .settings import PACK, store_of

if TYPE_CHECKING:
    from engram_tables import Store, Ticket

__all__ = ["TRIED", "register"]

# Versions of SGLang that the tests ran with.
TRIED = ("0.5.23",)

_EMBEDDING = "sglang.srt.layers.engram.EngramEmbedding"
_STAGER = "sglang.srt.layers.engram_staging.EngramRowStager"
_MANAGER = "sglang.srt.model_executor.model_runner_components.ngram_embedding_manager.NgramEmbeddingManager"
_MODEL_LOADED = f"{_MANAGER}.from_model"


def register() -> None:
    """Puts packs in the place of tables, or ends the process, saying why."""
    try:
        pack = os.environ.get(PACK)
        if not pack:
            return
        check_version("sglang", TRIED)
        # It is opened where a model is, since the other processes would only hold another cache.
        if not os.path.isdir(pack):
            raise WrongTable(f"{PACK}={pack} is no folder")
        # SGLang only logs that a hook has no target.
        pkgutil.resolve_name(_MODEL_LOADED)
        from sglang.srt.plugins.hook_registry import HookRegistry, HookType

        embedding, stager = _classes()
        HookRegistry.register(_EMBEDDING, embedding, HookType.REPLACE)
        HookRegistry.register(_STAGER, stager, HookType.REPLACE)
        # The pack tells whose table it is only when it is opened, and a model that is not served is not made.
        from . import sglang_qwen

        pkgutil.resolve_name(sglang_qwen.NGRAM_INIT)
        HookRegistry.register(sglang_qwen.EMBEDDING, sglang_qwen.PackPLEEmbedding, HookType.REPLACE)
        HookRegistry.register(sglang_qwen.NGRAM_INIT, sglang_qwen.check_made(_store), HookType.AROUND)
        HookRegistry.register(_MODEL_LOADED, check_in_place, HookType.AROUND)
    except Exception as error:
        raise SystemExit(f"engram_adapters: {error}") from error


def check_in_place(from_model: Any, cls: type, *, model: nn.Module, **others: Any) -> Any:
    """Around SGLang's first use of the loaded model: stops unless every table of the model is ours."""
    from sglang.srt.layers import engram, engram_staging
    from sglang.srt.models import qwen4_exp

    from . import sglang_qwen

    embedding, stager = _classes()
    blocks = [module for module in model.modules() if isinstance(module, engram.Engram)]
    found = [(_EMBEDDING, type(block.embed), embedding) for block in blocks]
    found.append((_STAGER, engram_staging.EngramRowStager, stager))
    ngrams = [module for module in model.modules() if isinstance(module, qwen4_exp.Qwen4ExpNGramEmbedding)]
    ngram_embedding = sglang_qwen.PackPLEEmbedding
    found += [(sglang_qwen.EMBEDDING, type(each.ngram_embedding), ngram_embedding) for each in ngrams]
    for target, theirs, ours in found:
        if theirs is not ours:
            raise WrongTable(f"{target} is {theirs.__module__}.{theirs.__qualname__}, not the one that reads the pack")
    return from_model(cls, model=model, **others)


@cache
def _classes() -> tuple[type[nn.Module], type]:
    """What takes the place of `EngramEmbedding` and of `EngramRowStager`, of which they are kinds.

    Made when they are first wanted, since SGLang imports its model code for them.
    """
    from sglang.srt.layers.engram import Engram, EngramEmbedding
    from sglang.srt.layers.engram_staging import EngramRowStager
    from sglang.srt.runtime_context import get_parallel

    from .graph_breaks import read

    class PackEmbedding(EngramEmbedding):
        """Rows of one layer for row ids [..., columns], and no parameters. Each rank reads for its own tokens."""

        peer = None
        host_table = None
        tp_size = 1
        staged_by_scheduler = True

        def __init__(self, num_embeddings: int, dim: int, layer_id: int, column_bounds: tuple[int, ...]) -> None:
            # The parent makes the table.
            nn.Module.__init__(self)
            store = _store()
            sizes = [end - start for start, end in zip(column_bounds, column_bounds[1:])]
            check_table(store, layer_id, sizes, dim)
            check_codec(store, layer_id, "fp8_e4m3_ue8m0", is_decoded=False)
            self.dim = dim
            self.layer_id = layer_id
            self.rows = DeviceRows(store, layer_id)

        def finish_load(self, label: str) -> None:
            pass

        def forward(
            self, indices: torch.Tensor, forward_batch: Any = None, *, cp_all_tokens: bool = False
        ) -> torch.Tensor:
            out = self.new_rows(indices)
            read(self.rows, indices, out)
            return out

    class PackRowStager(EngramRowStager):
        """Brings the rows of prompts before the pass that wants them."""

        def __init__(self, hasher: Any, embeddings: list[PackEmbedding], device: torch.device) -> None:
            self.hasher = hasher
            self.layers = [embedding.layer_id for embedding in embeddings]
            self.store = _store()
            self.device = device
            self.copy_stream = torch.cuda.Stream(device)

        @classmethod
        def from_model(cls, model: nn.Module, hasher: Any, device: torch.device) -> PackRowStager | None:
            blocks = [module for module in model.modules() if isinstance(module, Engram)]
            blocks.sort(key=lambda block: block.layer_hash_index)
            check_hash(_store(), hasher, [block.embed.layer_id for block in blocks])
            # Context parallelism hashes whole prompts, of which a rank wants only its part.
            return None if get_parallel().attn_cp_size > 1 else cls(hasher, [block.embed for block in blocks], device)

        def stage(self, batch: Any) -> list[tuple[torch.Tensor, torch.Tensor, torch.cuda.Event]] | None:
            if not batch.forward_mode.is_extend_without_speculative():
                return None
            windows = self._windows(batch)
            if windows is None:
                return None
            ids = self.store.rows_of_windows(*_without_images(self.hasher, *windows))
            # All layers are asked for before the first one is waited for.
            asked = [self._ask(layer, ids) for layer in self.layers]
            return [self._upload(*each) for each in asked]

        def _ask(self, layer: int, ids: Any) -> tuple[Ticket, torch.Tensor]:
            width = self.store.layer(layer).row_bytes
            memory = torch.empty(
                (ids.positions * ids.columns, width), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
            )
            return self.store.submit(layer, ids, out=memory, dtype="stored"), memory

        def _upload(
            self, ticket: Ticket, memory: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.cuda.Event]:
            ticket.wait()
            with torch.cuda.stream(self.copy_stream):
                packed = memory.to(self.device, non_blocking=True)
                dim = packed.shape[1] * 32 // 33
                # Values, then a scale for each 32 of them; SGLang wants the two apart.
                rows, scales = packed[:, :dim].contiguous(), packed[:, dim:].contiguous()
                copied = torch.cuda.Event()
                copied.record()
            return rows, scales, copied

    return PackEmbedding, PackRowStager


def check_hash(store: Store, hasher: Any, layers: list[int]) -> None:
    """Compares the row ids by the pack's scheme with those of SGLang's hash for some tokens."""
    tokens = sample_tokens(min(len(hasher.token_map), store.vocab_size))
    size = hasher.max_ngram_size
    padded = torch.tensor([0] * (size - 1) + tokens)
    windows = padded.unfold(0, size, 1).flip(-1)
    blocked = torch.arange(len(tokens)).unsqueeze(-1) < torch.arange(size)
    expected, _ = hasher.hash_windows(windows, blocked)
    found = store.rows(tokens)
    for index, layer in enumerate(layers):
        check_ids(store, layer, found[layer].ravel().tolist(), expected[:, index].flatten().tolist())


def _without_images(
    hasher: Any, tokens: torch.Tensor, blocked: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The windows without tokens that stand for an image, which no n-gram reaches or passes."""
    from sglang.srt.layers.engram import MM_PAD_SHIFT_VALUE

    if hasher.image_token_id is None:
        return tokens.contiguous(), blocked
    is_image = (tokens >= MM_PAD_SHIFT_VALUE) | (tokens == hasher.image_token_id)
    return tokens.masked_fill(is_image, -1), blocked


def _store() -> Store:
    store = store_of()
    if store is None:
        raise WrongTable("no pack is named any more that was named when the server started")
    return store
