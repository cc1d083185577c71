"""Makes small random checkpoints and the logits that transformers gives for them: python make.py

torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 numpy==2.4.6

Each checkpoint is a folder beside this file, as `save_pretrained` writes it, with golden.safetensors: `input_ids`
[batch, tokens], which fit in 32 bits, and `logits` [batch, tokens, vocabulary], of one prefill in float32.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM

HERE = Path(__file__).parent
BATCH, TOKENS = 2, 23
SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 80,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 16,
    "v_head_dim": 10,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "routed_scaling_factor": 1.7,
}
GROUPS = {"n_group": 4, "topk_group": 2}
PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 50.0,
    "factor": 4.0,
    "beta_fast": 4,
    "beta_slow": 1,
    "original_max_position_embeddings": 32,
}


def fill(model):
    """Values large enough that routing, biases and norms show in the logits."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("inv_freq"):
            continue
        if name.endswith("norm.weight"):
            tensor.normal_(1, 0.3)
        elif name.endswith(("mlp.gate.weight", "e_score_correction_bias", "bias")):
            tensor.normal_(0, 0.3)
        else:
            tensor.normal_(0, 0.15)


@torch.no_grad()
def make(name, model_class, config, dtype=torch.float32, shard="1GB"):
    torch.manual_seed(sum(name.encode()))
    model = model_class(config)
    fill(model)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink()
    # Read again: `to` has rounded the frequencies of the rotation too, which no checkpoint stores.
    model = model_class.from_pretrained(folder, dtype=torch.float32, **PLAIN).eval()
    ids = torch.randint(0, config.vocab_size, (BATCH, TOKENS))
    logits = model(ids).logits
    # If rounding could change an expert, the golden logits would not be one answer but a choice.
    apart = (model.double()(ids).logits - logits).abs().max().item()
    assert apart < 2e-5, f"{name}: float64 gives logits that are {apart} apart"
    save_file({"input_ids": ids.int(), "logits": logits}, folder / "golden.safetensors")
    print(f"{name}: logits have a deviation of {logits.std():.2f}; those of float64 are {apart:.1e} apart")


make(
    "v3_grouped",
    DeepseekV3ForCausalLM,
    DeepseekV3Config(**SIZES, **GROUPS, q_lora_rank=32, n_shared_experts=1, num_mtp_layers=0),
)
make(
    "v3_yarn",
    DeepseekV3ForCausalLM,
    DeepseekV3Config(
        **SIZES,
        **GROUPS,
        q_lora_rank=None,
        n_shared_experts=2,
        num_mtp_layers=0,
        norm_topk_prob=False,
        tie_word_embeddings=True,
        attention_bias=True,
        rope_interleave=False,
        rms_norm_eps=1e-3,
        max_position_embeddings=128,
        rope_parameters=YARN | {"mscale": 0.7, "mscale_all_dim": 1.1},
    ),
)
make(
    "v2_greedy",
    DeepseekV2ForCausalLM,
    DeepseekV2Config(**SIZES, q_lora_rank=None, n_shared_experts=1, topk_method="greedy"),
    torch.bfloat16,
)
make(
    "v2_limited",
    DeepseekV2ForCausalLM,
    DeepseekV2Config(
        **SIZES,
        **GROUPS,
        q_lora_rank=32,
        n_shared_experts=1,
        attention_bias=True,
        topk_method="group_limited_greedy",
        max_position_embeddings=128,
        rope_parameters=YARN | {"truncate": False},
    ),
    torch.bfloat16,
    "60KB",
)
