"""Writes a checkpoint of `qwen4_exp` as GGUF by llama.cpp's own conversion, without a vocabulary.

python convert.py SOURCE_OF_LLAMA_CPP CHECKPOINT OUT
"""

import sys
from pathlib import Path

source, checkpoint, out = map(Path, sys.argv[1:])
sys.path[:0] = [str(source), str(source / "gguf-py")]

import gguf
from conversion.qwen4exp import Qwen4ExpTextModel


def no_vocabulary(self):
    self.gguf_writer.add_tokenizer_model("no_vocab")
    self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])


Qwen4ExpTextModel.set_vocab = no_vocabulary
fields = Qwen4ExpTextModel.load_hparams(checkpoint, False)
Qwen4ExpTextModel(checkpoint, gguf.LlamaFileType.ALL_F32, out, hparams=fields).write()
