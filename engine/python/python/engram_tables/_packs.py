"""Making and checking packs, with progress."""

import contextlib
import json
import os

from . import _native


def build(
    checkpoint,
    pack,
    *,
    stripes=(),
    jobs=0,
    resume=False,
    allow_nan=False,
    allow_zeros=False,
    tokenizer=None,
    scheme=None,
    progress=None,
):
    """Builds the pack ``pack`` from ``checkpoint``: a folder with ``config.json`` and safetensors files, or a GGUF
    file.

    Each row gets a seal. Ctrl-C, or an exception of ``progress``, ends the build soon; with ``resume`` the next one
    goes on with what is finished, and ends with the same bytes. A pack that is whole by then stays.

    ``stripes``: folders, best on several drives, over which the rows are spread. ``jobs``: shards built at a time, 0
    for a few. ``allow_nan``: keep rows with codes that are not numbers. ``allow_zeros``: keep tables with many zero
    rows in sequence. ``tokenizer``: a ``tokenizer.json`` or token map, if it is not in the checkpoint. ``scheme``: for
    tables without a ``config.json``, the name of a known model, or the path of a model's configuration. ``progress``:
    called with the bytes done and all bytes, some times a second on this thread; ``None`` shows a bar where tqdm is
    installed and standard error is a terminal, ``False`` shows nothing.

    Returns what was done: ``rows``, ``padding_rows``, ``shards``, ``shards_resumed``, ``bytes_read``,
    ``bytes_written``, ``seconds`` and ``notes``. Raises ``errors.PackError``.
    """
    with _shown(progress, "packing") as shown:
        report = _native.build(
            checkpoint,
            pack,
            stripes=list(stripes),
            jobs=jobs,
            resume=resume,
            allow_nan=allow_nan,
            allow_zeros=allow_zeros,
            tokenizer=tokenizer,
            scheme=None if scheme is None else os.fspath(scheme),
            progress=shown,
        )
    return json.loads(report)


def attach(checkpoint, pack, *, allow_zeros=False, tokenizer=None, scheme=None):
    """Makes the pack ``pack`` over the files of ``checkpoint``, which stay where they are. Its rows have no seals.

    Raises ``errors.PackError``; what was made until then is removed.
    """
    scheme = None if scheme is None else os.fspath(scheme)
    _native.attach(checkpoint, pack, allow_zeros=allow_zeros, tokenizer=tokenizer, scheme=scheme)


def convert(
    pack,
    output,
    codec,
    *,
    keep_layers=(),
    stripes=(),
    jobs=0,
    resume=False,
    checkpoint=None,
    moved_stripes=None,
    progress=None,
):
    """Encodes the rows of ``pack`` anew, as a pack ``output`` of its own.

    ``codec``: a row codec's name, with parameters after a colon, such as ``"q8_0"``, ``"int4:group=32,scale=f16"`` or
    ``"nvfp4:table_scale=0.0002"``; ``engram-pack convert --help`` lists them. ``keep_layers``: layers whose tables stay
    as they are. ``checkpoint`` and ``moved_stripes``: where the checkpoint behind an attached ``pack``, or its stripes
    by their numbers, lie now. The others are those of ``build``, whose promises about stopping and resuming hold here.

    Returns what was done: ``rows``, ``shards``, ``shards_resumed``, ``bytes_read``, ``bytes_written``, ``seconds``,
    ``tables`` with ``layer``, ``from``, ``to``, ``relative_rmse`` and ``cosine_mean``, and ``columns``, which also have
    ``cosine_p1``, ``cosine_worst`` and ``worst_row``. Raises ``errors.PackError``.
    """
    with _shown(progress, "converting") as shown:
        report = _native.convert(
            pack,
            output,
            codec,
            keep_layers=list(keep_layers),
            stripes=list(stripes),
            jobs=jobs,
            resume=resume,
            checkpoint=checkpoint,
            moved_stripes=moved_stripes or {},
            progress=shown,
        )
    return json.loads(report)


def verify(pack, *, jobs=0, sample=None, checkpoint=None, stripes=None, progress=None):
    """Reads a whole pack and names every damaged record.

    ``sample``: read only this percentage of the records. ``checkpoint``: where the checkpoint behind an attached pack
    lies now. ``stripes``: where stripes of the pack lie now, by their numbers. ``jobs`` and ``progress`` are those of
    ``build``.

    Returns what was found: ``records``, ``bytes``, ``seconds``, and the lists ``damage`` and ``unread`` of places with
    ``file``, ``row``, ``records``, ``offset`` and ``what``. Both are empty if the pack is sound. Raises
    ``errors.PackError`` for a pack without a manifest that can be read.
    """
    with _shown(progress, "verifying") as shown:
        report = _native.verify(
            pack, jobs=jobs, sample=sample, checkpoint=checkpoint, stripes=stripes or {}, progress=shown
        )
    return json.loads(report)


@contextlib.contextmanager
def _shown(progress, what):
    """What to call with the bytes done and all bytes."""
    if progress is not None:
        yield progress or None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    # `disable=None` shows nothing where standard error is no terminal.
    with tqdm(desc=what, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:

        def show(done, total):
            bar.total = total
            bar.update(done - bar.n)

        yield show
