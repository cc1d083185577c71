"""vLLM's own n-gram embedding of LongCat-Flash-Lite on a processor: rows from a pack are those of vLLM's own table."""

from types import SimpleNamespace

import pytest
import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("vllm", reason="vllm is not installed")

import tiny_checkpoint
from engram_adapters import WrongTable, identity
from engram_adapters import vllm as adapter
from vllm.config import set_current_vllm_config
from vllm_process import MAX_TOKENS, config, join_groups

EOS = 2

adapter.register()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = tiny_checkpoint.make(tmp_path_factory.mktemp("longcat"), "longcat-flash-lite")
    made.config.pad_token_id = 3
    made.config.torch_dtype = "bfloat16"
    return made


@pytest.fixture
def longcat(monkeypatch):
    join_groups()
    from vllm.model_executor.models import longcat_flash_ngram

    stand_ins.hash_ngrams(monkeypatch, longcat_flash_ngram)
    return longcat_flash_ngram


class Words(torch.nn.Module):
    """The model's word embedding, with few words in the place of 131,072."""

    def __init__(self, width, generator):
        super().__init__()
        self.rows = torch.randn(64, width, generator=generator).to(torch.bfloat16)

    def forward(self, ids):
        return self.rows[ids % 64]


def make(longcat, model, pack, **changed):
    fields = SimpleNamespace(**{**vars(model.config), **changed})
    generator = torch.Generator().manual_seed(1)
    with set_current_vllm_config(config(pack)):
        made = longcat.NgramEmbedding(fields, Words(fields.hidden_size, generator))
    made.oe_projection.data.normal_(0, 0.1, generator=generator)
    return made


def load(embedding, model):
    """As vLLM's model does, name by name."""
    prefix = "model."
    return {embedding.load_weight(name.removeprefix(prefix), model.tensor(name)) for name in model.names()}


def state(longcat, embedding):
    """What vLLM's runner makes of a loaded model."""
    model_config = SimpleNamespace(
        dtype=torch.bfloat16, enable_prompt_embeds=False, uses_mrope=False, multimodal_config=None,
        max_model_len=MAX_TOKENS, get_inputs_embeds_size=lambda: embedding.config.hidden_size,
    )
    vllm_config = SimpleNamespace(
        model_config=model_config,
        scheduler_config=SimpleNamespace(max_num_seqs=4, max_num_batched_tokens=MAX_TOKENS),
    )
    model = SimpleNamespace(config=embedding.config, model=SimpleNamespace(ngram_embeddings=embedding))
    return longcat.LongcatNgramModelState(vllm_config, model, None, torch.device("cpu"))


def text(length, seed):
    return torch.randint(4, 131_000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def steps():
    """Of each request in a step: its place in the runner, all its tokens, and which are computed."""
    first, second, third = text(24, 1), text(17, 2), text(9, 3)
    first[9] = second[0] = EOS
    return [
        [(0, first, 0, 8), (2, second, 0, 10)],
        [(2, second, 10, 11), (0, first, 8, 12), (1, third, 0, 5)],
        [(1, third, 5, 6), (2, second, 11, 17), (0, first, 12, 24)],
    ]


def run(state, requests):
    """The input embeddings of a step, by the runner's own calls."""
    for slot, tokens, start, _ in requests:
        if start == 0:
            new = SimpleNamespace(num_computed_tokens=0, prefill_token_ids=tokens, prompt_token_ids=tokens)
            state.add_request(slot, new)
    lengths = [end - start for _, _, start, end in requests]
    count = sum(lengths)
    batch = SimpleNamespace(
        num_tokens=count,
        num_tokens_after_padding=count + 2,
        num_reqs=len(requests),
        input_ids=torch.tensor([token for _, tokens, start, end in requests for token in tokens[start:end]] + [0, 0]),
        idx_mapping=torch.tensor([slot for slot, *_ in requests], dtype=torch.int32),
        query_start_loc=torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0),
    )
    return state.prepare_inputs(batch, None)["inputs_embeds"][:count].clone()


def test_a_step_embeds_as_with_the_table(longcat, model):
    theirs, ours = make(longcat, model, None), make(longcat, model, model.pack)
    loaded = {"ngram_embeddings.oe_embedder.weight", "ngram_embeddings.oe_projection"}
    assert load(theirs, model) == load(ours, model) == loaded
    words_alone = make(longcat, model, None)
    load(words_alone, model)
    words_alone.oe_embedder.weight.data.zero_()
    states = [state(longcat, each) for each in (theirs, ours, words_alone)]
    for requests in steps():
        expected, found, others = (run(each, requests) for each in states)
        assert torch.equal(expected, found)
        assert not torch.equal(expected, others), "the table matters"


def test_the_table_is_no_part_of_the_model_and_dropped_unread(longcat, model):
    ours = make(longcat, model, model.pack)
    assert {name for name, _ in ours.named_parameters()} == {"oe_projection"}

    class Unread:
        """A tensor that may not be looked at."""

    assert ours.load_weight("ngram_embeddings.embedders.3.weight", Unread()) == "ngram_embeddings.oe_embedder.weight"
    projection = torch.randn(ours.config.hidden_size, ours.oe_dim).to(torch.bfloat16)
    assert ours.load_weight("ngram_embeddings.post_projs.3.weight", projection) == "ngram_embeddings.oe_projection"
    assert torch.equal(ours.oe_projection.data[3], projection.t())


@pytest.mark.parametrize("size", [2, 3])
def test_each_rank_of_a_split_reads_the_rows_that_it_owns(longcat, model, monkeypatch, size):
    whole = make(longcat, model, None)
    load(whole, model)
    ids = torch.stack([torch.tensor(whole._offsets[:-1]), torch.tensor(whole._offsets[1:]) - 1])
    expected = whole.oe_embedder(ids)
    parts = []
    for rank in range(size):
        stand_ins.vllm_vocabulary_rank(monkeypatch, rank, size)
        theirs, ours = make(longcat, model, None), make(longcat, model, model.pack)
        load(theirs, model)
        parts.append(ours.oe_embedder(ids))
        assert torch.equal(parts[-1], theirs.oe_embedder(ids)) and not torch.equal(parts[-1], expected)
    assert torch.equal(sum(parts), expected) and expected.any()


def test_without_a_pack_the_table_is_vllms(longcat, model):
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    assert type(make(longcat, model, None).oe_embedder) is VocabParallelEmbedding


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ngram_vocab_size_ratio": 0.005}, "rows of the columns is .* in the pack, .* in the model"),
        ({"emb_split_num": 3}, "rows of the columns is .* in the pack, .* in the model"),
        ({"hidden_size": 1_536}, "values of a row is 256 in the pack, 128 in the model"),
        ({"vocab_size": 131_070, "ngram_vocab_size_ratio": 0.0039025}, "row id .* by the pack's scheme"),
        ({"eos_token_id": 7}, "row id 384 of 768 is .* by the pack's scheme"),
        ({"torch_dtype": "float32"}, "codec is bf16 in the pack, f32 in the model.*ENGRAM_ANY_CODEC"),
    ],
)
def test_another_models_table_is_refused_by_name(longcat, model, changed, reason):
    with pytest.raises(WrongTable, match=f"{model.pack}.*{reason}"):
        make(longcat, model, model.pack, **changed)


def test_another_codec_is_read_where_that_is_meant(longcat, model, monkeypatch):
    monkeypatch.setenv(identity.ANY_CODEC, "1")
    ours = make(longcat, model, model.pack, torch_dtype="float32")
    theirs = make(longcat, model, None)
    load(theirs, model)
    ids = torch.arange(40)
    assert torch.equal(ours.oe_embedder(ids), theirs.oe_embedder(ids).float())


def test_another_version_is_refused(longcat, model, monkeypatch):
    monkeypatch.setattr(identity.metadata, "version", lambda name: "0.34.0")
    with pytest.raises(WrongTable, match="vllm is 0.34.0; tried were 0.33.0"):
        make(longcat, model, model.pack)
