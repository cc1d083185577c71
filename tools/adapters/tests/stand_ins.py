"""What stands in for a GPU and for other ranks, so that a processor can drive the servers' own classes.

Each stand-in says what it takes the place of. All else in the tests is the engines' code as their wheels have it.
"""

import contextlib
import os
from types import SimpleNamespace

# Triton's kernels run on the processor, and nothing looks for a GPU. Read when Triton and torch are first used.
os.environ["TRITON_INTERPRET"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch


def count_multiprocessors(monkeypatch):
    """For `torch.cuda.get_device_properties`: vLLM sizes the grid of its look-up by the device's multiprocessors."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(multi_processor_count=4))
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)


def take_masks_of_numbers(monkeypatch):
    """For masks in Triton's interpreter: 3.9 makes numbers of a comparison of scalars, and refuses them as masks."""
    from triton.runtime.interpreter import InterpreterBuilder

    load = InterpreterBuilder.create_masked_load

    def load_by_truth(self, pointers, mask, *others):
        mask.data = mask.data.astype(bool)
        return load(self, pointers, mask, *others)

    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", load_by_truth)


class Stream:
    """For `torch.cuda.Stream`: on a processor everything has happened by the time that the next thing begins."""

    def __init__(self, device=None):
        self.waited_for = []

    def wait_stream(self, stream):
        self.waited_for.append(stream)

    def wait_event(self, event):
        assert event.recorded, "waits for an event that nobody records"
        self.waited_for.append(event)


class Event:
    """For `torch.cuda.Event`."""

    def __init__(self):
        self.recorded = 0

    def record(self, stream=None):
        self.recorded += 1


def use_streams(monkeypatch):
    """Puts `Stream` and `Event` in place, and a current stream. Memory on a processor needs no record of streams."""
    current = Stream()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: current)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    return current


def vllm_rank(monkeypatch, engram, rank, size):
    """For a group of `size` processes: the answers that rank `rank` of tensor parallelism gets."""
    import vllm.distributed

    for module in (engram, vllm.distributed):
        monkeypatch.setattr(module, "get_tensor_model_parallel_rank", lambda: rank)
        monkeypatch.setattr(module, "get_tensor_model_parallel_world_size", lambda: size)


def vllm_vocabulary_rank(monkeypatch, rank, size):
    """For the same group where a vocabulary is split. What a rank gives is not added to what others give."""
    import vllm.distributed
    from vllm.model_executor.layers import vocab_parallel_embedding as module

    monkeypatch.setattr(module, "get_tensor_model_parallel_rank", lambda: rank)
    monkeypatch.setattr(module, "get_tensor_model_parallel_world_size", lambda: size)
    for each in (module, vllm.distributed):
        monkeypatch.setattr(each, "tensor_model_parallel_all_reduce", lambda rows: rows)


def hash_ngrams(monkeypatch, longcat):
    """For the kernel that hashes for LongCat, which runs on a GPU alone: the same ids, by its published source.

    Walking back from a token ends at the request's beginning and at a negative entry of the token table.
    """

    def compute(n, k, weights, mods, offsets, starts, table, rows, columns, out):
        for request in range(len(starts) - 1):
            entries = table[int(rows[request])].tolist()
            for at in range(int(starts[request]), int(starts[request + 1])):
                place = int(columns[request]) + at - int(starts[request])
                for column in range((n - 1) * k):
                    order, head = divmod(column, k)
                    mod, id = int(mods[order, head]), 0
                    for back in range(order + 2):
                        if back > place or entries[place - back] < 0:
                            break
                        id += entries[place - back] * int(weights[order, head, back]) % mod
                    out[at, column] = id % mod + int(offsets[column])

    monkeypatch.setattr(longcat.ops, "ngram_compute_n_gram_ids", compute)


def map_memory(monkeypatch, common):
    """For the view that a GPU has of pinned memory, and for pinning: vLLM's table of Qwen's model in plain memory.

    Its kernel copies bytes, and declares so, which Triton's interpreter does not heed.
    """

    class OfBytes:
        kernel = common._lookup_ple_embedding_from_pinned_kernel

        def __getitem__(self, grid):
            def run(table, ids, out, *others, **constants):
                self.kernel[grid](table.view(torch.uint8), ids, out.view(torch.uint8), *others, **constants)

            return run

    monkeypatch.setattr(common, "_lookup_ple_embedding_from_pinned_kernel", OfBytes())
    monkeypatch.setattr(common, "is_uva_available", lambda: True)
    monkeypatch.setattr(common, "get_accelerator_view_from_cpu_tensor", lambda tensor: tensor.data)
    monkeypatch.setattr(
        common.Qwen4ExpPLEPinnedHostEmbedding,
        "allocate_embedding_weight",
        lambda embedding, rows, width, dtype: torch.empty(rows, width, dtype=dtype),
    )


def map_scales(monkeypatch, common, embedding):
    """For the view that a GPU has of the pinned scales of an NVFP4 table of vLLM's, and for the rounding of its kernel.

    A GPU rounds what the kernel stores to bfloat16; Triton's interpreter cuts it off. Here PyTorch rounds it.
    """
    embedding.embedding_method._uva_weight_scale = embedding.weight_scale.data

    class Rounded:
        kernel = common._lookup_nvfp4_ple_embedding_kernel

        def __getitem__(self, grid):
            def run(table, scales, table_scale, ids, out, *others, **constants):
                values = torch.empty(out.shape, dtype=torch.float32)
                self.kernel[grid](table, scales, table_scale, ids, values, *others, **constants)
                out.copy_(values)

            return run

    monkeypatch.setattr(common, "_lookup_nvfp4_ple_embedding_kernel", Rounded())


def sglang_rank(monkeypatch, rank=0, size=1):
    """For SGLang's parallel context, which a server's start fills."""
    from sglang.srt.runtime_context import get_parallel

    parallel = {
        "tp_rank": rank, "tp_size": size, "tp_group": None, "attn_dp_size": 1, "attn_cp_size": 1, "attn_cp_rank": 0
    }
    monkeypatch.setattr(get_parallel(), "_overrides", parallel)


def gather_on_a_processor(monkeypatch, engram):
    """For the check of SGLang's `engram_gather` that its tensors are on a GPU. The kernel that it starts is theirs."""
    from sglang.kernels.ops.embeddings import engram_gather as theirs

    def gather(weight, scale, ids, out, dim, block_size, row_lo=0, row_hi=2**62, sort_ids=False):
        theirs._engram_gather_kernel[(ids.numel(),)](
            weight, scale, ids, ids, out, row_lo, row_hi, DIM=dim, BLK=block_size, E8M0_ZERO=theirs._E8M0_ZERO,
            HAS_DST=False,
        )
        return out

    monkeypatch.setattr(engram, "engram_gather", gather)


class SilentStatLogger:
    """For vLLM's own logger of its scheduler, which wants a whole model's configuration."""

    def __init__(self, *arguments):
        pass

    def record(self, *arguments, **settings):
        pass

    def log(self):
        pass


class RequestPool:
    """For SGLang's pool of requests: the tokens before each one's next, at the place of the request itself."""

    def __init__(self, size, context, eos):
        self.size = size
        self.ple_window_cache = None
        self.contexts = torch.full((size, context), eos)

    def get_mamba_indices(self, requests):
        return requests

    def get_ngram_context(self, places):
        return self.contexts[places]

    def set_ngram_context(self, places, contexts):
        self.contexts[places] = contexts

    def set_ngram_intermediate_context(self, contexts, places):
        """Guesses that are taken back leave no trace."""


def allocate_unpinned(monkeypatch, module):
    """For pinned memory, where SGLang puts Qwen's table. Its kernel, by Triton's interpreter, reads any."""
    monkeypatch.setattr(module, "allocate_ple_host_table", lambda shape, dtype, **_: torch.zeros(shape, dtype=dtype))
