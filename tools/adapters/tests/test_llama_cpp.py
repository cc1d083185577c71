"""An unchanged build of llama.cpp takes the rows of its table from a pack.

ENGRAM_LLAMA_CPP names the folder that `llama_cpp/fetch.sh` has filled.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CAPI = HERE.parents[2] / "engine/capi"
FETCHED = os.environ.get("ENGRAM_LLAMA_CPP")

torch = pytest.importorskip("torch")
pytest.importorskip("transformers.models.qwen4_exp", reason="transformers with qwen4_exp is not installed")
if not FETCHED:
    pytest.skip("ENGRAM_LLAMA_CPP is not set: llama.cpp has not been fetched", allow_module_level=True)

import engram_tables
import tiny_qwen

SOURCE = Path(FETCHED) / "source/vendor/llama.cpp"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The backend; a model as checkpoint, pack and GGUF; and a GGUF whose table has gone."""
    folder = tmp_path_factory.mktemp("llama")
    subprocess.run(["sh", CAPI / "install.sh", folder / "libengram"], check=True)
    packages = {**os.environ, "PKG_CONFIG_PATH": str(folder / "libengram/lib/pkgconfig")}
    subprocess.run(["sh", HERE.parent / "llama.cpp/build.sh", SOURCE, folder], env=packages, check=True)

    tiny_qwen.save(folder / "checkpoint")
    engram_tables.build(folder / "checkpoint", folder / "pack", progress=False)
    convert = [sys.executable, HERE / "llama_cpp/convert.py", SOURCE, folder / "checkpoint", folder / "model.gguf"]
    subprocess.run(convert, check=True, capture_output=True)
    start, size = table_place(folder / "model.gguf")
    bytes_ = bytearray((folder / "model.gguf").read_bytes())
    bytes_[start : start + size] = bytes(size)
    (folder / "hole.gguf").write_bytes(bytes_)
    return folder


def table_place(path):
    sys.path.insert(0, str(SOURCE / "gguf-py"))
    from gguf import GGUFReader

    tensors = GGUFReader(path).tensors
    table = next(tensor for tensor in tensors if tensor.name == "per_layer_token_embd.weight")
    return table.data_offset, int(table.n_bytes)


def run(folder, model, **settings):
    command = [Path(FETCHED) / "python/bin/python", HERE / "llama_cpp/logits.py", FETCHED, folder / model]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
    return subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True)


def logits(folder, model, **settings):
    done = run(folder, model, **settings)
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def backend(folder, **settings):
    return {"GGML_BACKEND_PATH": str(folder / "libggml-engram.so"), **settings}


@pytest.mark.parametrize("reader", ["direct", "memory", "mmap"])
def test_logits_are_equal_to_the_bit(made, reader):
    expected, _ = logits(made, "model.gguf")
    assert logits(made, "hole.gguf")[0] != expected, "the table matters"
    settings = backend(made, ENGRAM_PACK=str(made / "pack"), ENGRAM_OPTIONS=json.dumps({"reader": reader}))
    found, said = logits(made, "hole.gguf", **settings)
    assert found == expected
    assert "loaded ENGRAM backend" in said


def test_an_attached_pack_serves_too(made, tmp_path):
    engram_tables.attach(made / "checkpoint", tmp_path / "attached")
    found, _ = logits(made, "hole.gguf", **backend(made, ENGRAM_PACK=str(tmp_path / "attached")))
    assert found == logits(made, "model.gguf")[0]


def test_without_a_pack_it_stays_out_of_the_way(made):
    assert logits(made, "model.gguf", **backend(made))[0] == logits(made, "model.gguf")[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ENGRAM_PACK": "/nowhere"}, "/nowhere"),
        ({"ENGRAM_PACK": "PACK", "ENGRAM_OPTIONS": '{"cache": 1}'}, "cache"),
        ({"ENGRAM_PACK": "PACK", "ENGRAM_LAYER": "7"}, "no such layer"),
        ({"ENGRAM_PACK": "OTHER"}, "this pack is not the model's table"),
    ],
)
def test_what_is_wrong_ends_the_program(made, tmp_path, settings, message):
    if settings["ENGRAM_PACK"] == "OTHER":
        tiny_qwen.save(tmp_path / "checkpoint", ple_embed_dim=128)
        engram_tables.build(tmp_path / "checkpoint", tmp_path / "pack", progress=False)
    places = {"PACK": str(made / "pack"), "OTHER": str(tmp_path / "pack")}
    settings = {name: places.get(value, value) for name, value in settings.items()}
    done = run(made, "hole.gguf", **backend(made, **settings))
    assert done.returncode == 1 and not done.stdout, done.stdout
    assert "engram: " in done.stderr and message in done.stderr, done.stderr[-2_000:]


def test_damage_stops_the_pass(made, tmp_path):
    pack = tmp_path / "pack"
    subprocess.run(["cp", "-r", made / "pack", pack], check=True)
    for shard in pack.glob("*/*.shard"):
        bytes_ = bytearray(shard.read_bytes())
        for place in range(4096, len(bytes_), 16):
            bytes_[place] ^= 1
        shard.write_bytes(bytes_)
    done = run(made, "hole.gguf", **backend(made, ENGRAM_PACK=str(pack)))
    assert "it does not compute" in done.stderr and "engram: " in done.stderr, done.stderr[-2_000:]
