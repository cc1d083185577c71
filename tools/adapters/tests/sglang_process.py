"""SGLang's own classes as they are before a plugin has replaced any, to be put back after a test."""

from engram_adapters import settings
from engram_adapters import sglang as adapter
from sglang.srt.layers import engram, engram_staging
from sglang.srt.model_executor.model_runner_components.ngram_embedding_manager import NgramEmbeddingManager
from sglang.srt.models import qwen4_exp
from sglang.srt.plugins.hook_registry import HookRegistry

# A replacement reaches the names of modules that have imported a class, so no name here may stand for one.
_OWN = [
    (owner, name, vars(owner)[name])
    for owner, name in [
        (engram, "EngramEmbedding"),
        (engram_staging, "EngramEmbedding"),
        (engram_staging, "EngramRowStager"),
        (NgramEmbeddingManager, "from_model"),
        (qwen4_exp, "Qwen4ExpPinnedHostEmbedding"),
        (qwen4_exp.Qwen4ExpNGramEmbedding, "__init__"),
    ]
]


def own_embedding():
    """SGLang's `EngramEmbedding`, whatever is in its place."""
    return next(own for owner, name, own in _OWN if name == "EngramEmbedding")


def put_plugin(monkeypatch, pack):
    """Puts the plugin in place as SGLang does, for `pack`."""
    monkeypatch.setenv(settings.PACK, str(pack))
    adapter.register()
    HookRegistry.apply_hooks()


def put_back():
    HookRegistry.reset()
    for owner, name, own in _OWN:
        setattr(owner, name, own)
