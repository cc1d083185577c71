"""What packs have done, in vLLM's log and at its `/metrics`.

Packs are read in vLLM's workers; its stat loggers are called where it answers requests, which is another process. So
every worker writes its metrics to a file of this server's, and the stat logger (entry point group
`vllm.stat_logger_plugins`) reads those. Workers on other machines are not seen.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from vllm import envs
from vllm.logger import init_logger
from vllm.v1.metrics.loggers import AggregateStatLoggerBase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engram_tables import Store

__all__ = ["PackStatLogger", "publish"]

# How often a worker writes its metrics.
SECONDS = 2.0

# As one of vLLM's own, so that its settings for logging hold.
logger = init_logger("vllm.engram_adapters")

# Which stores of which processes, and the numbers of their files.
_published: dict[tuple[int, int], int] = {}
_numbers = itertools.count()


def publish(store: Store, vllm_config: Any) -> None:
    """Writes the metrics of `store` for the stat logger, now and every `SECONDS`, until the process ends."""
    folder = _folder(vllm_config)
    this = (os.getpid(), id(store))
    if folder is None or this in _published:
        return
    _published[this] = next(_numbers)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise OSError(f"{folder} belongs to somebody else")
        parallel = vllm_config.parallel_config
        # A worker's first store has its name, further ones a number.
        number = f"-{_published[this]}" if _published[this] else ""
        file = folder / f"{parallel.data_parallel_rank}-{parallel.rank}{number}.{os.getpid()}"
        _write(store, file)
    except OSError as error:
        logger.warning("Metrics of %s cannot be reported: %s", store.path, error)
        return
    threading.Thread(target=_keep_writing, args=(store, file), name="engram-metrics", daemon=True).start()
    atexit.register(_remove, file)


def _keep_writing(store: Store, file: Path) -> None:
    while not store.closed:
        time.sleep(SECONDS)
        try:
            _write(store, file)
        except Exception as error:
            logger.warning("Metrics of %s are not reported any more: %s", store.path, error)
            break
    # Another store may come to have this one's identity.
    _published.pop((os.getpid(), id(store)), None)


def _write(store: Store, file: Path) -> None:
    # A reader sees all of it or what was there before.
    new = file.with_name(f".{file.name}")
    new.write_text(store.prometheus())
    new.replace(file)


def _remove(file: Path) -> None:
    """Removes `file`, and its folder with the last one."""
    try:
        file.unlink(missing_ok=True)
        file.parent.rmdir()
    except OSError:
        pass


def _folder(vllm_config: Any) -> Path | None:
    """Where the workers of a server write."""
    instance = getattr(vllm_config, "instance_id", None)
    return Path(envs.VLLM_RPC_BASE_PATH) / f"engram-{instance}" if instance else None


class PackStatLogger(AggregateStatLoggerBase):
    """Says at each of vLLM's log intervals what packs have done since the last, and keeps `/metrics`."""

    def __init__(self, vllm_config: Any, engine_indexes: list[int]) -> None:
        self.folder = _folder(vllm_config)
        self.before: dict[str, float] = {}
        self.logged_at = time.monotonic()
        if self.folder is not None:
            _Collector.register(self.folder)

    def record(self, *arguments: Any, **settings: Any) -> None:
        """vLLM tells of its scheduler here, which knows nothing of packs."""

    def log_engine_initialized(self) -> None:
        """There is nothing to say yet."""

    def log(self) -> None:
        totals: dict[str, float] = {}
        for family in _families(self.folder):
            totals[family.name] = sum(sample.value for sample in family.samples)
        now = time.monotonic()
        seconds, self.logged_at = max(now - self.logged_at, 1e-3), now
        before, self.before = self.before, totals
        done = {name: total - before.get(name, 0) for name, total in totals.items()}
        if not done.get("engram_rows"):
            return
        logger.info(
            "Engram rows: %.0f rows/s, %.0f reads/s, %.1f MB/s read, %.2f ms waited a batch",
            done["engram_rows"] / seconds,
            done["engram_reads"] / seconds,
            done["engram_read_bytes"] / seconds / 1e6,
            1e3 * done["engram_wait_seconds"] / max(done["engram_batches"], 1),
        )


class _Collector:
    """Metrics of all workers of a server, each with its ranks as the label `worker`."""

    registered: set[Path] = set()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def register(cls, folder: Path) -> None:
        if folder not in cls.registered:
            cls.registered.add(folder)
            REGISTRY.register(cls(folder))

    def collect(self) -> Iterable[Metric]:
        return _families(self.folder)


def _families(folder: Path | None) -> list[Metric]:
    """The metrics in the files of `folder`, of workers that are alive."""
    families: dict[str, Metric] = {}
    for file in sorted(folder.glob("[!.]*")) if folder is not None else []:
        worker, _, process = file.name.partition(".")
        try:
            text = file.read_text()
            os.kill(int(process), 0)
        except (OSError, ValueError):
            # One that has ended, or is no worker's.
            continue
        for family in text_string_to_metric_families(text):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                merged.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    return list(families.values())
