"""SGLang's own N-gram embedding of Qwen3.8-Flash-Next on a processor: rows from a pack are those of its own table."""

from types import SimpleNamespace

import pytest
import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("sglang.srt.models.qwen4_exp", reason="sglang, or a package that it imports, is not installed")

import engram_tables
import sglang_process
import tiny_checkpoint
from engram_adapters import WrongTable, identity, sglang_qwen
from sglang.srt.configs.qwen4_exp import Qwen4ExpTextConfig
from sglang.srt.managers.schedule_batch import ForwardMode
from sglang.srt.model_executor.forward_context import ForwardContext, forward_context
from sglang.srt.model_executor.model_runner_components.ngram_embedding_manager import NgramEmbeddingManager
from sglang.srt.models import qwen4_exp

EOS = 248_044


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_checkpoint.make(tmp_path_factory.mktemp("qwen"), "qwen3.8-flash-next")


@pytest.fixture(scope="module")
def bf16(model, tmp_path_factory):
    return tiny_checkpoint.bf16(model, tmp_path_factory.mktemp("bf16"))


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    stand_ins.sglang_rank(monkeypatch)
    stand_ins.use_streams(monkeypatch)
    stand_ins.allocate_unpinned(monkeypatch, qwen4_exp)
    stand_ins.take_masks_of_numbers(monkeypatch)
    yield
    sglang_process.put_back()


@pytest.fixture
def plugin(monkeypatch):
    return lambda pack: sglang_process.put_plugin(monkeypatch, pack)


class Layers(torch.nn.Module):
    """A model of SGLang's but for everything around the table: its own layer, and its own loader of weights."""

    load_weights = qwen4_exp.Qwen4ExpForConditionalGeneration.load_weights
    _load_qwen4_exp_ple_buffer = qwen4_exp.Qwen4ExpForConditionalGeneration._load_qwen4_exp_ple_buffer
    language_model_only = True
    start_layer, end_layer = 0, 4
    pp_group = SimpleNamespace(is_last_rank=True)

    def __init__(self, model, layer=1, **changed):
        super().__init__()
        fields = {"ple_embedding_dtype": "float8_e4m3fn", "ple_offload_embedding": True, **changed}
        text = {name: value for name, value in vars(model.config).items() if name != "model_type"}
        self.config = Qwen4ExpTextConfig(**{**text, "num_experts": None, "tie_word_embeddings": False, **fields})
        torch.set_default_dtype(torch.bfloat16)
        try:
            ple = qwen4_exp.Qwen4ExpPLELayer(self.config, prefix=f"model.layers.{layer}.ple", layer_id=layer)
        finally:
            torch.set_default_dtype(torch.float32)
        layers = torch.nn.ModuleList(torch.nn.Module() for _ in range(layer + 1))
        layers[layer].ple = ple
        self.model = torch.nn.Module()
        self.model.layers = layers

    @property
    def ple(self):
        return self.model.layers[-1].ple


def load(layers, model):
    prefix = "model.language_model.layers.1.ple.ple_embedding."
    names = [name for name in model.names() if name.startswith(prefix)]
    tensors = ((name, model.tensor(name)) for name in names)
    return layers.load_weights((name, each.reshape(1) if name.endswith("_scale") else each) for name, each in tensors)


def text(length, seed):
    return torch.randint(0, 248_000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def steps():
    """Of each request its place and the tokens of a step: prompts in chunks, guesses that fail, single tokens."""
    first, second = text(24, 1), text(17, 2)
    first[9] = second[0] = EOS
    return [
        (ForwardMode.EXTEND, [(1, first[:8]), (2, second[:4])]),
        (ForwardMode.EXTEND, [(2, second[4:11]), (1, first[8:22])]),
        (ForwardMode.TARGET_VERIFY, [(1, [5, 6, 7]), (2, [8, EOS, 9])]),
        (ForwardMode.DECODE, [(1, first[22:23]), (2, second[11:12])]),
        (ForwardMode.EXTEND, [(3, text(6, 3))]),
    ]


def run(layers, pool, mode, requests, ahead):
    """The rows of a step as SGLang's layer has them before its projections."""
    tokens = [token for _, each in requests for token in each]
    lengths = [len(each) for _, each in requests]
    is_extend = mode == ForwardMode.EXTEND
    batch = SimpleNamespace(
        forward_mode=mode, _original_forward_mode=None, tbo_parent_token_range=None, spec_algorithm=None,
        spec_info=SimpleNamespace(draft_token_num=3, topk=1) if mode == ForwardMode.TARGET_VERIFY else None,
        global_num_token_non_padded_cpu=None, extend_seq_lens_cpu=lengths if is_extend else None,
        extend_seq_lens=torch.tensor(lengths) if is_extend else None, out_cache_loc=None,
        req_pool_indices=torch.tensor([place for place, _ in requests]), mamba_track_indices=None,
        mamba_track_mask=None, global_dp_buffer_len=None,
    )
    with forward_context(ForwardContext(SimpleNamespace(req_to_token_pool=pool))):
        prepared = qwen4_exp._prepare_ple_batch(
            torch.tensor(tokens), batch, ngram_size=3, ngram_eos_token_id=EOS
        )
        if ahead:
            layers.ple.start_prefetch(prepared, batch)
            rows = layers.ple._consume_prefetched_embeddings(batch)
        else:
            rows = layers.ple.ple_embedding(prepared, batch)
        if mode != ForwardMode.TARGET_VERIFY:
            qwen4_exp._commit_ple_batch(prepared, batch)
    return rows


@pytest.mark.parametrize("kind", ["fp8", "bf16"])
@pytest.mark.parametrize("ahead", [True, False], ids=["prefetched", "in line"])
def test_steps_have_the_rows_of_the_table(model, bf16, plugin, kind, ahead):
    made, changed = (model, {}) if kind == "fp8" else (bf16, {"ple_embedding_dtype": None})
    theirs = Layers(made, **changed)
    plugin(made.pack)
    ours = Layers(made, **changed)
    loaded = load(theirs, made)
    assert "model.layers.1.ple.ple_embedding.ngram_embedding.weight" in loaded and load(ours, made) == loaded
    embedding = ours.ple.ple_embedding.ngram_embedding
    assert embedding.weight.untyped_storage().nbytes() == 160 * embedding.weight.element_size()
    assert not embedding.weight.float().any(), "nothing was copied to it"
    pools = [stand_ins.RequestPool(4, 2, EOS) for _ in range(2)]
    for mode, requests in steps():
        expected, found = (run(each, pool, mode, requests, ahead) for each, pool in zip((theirs, ours), pools))
        assert found.dtype == torch.bfloat16 and found.shape == (sum(len(each) for _, each in requests), 2560)
        assert torch.equal(expected, found) and expected.any()
    assert torch.equal(pools[0].contexts, pools[1].contexts)


@pytest.mark.parametrize("size", [2, 3])
def test_each_rank_of_a_split_gives_the_rows_that_it_owns(model, plugin, monkeypatch, size):
    theirs = []
    for rank in range(size):
        stand_ins.sglang_rank(monkeypatch, rank, size)
        theirs.append(Layers(model))
        load(theirs[-1], model)
    plugin(model.pack)
    ids = torch.arange(0, 16_826, 97)
    parts = []
    for rank in range(size):
        stand_ins.sglang_rank(monkeypatch, rank, size)
        expected, found = (each.ple.ple_embedding.ngram_embedding.gather(ids) for each in (theirs[rank], Layers(model)))
        assert torch.equal(expected, found)
        parts.append(found)
    stored = torch.as_tensor(engram_tables.open(model.pack).lookup(1, ids, dtype="stored"))
    assert torch.equal(sum(parts), stored.view(torch.float8_e4m3fn).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ngram_vocab_size_base": 900}, "rows of the columns is .* in the pack, .* in the model"),
        ({"ple_embed_dim": 1_280}, "values of a row is 160 in the pack, 80 in the model"),
        ({"eos_token_id": 5}, "row id 0 of 1024 is .* by the pack's scheme"),
        ({"seed": 7}, "row id 0 of 1024 is .* by the pack's scheme"),
        ({"ple_embedding_dtype": None}, "codec is fp8_e4m3_scaled in the pack, bf16 in the model.*ENGRAM_ANY_CODEC"),
        ({"ple_offload_embedding": False}, "only with --ple-offload-embedding"),
        ({"layer": 3}, "layer is 3 in the model, the pack has \\[1\\]"),
    ],
)
def test_another_models_table_is_refused_by_name(model, plugin, changed, reason):
    plugin(model.pack)
    with pytest.raises(WrongTable, match=f"{model.pack}.*{reason}"):
        Layers(model, **changed)


def test_another_codec_is_never_read_for_an_fp8_table(model, bf16, plugin, monkeypatch):
    monkeypatch.setenv(identity.ANY_CODEC, "1")
    plugin(bf16.pack)
    with pytest.raises(WrongTable, match="codec is bf16 in the pack, fp8_e4m3_scaled in the model$"):
        Layers(model)


def test_a_server_whose_plugin_another_one_replaced_stops(model, plugin):
    theirs = Layers(model)
    plugin(model.pack)
    with pytest.raises(WrongTable, match="Qwen4ExpPinnedHostEmbedding is sglang.* not the one that reads the pack"):
        NgramEmbeddingManager.from_model(model=theirs)
    assert isinstance(Layers(model).ple.ple_embedding.ngram_embedding, sglang_qwen.PackPLEEmbedding)
