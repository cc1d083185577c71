"""Whole models of transformers on a processor: with rows from a pack they compute what they compute without."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers.models.qwen4_exp", reason="transformers with qwen4_exp is not installed")

import engram_tables
import tiny_qwen
from engram_adapters import WrongTable
from engram_adapters.transformers import tables_from
from transformers import AutoModelForCausalLM
from transformers.monkey_patching import get_patch_mapping

TABLE = "ngram_embedding.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, its pack, and the model as transformers loads it."""
    folder = tmp_path_factory.mktemp("qwen")
    tiny_qwen.save(folder / "checkpoint")
    engram_tables.build(folder / "checkpoint", folder / "pack", progress=False)
    return folder, load(folder / "checkpoint")


def load(checkpoint, **settings):
    return AutoModelForCausalLM.from_pretrained(checkpoint, **settings).eval()


@pytest.fixture(params=["direct", "memory"])
def ours(made, request):
    folder, _ = made
    with tables_from(folder / "pack", reader=request.param, cache=0):
        model = load(folder / "checkpoint")
    return model


def embedding(model):
    return model.model.layers[1].ple.ple_embedding.ngram_embedding


def prompts(batch, length, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 512, (batch, length), generator=generator)
    ids[0, length // 3] = tiny_qwen.EOS
    return ids


def test_the_table_is_no_part_of_the_model(made, ours):
    _, theirs = made
    assert any(TABLE in name for name, _ in theirs.named_parameters())
    assert not any("ngram_embedding" in name for name in ours.state_dict())
    kept = {name for name, _ in theirs.named_parameters() if TABLE not in name}
    assert {name for name, _ in ours.named_parameters()} == kept
    assert not get_patch_mapping(), "models that are made later are transformers' own"


def test_logits_are_equal_to_the_bit(made, ours):
    _, theirs = made
    for ids in [prompts(2, 23), prompts(1, 1), prompts(3, 2)]:
        with torch.no_grad():
            assert torch.equal(ours(ids).logits, theirs(ids).logits)
    rows = embedding(ours)
    assert (rows.asked_ahead, rows.looked_up) == (3, 0), "rows are asked for before the first layer computes"


def test_padded_batches_are_equal(made, ours):
    _, theirs = made
    ids, mask = prompts(3, 17), torch.ones(3, 17, dtype=torch.long)
    mask[0, :5] = mask[2, :11] = 0
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).logits
        assert torch.equal(ours(ids, attention_mask=mask).logits, expected)
    assert embedding(ours).looked_up == 0


@pytest.mark.parametrize(
    "how",
    [
        dict(do_sample=False),
        dict(do_sample=True, temperature=1.5),
        dict(do_sample=False, num_beams=3),
    ],
    ids=["greedy", "sampled", "beams"],
)
def test_generation_is_equal(made, ours, how):
    _, theirs = made
    ids = prompts(2, 12)
    mask = torch.ones_like(ids)

    def run(model):
        torch.manual_seed(7)
        return model.generate(ids, attention_mask=mask, max_new_tokens=12, **how)

    assert torch.equal(run(ours), run(theirs))
    rows = embedding(ours)
    assert rows.asked_ahead > 1 and rows.looked_up == 0


def test_half_precision_is_equal(made, tmp_path):
    tiny_qwen.save(tmp_path / "half", dtype=torch.bfloat16)
    engram_tables.build(tmp_path / "half", tmp_path / "pack", progress=False)
    for checkpoint, pack in [(tmp_path / "half", tmp_path / "pack"), (made[0] / "checkpoint", made[0] / "pack")]:
        theirs = load(checkpoint, dtype=torch.bfloat16)
        with tables_from(pack):
            ours = load(checkpoint, dtype=torch.bfloat16)
        with torch.no_grad():
            logits = ours(prompts(2, 23)).logits
        assert logits.dtype == torch.bfloat16
        with torch.no_grad():
            assert torch.equal(logits, theirs(prompts(2, 23)).logits)


def test_a_checkpoint_without_its_table_is_enough(made, tmp_path):
    folder, theirs = made
    lean = tmp_path / "lean"
    command = Path(sys.executable).with_name("engram-pack")
    subprocess.run([command, "-q", "lean", folder / "checkpoint", folder / "pack", "-o", lean], check=True)
    with tables_from(folder / "pack"):
        ours, report = AutoModelForCausalLM.from_pretrained(lean, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    with torch.no_grad():
        assert torch.equal(ours.eval()(prompts(2, 23)).logits, theirs(prompts(2, 23)).logits)


def test_a_failed_pass_does_no_harm_to_the_next(made, ours):
    _, theirs = made
    handle = ours.model.layers[0].mlp.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="meant to happen"), torch.no_grad():
        ours(prompts(2, 23))
    handle.remove()
    with torch.no_grad():
        assert torch.equal(ours(prompts(2, 9, seed=3)).logits, theirs(prompts(2, 9, seed=3)).logits)


def fail(*_):
    raise RuntimeError("this is meant to happen")


def test_copies_of_a_model_read_rows_too(made, ours):
    _, theirs = made
    with torch.no_grad():
        expected = theirs(prompts(2, 7)).logits
        assert torch.equal(copy.deepcopy(ours)(prompts(2, 7)).logits, expected)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ngram_vocab_size_base": 6_000}, "rows of the columns is .* in the pack, .* in the model"),
        ({"ple_embed_dim": 128}, "values of a row is 4 in the pack, 8 in the model"),
        ({"ple_layer_ids": [3]}, r"layer is 2 in the model, the pack has \[1\]"),
    ],
)
def test_another_models_table_is_refused(made, tmp_path, changed, reason):
    folder, _ = made
    tiny_qwen.save(tmp_path / "other", **changed)
    with tables_from(folder / "pack"), pytest.raises(WrongTable, match=f"{folder}/pack.*{reason}"):
        load(tmp_path / "other")
    # transformers itself would go on with our classes.
    assert any(TABLE in name for name, _ in load(tmp_path / "other").named_parameters())


@pytest.mark.parametrize("changed", [{"config_seed": 4_321}, {"eos_token_id": 9}, {"eos_token_id": [9, 2]}])
def test_a_table_of_another_hash_is_refused_in_the_first_pass(made, tmp_path, changed):
    folder, _ = made
    tiny_qwen.save(tmp_path / "checkpoint", **changed)
    with tables_from(folder / "pack"):
        model = load(tmp_path / "checkpoint")
    with pytest.raises(WrongTable, match="by the pack's scheme"), torch.no_grad():
        model(prompts(1, 4))


def test_the_first_of_several_end_tokens_is_that_of_the_hash(made, tmp_path):
    folder, theirs = made
    tiny_qwen.save(tmp_path / "checkpoint", eos_token_id=[tiny_qwen.EOS, 9])
    engram_tables.build(tmp_path / "checkpoint", tmp_path / "pack", progress=False)
    for pack in (folder / "pack", tmp_path / "pack"):
        with tables_from(pack):
            ours = load(tmp_path / "checkpoint")
        with torch.no_grad():
            assert torch.equal(ours(prompts(2, 23)).logits, theirs(prompts(2, 23)).logits)


def test_other_versions_are_refused(made, monkeypatch):
    monkeypatch.setattr("engram_adapters.transformers.TRIED", ("4.9.",))
    with pytest.raises(WrongTable, match="tried were 4.9."), tables_from(made[0] / "pack"):
        pass
    monkeypatch.setenv("ENGRAM_ANY_ENGINE_VERSION", "1")
    with tables_from(made[0] / "pack"):
        pass
