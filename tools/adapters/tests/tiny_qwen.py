"""A small `qwen4_exp` model of transformers with random weights, saved as a checkpoint."""

import torch
from transformers.models.qwen4_exp.configuration_qwen4_exp import Qwen4ExpTextConfig
from transformers.models.qwen4_exp.modeling_qwen4_exp import Qwen4ExpForCausalLM

EOS = 2


def config(**changed):
    fields = dict(
        vocab_size=512, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4,
        moe_intermediate_size=16, shared_expert_intermediate_size=16, num_experts=4, num_experts_per_tok=2, hc_lowrank=8,
        ple_layer_ids=[2], ple_embed_dim=64, ngram_vocab_size_base=5_000, split_ngram_parts=8, eos_token_id=EOS,
        pad_token_id=0, indexer_n_heads=2, indexer_kv_heads=1, indexer_head_dim=16, indexer_budget=16,
        indexer_compress_ratio=4,
        # As published. Without it transformers takes silu, and llama.cpp sigmoid all the same.
        output_gate_type="sigmoid",
        rope_parameters={
            "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1],
        },
    )
    return Qwen4ExpTextConfig(**{**fields, **changed})


def save(folder, seed=0, dtype=torch.float32, config_seed=None, **changed):
    """Makes a model and writes it to `folder`; `config_seed` is that of its hash."""
    torch.manual_seed(seed)
    if config_seed is not None:
        changed["seed"] = config_seed
    model = Qwen4ExpForCausalLM(config(**changed)).eval()
    for name, parameter in model.named_parameters():
        # As they begin, the table would hardly matter.
        if "ngram_embedding" in name:
            parameter.data.normal_(0, 1)
        elif "conv1d" in name:
            parameter.data.normal_(0, 0.3)
    model.to(dtype).save_pretrained(folder)
