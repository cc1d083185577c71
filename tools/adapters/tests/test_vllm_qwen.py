"""vLLM's own N-gram embedding of Qwen3.8-Flash-Next on a processor: rows from a pack are those of vLLM's own table."""

from types import SimpleNamespace

import pytest
import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("vllm", reason="vllm is not installed")

import engram_tables
import tiny_checkpoint
from engram_adapters import WrongTable, identity
from engram_adapters import vllm as adapter
from vllm.config import set_current_vllm_config
from vllm_process import config, join_groups

EOS = 248_044

adapter.register()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_checkpoint.make(tmp_path_factory.mktemp("qwen"), "qwen3.8-flash-next")


@pytest.fixture
def ngram(monkeypatch):
    join_groups()
    from vllm.models.qwen4_exp.common import ngram_embedding as common
    from vllm.models.qwen4_exp.nvidia import ngram_embedding

    stand_ins.map_memory(monkeypatch, common)
    stand_ins.use_streams(monkeypatch)
    stand_ins.take_masks_of_numbers(monkeypatch)
    return ngram_embedding


@pytest.fixture(scope="module")
def bf16(model, tmp_path_factory):
    return tiny_checkpoint.bf16(model, tmp_path_factory.mktemp("bf16"))


@pytest.fixture(scope="module")
def nvfp4(model, tmp_path_factory):
    return tiny_checkpoint.nvfp4(model, tmp_path_factory.mktemp("nvfp4"))


def make(ngram, model, pack, cpu_offload=True, layer=1, **changed):
    fields = {**vars(model.config), "ple_embedding_dtype": "float8_e4m3fn", **changed}
    torch.set_default_dtype(torch.bfloat16)
    try:
        with set_current_vllm_config(config(pack, cpu_offload)):
            return ngram.Qwen4ExpNGramEmbedding(
                SimpleNamespace(**fields), model.config.ple_embed_dim, 0, 64, data_parallel_rank=0,
                prefix=f"model.layers.{layer}.ple.ple_embedding",
            )
    finally:
        torch.set_default_dtype(torch.float32)


def load(embedding, model):
    prefix = "model.language_model.layers.1.ple.ple_embedding."
    names = [name for name in model.names() if name.startswith(prefix)]
    return embedding.load_weights((name.removeprefix(prefix), model.tensor(name)) for name in names)


def load_nvfp4(embedding, model):
    """In the parts that vLLM wants, cut from the tensors of the checkpoint."""
    prefix = "model.language_model.layers.1.ple.ple_embedding.ngram_embedding."
    parts = []
    for name in ("weight", "weight_scale"):
        whole = model.tensor(prefix + name)
        rows = -(-len(whole) // embedding.split_ngram_parts)
        parts += [(f"ngram_embedding.shard_{at}.{name}", part) for at, part in enumerate(whole.split(rows))]
    parts.append(("ngram_embedding.weight_scale_2", model.tensor(prefix + "weight_scale_2")))
    return embedding.load_weights(iter(parts))


def steps():
    """Tokens of a step, where each request's begin, and the two tokens before them."""
    generator = torch.Generator().manual_seed(3)
    text = torch.randint(0, 248_000, (40,), generator=generator)
    text[9] = EOS
    return [
        (text[:18], [0, 18], [[EOS, EOS]]),
        (text[18:30], [0, 1, 12], [text[16:18].tolist(), [EOS, EOS]]),
        (text[5:8], [0, 1, 2, 3], [[EOS, 7], [5, EOS], [8, 9]]),
    ]


@pytest.mark.parametrize("kind", ["fp8", "bf16"])
def test_a_step_has_the_rows_of_the_table(ngram, model, bf16, kind):
    made, changed = (model, {}) if kind == "fp8" else (bf16, {"ple_embedding_dtype": None})
    theirs, ours = make(ngram, made, None, **changed), make(ngram, made, made.pack, **changed)
    assert "ngram_embedding.weight" in load(theirs, made) and "ngram_embedding.weight" in load(ours, made)
    weight = ours.ngram_embedding.weight
    assert weight.untyped_storage().nbytes() == 160 * weight.element_size() and not weight.float().any()
    for tokens, starts, before in steps():
        inputs = (tokens.int(), torch.tensor(starts, dtype=torch.int32), torch.tensor(before, dtype=torch.int32))
        results = []
        for each in (theirs, ours):
            each.start_prefetch(*inputs)
            rows = each(torch.empty(0), *inputs)
            results.append((rows.view(torch.uint8), each.ngram_embedding.dequantize(rows, torch.bfloat16)))
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1]) and results[1][1].any()


def test_a_step_has_the_rows_of_an_nvfp4_table(ngram, nvfp4, monkeypatch):
    from vllm.models.qwen4_exp.common import ngram_embedding as common

    theirs, ours = (make(ngram, nvfp4, pack, ple_embedding_dtype="nvfp4") for pack in (None, nvfp4.pack))
    stand_ins.map_scales(monkeypatch, common, theirs.ngram_embedding)
    loaded = {f"ngram_embedding.{name}" for name in ("weight", "weight_scale", "weight_scale_2")}
    assert load_nvfp4(theirs, nvfp4) == load_nvfp4(ours, nvfp4) == loaded
    table = ours.ngram_embedding
    assert [table.weight.untyped_storage().nbytes(), table.weight_scale.untyped_storage().nbytes()] == [80, 10]
    assert not table.weight.any() and table.weight_scale_2 == theirs.ngram_embedding.weight_scale_2
    for tokens, starts, before in steps():
        inputs = (tokens.int(), torch.tensor(starts, dtype=torch.int32), torch.tensor(before, dtype=torch.int32))
        results = []
        for each in (theirs, ours):
            each.ngram_embedding.embedding_method.process_weights_after_loading(each.ngram_embedding)
            each.start_prefetch(*inputs)
            results.append(each.ngram_embedding.dequantize(each(torch.empty(0), *inputs), torch.bfloat16))
        assert results[0].dtype == torch.bfloat16 and torch.equal(*results) and results[0].any()


def test_each_rank_of_a_split_gives_the_rows_that_it_owns(ngram, model):
    theirs, ours = make(ngram, model, None), make(ngram, model, model.pack)
    load(theirs, model)
    ids = theirs.compute_ngram_ids(*(torch.as_tensor(each).int() for each in steps()[0]))
    size = theirs.ngram_embedding.org_vocab_size
    whole = theirs.ngram_embedding.weight.data.view(torch.uint8)
    for start, end in ((0, size // 2), (size // 2, size)):
        for each in (theirs, ours):
            each.ngram_embedding.shard_indices = SimpleNamespace(org_vocab_start_index=start, org_vocab_end_index=end)
        # A rank's table begins with the first row that it owns.
        theirs.ngram_embedding._uva_weight = whole[start:end].view(torch.float8_e4m3fn)
        results = [each.ngram_embedding._lookup(ids).view(torch.uint8) for each in (theirs, ours)]
        assert torch.equal(*results) and results[0].any()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ngram_vocab_size_base": 900}, "rows of the columns is .* in the pack, .* in the model"),
        ({"eos_token_id": 5}, "row id 0 of 1024 is .* by the pack's scheme"),
        ({"seed": 7}, "row id 0 of 1024 is .* by the pack's scheme"),
        ({"ple_embedding_dtype": None}, "codec is fp8_e4m3_scaled in the pack, bf16 in the model.*ENGRAM_ANY_CODEC"),
        ({"ple_embedding_dtype": "nvfp4"}, "codec is fp8_e4m3_scaled in the pack, nvfp4 in the model.*ANY_CODEC"),
        ({"cpu_offload": False}, "only with `cpu_offload`"),
    ],
)
def test_another_models_table_is_refused_by_name(ngram, model, changed, reason):
    with pytest.raises(WrongTable, match=f"{model.pack}.*{reason}"):
        make(ngram, model, model.pack, **changed)


def test_another_layer_is_refused_by_name(ngram, model):
    with pytest.raises(WrongTable, match=f"{model.pack}: layer is 3 in the model, the pack has \\[1\\]"):
        make(ngram, model, model.pack, layer=3)


def test_another_codec_is_read_where_that_is_meant_and_rows_go_decoded(ngram, model, nvfp4, monkeypatch):
    monkeypatch.setenv(identity.ANY_CODEC, "1")
    ours = make(ngram, model, model.pack, ple_embedding_dtype=None).ngram_embedding
    ids = torch.arange(40)
    expected = torch.as_tensor(engram_tables.open(model.pack).lookup(1, ids)).to(torch.bfloat16)
    assert torch.equal(ours._lookup(ids), expected) and expected.any()
    with pytest.raises(WrongTable, match="codec is nvfp4 in the pack, fp8_e4m3_scaled in the model$"):
        make(ngram, nvfp4, nvfp4.pack)


def test_another_version_is_refused(ngram, model, monkeypatch):
    monkeypatch.setattr(identity.metadata, "version", lambda name: "0.34.0")
    with pytest.raises(WrongTable, match="vllm is 0.34.0; tried were 0.33.0"):
        make(ngram, model, model.pack)
