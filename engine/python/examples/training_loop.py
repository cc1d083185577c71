"""A training loop in PyTorch whose rows come from a pack while the batch before is computed.

    python training_loop.py PACK TOKENS [--tokens 4096] [--dtype float32] [--passes 3]

TOKENS is a file of token ids, 32-bit little-endian. The model is only there to show where rows go: it guesses a hash of
the next token from the mean of the rows. Printed is how many tokens a second rows come for, alone and with the model.
"""

import argparse
import time

import numpy as np
import torch

import engram_tables

CLASSES = 256


class Batches:
    """The rows of a text, batch after batch, each layer's in a tensor `[tokens][columns][width]` of its own."""

    def __init__(self, store, tokens, count, dtype):
        self.store = store
        self.parts = tokens[: len(tokens) // count * count].reshape(-1, count)
        shape = (count, store.columns)
        # Two of each: one is filled while the other is used.
        self.tensors = [
            {layer.id: torch.empty((*shape, layer.width), dtype=dtype) for layer in store.layers} for _ in range(2)
        ]

    def __iter__(self):
        sequence = self.store.sequence()

        def ask(index):
            rows = sequence.extend(self.parts[index])
            tensors = self.tensors[index % 2]
            return [(layer, self.store.submit(layer, rows, out)) for layer, out in tensors.items()]

        asked = ask(0)
        for index, tokens in enumerate(self.parts):
            tickets, asked = asked, ask(index + 1) if index + 1 < len(self.parts) else None
            yield tokens, {layer: ticket.wait() for layer, ticket in tickets}


class Model(torch.nn.Module):
    def __init__(self, store):
        super().__init__()
        self.heads = torch.nn.ModuleDict(
            {str(layer.id): torch.nn.Linear(layer.width, CLASSES) for layer in store.layers}
        )

    def forward(self, rows):
        return sum(self.heads[str(layer)](values.mean(1).float()) for layer, values in rows.items())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pack")
    parser.add_argument("tokens_file")
    parser.add_argument("--tokens", type=int, default=4096, help="a batch")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--cache", default="1 GiB")
    options = parser.parse_args()
    tokens = np.fromfile(options.tokens_file, np.uint32)
    with engram_tables.open(options.pack, cache=options.cache) as store:
        batches = Batches(store, tokens, options.tokens, getattr(torch, options.dtype))
        model = Model(store)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for number in range(options.passes):
            rate = read(batches)
            trained, loss = train(model, optimizer, batches)
            print(f"pass {number}: rows for {rate:,.0f} tokens/s; with the model {trained:,.0f}, loss {loss:.3f}")


def read(batches):
    """Tokens a second for which rows come."""
    start = time.perf_counter()
    count = sum(len(tokens) for tokens, _ in batches)
    return count / (time.perf_counter() - start)


def train(model, optimizer, batches):
    """Tokens a second that are trained on, and the last loss."""
    start, count = time.perf_counter(), 0
    for tokens, rows in batches:
        targets = torch.from_numpy(tokens[1:].astype(np.int64) * 2_654_435_761 >> 16 & CLASSES - 1)
        loss = torch.nn.functional.cross_entropy(model(rows)[:-1], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count += len(tokens)
    return count / (time.perf_counter() - start), loss.item()


if __name__ == "__main__":
    main()
