"""A training loop in PyTorch over a real text, its rows from us and from EngramDB's wheel, in turns.

    pip install numpy torch engramdb-python==0.3.0        # and the wheel of engine/python
    python benches/python_training.py PACK TOKENS [FOLDER] [--batch 4096] [--rounds 3]

TOKENS is a file of token ids, 32-bit little-endian. Every way hashes the tokens by our sequence, and hands a batch's
rows of every layer to the model as a tensor `[tokens][columns][width]`. The model sums them, guesses a class of the
next token by a small matrix, and takes the loss back to the matrix and to the rows. It is so small that reading shows.

Ours decode the rows by their scales and check their seals. EngramDB takes 8-bit floats with one scale for all, so it is
given the bytes of the rows as such, scales too, and knows no seals. Everything is warm: our cache after a first pass,
EngramDB's files in the page cache.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from python_rates import bare_rows, engramdb_store

import engram_tables

CLASSES = 16
DTYPE = torch.bfloat16


class Model(torch.nn.Module):
    """Guesses one of some classes of the next token from the sum of the rows."""

    def __init__(self, widths):
        super().__init__()
        self.heads = torch.nn.ModuleList(torch.nn.Linear(width, CLASSES, dtype=DTYPE) for width in widths)
        self.optimizer = torch.optim.SGD(self.parameters(), 0.01)

    def step(self, tokens, layers):
        """Learns from one batch; returns the gradient of each layer's rows."""
        layers = [rows.detach().requires_grad_() for rows in layers]
        guesses = sum(head(rows.sum(1)) for head, rows in zip(self.heads, layers))
        targets = torch.from_numpy(tokens[1:].astype(np.int64) % CLASSES)
        loss = torch.nn.functional.cross_entropy(guesses[:-1].float(), targets)
        parameters = list(self.parameters())
        gradients = torch.autograd.grad(loss, [*layers, *parameters])
        for parameter, gradient in zip(parameters, gradients[len(layers) :]):
            parameter.grad = gradient
        self.optimizer.step()
        return gradients[: len(layers)]


def rate(batches, model=None):
    """Tokens a second of a pass over a text, read alone or trained on."""
    start, count = time.perf_counter(), 0
    for tokens, layers in batches:
        if model:
            gradients = model.step(tokens, layers)
            assert all(gradient.shape == rows.shape for gradient, rows in zip(gradients, layers))
        count += len(tokens)
    return count / (time.perf_counter() - start)


class Tickets:
    """Our rows: those of the next batch are asked for before this one's are used."""

    def __init__(self, store, batch):
        self.store = store
        shape = (batch, store.columns)
        # Two of each: one is filled while the other is used.
        self.tensors = [[torch.empty((*shape, layer.width), dtype=DTYPE) for layer in store.layers] for _ in range(2)]

    def batches(self, parts):
        sequence, tensors = self.store.sequence(), itertools.cycle(self.tensors)

        def ask(tokens):
            rows = sequence.extend(tokens)
            return tokens, [self.store.submit(of.id, rows, out) for of, out in zip(self.store.layers, next(tensors))]

        asked = ask(parts[0])
        for following in [*parts[1:], None]:
            (tokens, tickets), asked = asked, None if following is None else ask(following)
            yield tokens, [ticket.wait() for ticket in tickets]


class Waiting:
    """Our rows by a call that waits for them."""

    def __init__(self, store, batch):
        self.store = store
        shape = (batch, store.columns)
        self.tensors = [torch.empty((*shape, layer.width), dtype=DTYPE) for layer in store.layers]

    def batches(self, parts):
        sequence = self.store.sequence()
        for tokens in parts:
            rows = sequence.extend(tokens)
            yield tokens, [self.store.lookup(of.id, rows, out) for of, out in zip(self.store.layers, self.tensors)]


class Fetch:
    """EngramDB's rows by its function for training, which turns what `Store.fetch` gives into a tensor."""

    def __init__(self, store, peers):
        from engramdb import fetch_e_t_tensor

        self.store, self.peers, self.fetch = store, peers, fetch_e_t_tensor

    def batches(self, parts):
        sequence = self.store.sequence()
        for tokens in parts:
            rows = sequence.extend(tokens)
            yield tokens, [self.layer(of, peer, rows) for of, peer in zip(self.store.layers, self.peers)]

    def layer(self, of, peer, rows):
        ids = np.asarray(rows[of.id]).reshape(-1).tolist()
        return self.fetch(peer, ids, 0.5, self.store.columns, of.row_bytes, out_dtype=DTYPE)


class Adapter(Fetch):
    """EngramDB's rows by its module for PyTorch."""

    def __init__(self, store, peers):
        from engramdb.integrations import DiskMultiHeadEmbedding

        self.store, self.peers = store, peers
        # Row ids count through all columns already, so every column begins at 0.
        first_rows = [0] * store.columns
        self.modules = {
            id(peer): DiskMultiHeadEmbedding(
                first_rows, of.row_bytes, peer, torch.float8_e4m3fn, 1 << 20, 0.5, output_dtype=DTYPE
            )
            for of, peer in zip(store.layers, peers)
        }

    def layer(self, of, peer, rows):
        ids = torch.from_numpy(np.asarray(rows[of.id], np.int64).reshape(-1, self.store.columns))
        return self.modules[id(peer)](ids)


def engramdb_stores(pack, folder):
    """The rows of every layer as EngramDB keeps them, in the page cache."""
    peers = []
    with engram_tables.open(pack, reader="mmap") as store:
        for layer in store.layers:
            of_layer = folder / str(layer.id)
            of_layer.mkdir(exist_ok=True)
            peers.append(engramdb_store(bare_rows(store, layer, of_layer), of_layer))
    return peers


def compare(options, folder):
    tokens = np.fromfile(options.tokens_file, np.uint32)
    parts = tokens[: len(tokens) // options.batch * options.batch].reshape(-1, options.batch)[: options.batches]
    with engram_tables.open(options.pack, cache=options.cache) as store:
        peers = engramdb_stores(options.pack, folder)
        widths = [layer.width for layer in store.layers]
        stored = [layer.row_bytes for layer in store.layers]
        ways = [("tickets", Tickets(store, options.batch), widths), ("lookup", Waiting(store, options.batch), widths)]
        if None not in peers:
            ways += [("EngramDB, Store.fetch", Fetch(store, peers), stored)]
            ways += [("EngramDB, torch adapter", Adapter(store, peers), stored)]
        found = {name: [] for name, _, _ in ways}
        for number in range(options.rounds + 1):
            for name, way, widths in ways:
                # The adapter is slow, so it has a shorter text.
                of_way = parts[: max(2, len(parts) // 10)] if isinstance(way, Adapter) else parts
                figures = rate(way.batches(of_way)), rate(way.batches(of_way), Model(widths))
                # The first round fills the cache.
                if number > 0:
                    found[name].append(figures)
        print(f"{parts.size:,} tokens in batches of {options.batch:,}; tokens a second: rows alone, and trained on")
        for name, figures in found.items():
            alone, trained = (statistics.median(of) for of in zip(*figures))
            print(f"{name:24} {alone:10,.0f} {trained:10,.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("tokens_file", type=Path)
    parser.add_argument("folder", nargs="?", type=Path, help="for EngramDB's files, which are kept there")
    parser.add_argument("--batch", type=int, default=4_096, help="tokens of a batch")
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", default="1500 MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(exist_ok=True)
        compare(options, folder)


if __name__ == "__main__":
    main()
