"""What the tests share. They run on the installed package, from any folder."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import engram_tables

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "format-spec" / "vectors"
PACKS = ["deepseek", "demo", "qwen", "longcat", "long-rows", "longcat-2", "gemma", "over-encoding"]


@pytest.fixture(params=PACKS)
def pack(request):
    """Each of the frozen packs: every scheme, and all codecs but f16."""
    return VECTORS / request.param


@pytest.fixture
def store():
    with engram_tables.open(VECTORS / "deepseek", reader="memory") as store:
        yield store


@pytest.fixture(params=["direct", "direct_threads", "mmap", "pread", "memory"])
def reader(request):
    return request.param


@pytest.fixture(scope="session")
def expected():
    return json.loads((VECTORS / "expected.json").read_text())


@pytest.fixture(scope="session")
def second_reader():
    """The reader of packs in Python, which knows nothing of the engine."""
    pytest.importorskip("xxhash", reason="the second reader needs xxhash")
    path = ROOT / "format-spec" / "reader.py"
    spec = importlib.util.spec_from_file_location("second_reader", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint in the layout of DeepSeek-V4.1-Flash, some megabytes."""
    folder = tmp_path_factory.mktemp("checkpoint") / "small"
    command = Path(sys.executable).with_name("engram-pack")
    arguments = ["synth", "--scheme", "deepseek-v4.1-flash", "--scale", "10000", "-o", folder]
    subprocess.run([command, *arguments], check=True)
    return folder
