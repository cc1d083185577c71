"""An unchanged build of llama.cpp takes the rows of its table from a pack.

ENGRAM_LLAMA_CPP names the folder that `llama_cpp/fetch.sh` has filled.
"""

import json
import os
import re
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
LIBRARIES = Path(FETCHED) / "libraries"
# What `logits.py` computes.
BATCHES = ["5,17,300,42,2,9,100,200,311,5,17,300", "33"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The backend; a model as checkpoint, pack and GGUF; and a GGUF whose table has gone."""
    folder = tmp_path_factory.mktemp("llama")
    subprocess.run(["sh", CAPI / "install.sh", folder / "libengram"], check=True)
    packages = {**os.environ, "PKG_CONFIG_PATH": str(folder / "libengram/lib/pkgconfig")}
    subprocess.run(["sh", HERE.parent / "llama.cpp/build.sh", SOURCE, folder], env=packages, check=True)

    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "engram"], env=packages, check=True, capture_output=True, text=True
    )
    embed = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", HERE.parent / "llama.cpp/embed.cpp"]
    embed += [f"-I{SOURCE}/include", f"-I{SOURCE}/ggml/include", "-o", folder / "embed", *flags.stdout.split()]
    embed += [f"-L{LIBRARIES}", "-lllama", "-lggml", "-lggml-base"]
    embed += [f"-Wl,-rpath,{LIBRARIES}:{folder}/libengram/lib", "-Wl,--allow-shlib-undefined"]
    subprocess.run(embed, check=True)

    tiny_qwen.save(folder / "checkpoint")
    engram_tables.build(folder / "checkpoint", folder / "pack", progress=False)
    convert = [sys.executable, HERE / "llama_cpp/convert.py", SOURCE, folder / "checkpoint", folder / "model.gguf"]
    subprocess.run(convert, check=True, capture_output=True)
    start, size = table_place(folder / "model.gguf")
    bytes_ = bytearray((folder / "model.gguf").read_bytes())
    bytes_[start : start + size] = bytes(size)
    (folder / "hole.gguf").write_bytes(bytes_)
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Packs of models that differ from the one that runs in one thing each."""
    folder = tmp_path_factory.mktemp("others")
    changes = {
        "WIDER": {"ple_embed_dim": 128},
        "LONGER": {"ngram_vocab_size_base": 12_000},
        "HALF": {"dtype": torch.bfloat16},
        "SEED": {"config_seed": 4_321},
        "EOS": {"eos_token_id": 9},
    }
    for name, changed in changes.items():
        tiny_qwen.save(folder / name / "checkpoint", **changed)
        engram_tables.build(folder / name / "checkpoint", folder / name / "pack", progress=False)
    return {name: str(folder / name / "pack") for name in changes}


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


def embed(folder, model, pack, *batches):
    # llama.cpp looks for its own backends in the current folder.
    command = [folder / "embed", folder / model, pack, *(batches or BATCHES)]
    return subprocess.run(command, cwd=LIBRARIES, capture_output=True, text=True)


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


def test_logits_are_those_of_transformers(made):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(made / "checkpoint").eval()
    tokens = [int(token) for token in ",".join(BATCHES).split(",")]
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).logits[0, -2:]
    found, _ = logits(made, "model.gguf")
    assert torch.allclose(torch.tensor(found), expected, atol=1e-5) and expected.abs().max() > 0.1


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
        ({"ENGRAM_PACK": "WIDER"}, "this pack is not the model's table: .* rows of 4 values, .* of 8"),
        ({"ENGRAM_PACK": "LONGER"}, "this pack is not the model's table: .* rows of 4 values, .* of 4"),
        ({"ENGRAM_PACK": "HALF"}, "this pack is not the model's table: .* rows of type f32, .* codec bf16"),
    ],
)
def test_what_is_wrong_ends_the_program(made, others, settings, message):
    places = {"PACK": str(made / "pack"), **others}
    settings = {name: places.get(value, value) for name, value in settings.items()}
    done = run(made, "hole.gguf", **backend(made, **settings))
    assert done.returncode == 1 and not done.stdout, done.stdout
    assert re.search(f"engram: .*{message}", done.stderr), done.stderr[-2_000:]


def test_another_codec_is_read_where_that_is_meant(made, others):
    settings = backend(made, ENGRAM_PACK=others["HALF"], ENGRAM_ANY_CODEC="1")
    found, _ = logits(made, "hole.gguf", **settings)
    expected, _ = logits(made, "model.gguf")
    assert found != expected, "the rows are rounded"
    assert torch.allclose(torch.tensor(found), torch.tensor(expected), atol=0.1)


def test_a_program_with_llama_cpp_inside_takes_rows_by_its_callback(made):
    expected, _ = logits(made, "model.gguf")
    done = embed(made, "hole.gguf", made / "pack")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert torch.equal(torch.tensor(json.loads(done.stdout)), torch.tensor(expected))
    assert f"engram: {13 * 16} rows from" in done.stderr


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        ("/nowhere", "/nowhere"),
        ("WIDER", "this pack is not the model's table: .* rows of 4 values, .* of 8"),
        ("LONGER", "this pack is not the model's table: .* rows of 4 values, .* of 4"),
        ("HALF", "this pack is not the model's table: .* rows of type f32, .* codec bf16"),
        ("SEED", "this pack is not the model's table: row id 0 is .* by the pack's scheme and .* by the model's hash"),
        ("EOS", "this pack is not the model's table: row id .* by the pack's scheme and .* by the model's hash"),
    ],
)
def test_such_a_program_is_told_what_is_wrong(made, others, pack, message):
    done = embed(made, "hole.gguf", others.get(pack, pack))
    assert done.returncode == 1 and not done.stdout, done.stdout
    assert re.search(f"embed: .*{message}", done.stderr), done.stderr[-2_000:]


def test_such_a_program_is_told_of_damage(made, tmp_path):
    done = embed(made, "hole.gguf", damaged(made, tmp_path))
    assert done.returncode == 1 and not done.stdout, done.stdout
    assert re.search("embed: .*pack", done.stderr), done.stderr[-2_000:]


def test_damage_stops_the_pass(made, tmp_path):
    done = run(made, "hole.gguf", **backend(made, ENGRAM_PACK=str(damaged(made, tmp_path))))
    assert "it does not compute" in done.stderr and "engram: " in done.stderr, done.stderr[-2_000:]


def damaged(made, tmp_path):
    pack = tmp_path / "pack"
    subprocess.run(["cp", "-r", made / "pack", pack], check=True)
    for shard in pack.glob("*/*.shard"):
        bytes_ = bytearray(shard.read_bytes())
        for place in range(4096, len(bytes_), 16):
            bytes_[place] ^= 1
        shard.write_bytes(bytes_)
    return pack
