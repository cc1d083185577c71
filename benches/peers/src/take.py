"""Takes rows of mapped arrays: take.py numpy|torch ROW_BYTES IDS ROWS [LAYER TABLE]...

IDS and ROWS are shared memory. A line "LAYER COUNT" asks for the first COUNT ids, "done" is the answer.
"""

import mmap
import sys

import numpy

how, row_bytes, ids_path, rows_path, *tables = sys.argv[1:]
row_bytes = int(row_bytes)
ids = numpy.memmap(ids_path, dtype="<i8", mode="r")
rows = numpy.memmap(rows_path, dtype="u1", mode="r+")


def table(path):
    mapped = numpy.memmap(path, dtype="u1", mode="r")
    mapped._mmap.madvise(mmap.MADV_RANDOM)
    return mapped.reshape(-1, row_bytes)


opened = {int(layer): table(path) for layer, path in zip(tables[::2], tables[1::2])}
if how == "torch":
    import warnings

    import torch

    warnings.simplefilter("ignore")  # mapped arrays cannot be written, which nobody does
    opened = {layer: torch.from_numpy(array) for layer, array in opened.items()}
    ids, rows = torch.from_numpy(ids), torch.from_numpy(rows)

print("done", flush=True)
for line in sys.stdin:
    layer, count = map(int, line.split())
    out = rows[: count * row_bytes].reshape(count, row_bytes)
    if how == "torch":
        torch.index_select(opened[layer], 0, ids[:count], out=out)
    else:
        numpy.take(opened[layer], ids[:count], axis=0, out=out, mode="clip")
    print("done", flush=True)
