"""vLLM's own manager of stat loggers reports what packs have done in its workers."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("vllm", reason="vllm is not installed")

import engram_tables
import tiny_checkpoint
import vllm.envs
from engram_adapters import vllm_metrics
from prometheus_client import REGISTRY
from vllm.v1.metrics import loggers
from vllm_process import config

ENTRY = "[vllm.stat_logger_plugins]\nengram_test = engram_adapters.vllm_metrics:PackStatLogger\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_checkpoint.make(tmp_path_factory.mktemp("longcat"), "longcat-flash-lite")


@pytest.fixture
def made(model, tmp_path, monkeypatch):
    """A server's configuration, a worker's store, and the manager with our logger as vLLM finds it."""
    monkeypatch.setattr(vllm.envs, "VLLM_RPC_BASE_PATH", str(tmp_path))
    monkeypatch.setattr(vllm_metrics, "_published", {})
    monkeypatch.setattr(vllm_metrics, "_numbers", itertools.count())
    monkeypatch.setattr(vllm_metrics, "SECONDS", 0.01)
    information = tmp_path / "site/engram_adapters_test-0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: engram-adapters-test\nVersion: 0\n")
    (information / "entry_points.txt").write_text(ENTRY)
    monkeypatch.syspath_prepend(str(information.parent))
    monkeypatch.setenv("VLLM_PLUGINS", "engram_test")
    vllm_config = config(model.pack)
    vllm_config.instance_id = "abcde"
    # vLLM's own would want the whole configuration of a model; the one under test is ours.
    monkeypatch.setattr(loggers, "PrometheusStatLogger", stand_ins.SilentStatLogger)
    factories = loggers.load_stat_logger_plugin_factories()
    assert vllm_metrics.PackStatLogger in factories
    manager = loggers.StatLoggerManager(
        vllm_config, [0, 1], custom_stat_loggers=factories, enable_default_loggers=False
    )
    return vllm_config, engram_tables.open(model.pack), manager


def metric(name, **labels):
    return REGISTRY.get_sample_value(name, {"layer": "0", **labels})


def test_rows_of_workers_come_to_the_log_and_to_metrics(made, monkeypatch, tmp_path):
    vllm_config, store, manager = made
    said = []
    monkeypatch.setattr(vllm_metrics.logger, "info", lambda text, *values: said.append(text % values))
    manager.log()
    assert not said and metric("engram_rows_total", worker="0-0") is None
    vllm_metrics.publish(store, vllm_config)
    vllm_metrics.publish(store, vllm_config)
    store.lookup(0, torch.arange(30))
    await_(lambda: metric("engram_rows_total", worker="0-0") == 30)
    # Another worker of the same server.
    folder = tmp_path / "engram-abcde"
    (file,) = folder.glob("0-0.*")
    text = file.read_text().replace('engram_rows_total{layer="0"} 30', 'engram_rows_total{layer="0"} 12')
    (folder / f"0-1.{os.getppid()}").write_text(text)
    assert metric("engram_rows_total", worker="0-1") == 12 and metric("engram_rows_total", worker="0-0") == 30
    manager.record(None, None)
    manager.log()
    assert len(said) == 1 and said[0].startswith("Engram rows: ") and "rows/s" in said[0]
    manager.log()
    assert len(said) == 1, "nothing has been asked for since"
    store.close()


def test_each_store_of_a_worker_is_told_apart(made, model):
    vllm_config, store, _ = made
    with engram_tables.open(model.pack) as other:
        for one in (store, other):
            vllm_metrics.publish(one, vllm_config)
        store.lookup(0, torch.arange(30))
        other.lookup(0, torch.arange(7))
        await_(lambda: metric("engram_rows_total", worker="0-0") == 30)
        await_(lambda: metric("engram_rows_total", worker="0-0-1") == 7)


def test_a_worker_that_has_ended_is_not_counted(made, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = tmp_path / "engram-abcde"
    folder.mkdir()
    (folder / f"0-0.{ended.pid}").write_text('engram_rows_total{layer="0"} 3\n')
    (folder / "no worker").write_text("anything")
    assert vllm_metrics._families(folder) == []


def test_a_folder_of_somebody_else_is_not_written_to(made, monkeypatch, tmp_path):
    vllm_config, store, _ = made
    (tmp_path / "elsewhere").mkdir()
    Path(tmp_path / "engram-abcde").symlink_to(tmp_path / "elsewhere")
    said = []
    monkeypatch.setattr(vllm_metrics.logger, "warning", lambda text, *values: said.append(text % values))
    vllm_metrics.publish(store, vllm_config)
    assert len(said) == 1 and "belongs to somebody else" in said[0]
    assert not any((tmp_path / "elsewhere").iterdir())


def await_(condition):
    """Until a worker's thread has come to it."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the worker's thread does not come to it"
        time.sleep(0.01)
