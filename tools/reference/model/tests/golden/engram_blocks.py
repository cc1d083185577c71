"""Makes the golden values of the Engram blocks: python engram_blocks.py

numpy==2.4.6 torch==2.15.0 transformers==5.23.0 safetensors==0.8.0

The block of DeepSeek-V4.1-Flash and that of the demo are computed here in float64 from their descriptions; that of
Qwen3.8-Flash-Next by transformers.
"""

from pathlib import Path

import numpy
import torch
from safetensors.numpy import save_file
from transformers.models.qwen4_exp.configuration_qwen4_exp import Qwen4ExpTextConfig
from transformers.models.qwen4_exp.modeling_qwen4_exp import Qwen4ExpTextPLELayer

HERE = Path(__file__).parent
BATCH, TOKENS, COPIES, DIM = 2, 13, 4, 24
random = numpy.random.default_rng(38)


def normal(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(numpy.float32)


def save(name, **tensors):
    tensors = {key: numpy.ascontiguousarray(value, dtype=numpy.float32) for key, value in tensors.items()}
    save_file(tensors, HERE / f"{name}.safetensors")


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def rms(x, eps):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps)


def root(dot, sign):
    return numpy.sqrt(numpy.maximum(numpy.abs(dot), 1e-6)) * sign


def fused():
    values = 48
    wkv = normal((COPIES + 1) * DIM, values, scale=0.3)
    q_weight, k_weight = normal(COPIES, DIM), normal(COPIES, DIM)
    rows, hidden = normal(BATCH, TOKENS, values), normal(BATCH, TOKENS, COPIES, DIM)
    # Sizes at which an eps of 1e-6 would show, and products of zero.
    hidden[0, 2] *= 1e-4
    rows[1, 3] *= 1e-5
    rows[0, 5] = 0
    mask = numpy.ones((BATCH, TOKENS))
    mask[1, 6:9] = 0
    wide = numpy.float64
    projected = rows.astype(wide) @ wkv.astype(wide).T
    keys = projected[..., : COPIES * DIM].reshape(BATCH, TOKENS, COPIES, DIM)
    value = projected[..., COPIES * DIM :]
    weight = q_weight.astype(wide) * k_weight.astype(wide)
    dot = (rms(hidden.astype(wide), 1e-20) * weight * rms(keys, 1e-20)).sum(-1, keepdims=True) / numpy.sqrt(DIM)
    gate = sigmoid(root(dot, numpy.copysign(1.0, dot))) * mask[..., None, None]
    out = hidden + gate * value[:, :, None]
    save("fused", wkv=wkv, q_weight=q_weight, k_weight=k_weight, rows=rows, hidden=hidden, mask=mask, out=out)


def short_conv(x, taps, dilation):
    """x [batch, tokens, channels], taps [channels, kernel]"""
    kernel = taps.shape[1]
    before = (kernel - 1) * dilation
    padded = numpy.concatenate([numpy.zeros((x.shape[0], before, x.shape[2])), x], axis=1)
    return sum(padded[:, tap * dilation :][:, : x.shape[1]] * taps[:, tap] for tap in range(kernel))


def demo():
    values, kernel, dilation = 32, 4, 3
    key, key_bias = normal(COPIES, DIM, values, scale=0.3), normal(COPIES, DIM, scale=0.1)
    value, value_bias = normal(DIM, values, scale=0.3), normal(DIM, scale=0.1)
    key_norm, query_norm, conv_norm = (1 + normal(COPIES, DIM, scale=0.2) for _ in range(3))
    conv = normal(COPIES * DIM, kernel, scale=0.5)
    rows, hidden = normal(BATCH, TOKENS, values), normal(BATCH, TOKENS, COPIES, DIM)
    hidden[1, 4] = 0
    wide = numpy.float64
    keys = numpy.einsum("btv,cdv->btcd", rows.astype(wide), key.astype(wide)) + key_bias
    values_ = rows.astype(wide) @ value.astype(wide).T + value_bias
    tiny = numpy.finfo(numpy.float32).eps
    dot = (rms(keys, tiny) * key_norm * rms(hidden.astype(wide), tiny) * query_norm).sum(-1, keepdims=True)
    dot /= numpy.sqrt(DIM)
    gated = sigmoid(root(dot, numpy.sign(dot))) * values_[:, :, None]
    normed = (rms(gated, 1e-5) * conv_norm).reshape(BATCH, TOKENS, COPIES * DIM)
    mixed = short_conv(normed, conv.astype(wide), dilation)
    mixed = (mixed * sigmoid(mixed)).reshape(gated.shape)
    save(
        "demo",
        key=key.reshape(COPIES * DIM, values),
        key_bias=key_bias.reshape(COPIES * DIM),
        value=value,
        value_bias=value_bias,
        key_norm=key_norm,
        query_norm=query_norm,
        conv_norm=conv_norm,
        conv=conv[:, None],
        rows=rows,
        hidden=hidden,
        out=hidden + gated + mixed,
    )


def qwen():
    torch.manual_seed(4)
    config = Qwen4ExpTextConfig(
        vocab_size=97,
        hidden_size=DIM,
        hc_count=COPIES,
        num_hidden_layers=1,
        ple_layer_ids=[1],
        ple_embed_dim=48,
        ngram_size=3,
        heads_per_ngram=8,
        ngram_vocab_size_base=50,
        ple_conv_kernel_size=4,
        rms_norm_eps=1e-6,
        eos_token_id=96,
    )
    layer = Qwen4ExpTextPLELayer(config, 0, 0).double().eval()
    with torch.no_grad():
        for name, tensor in layer.named_parameters():
            tensor.normal_(0, 0.2 if "norm" in name else 0.4)
            tensor.copy_(tensor.float().double())
    seen = {}
    layer.ple_embedding.register_forward_hook(lambda _, __, output: seen.update(rows=output))
    hidden = torch.randn(BATCH, TOKENS, COPIES * DIM).double()
    tokens = torch.randint(0, 96, (BATCH, TOKENS))
    with torch.no_grad():
        added = layer(hidden, tokens, None)
    shape = (BATCH, TOKENS, COPIES, DIM)
    weights = dict(layer.named_parameters())
    # The checkpoint stores what norms add to one.
    norms = {f"{name}_norm": weights[f"norm_{name}.weight"].numpy(force=True) for name in ("key", "query", "conv")}
    save(
        "qwen",
        key=weights["key_proj.weight"].numpy(force=True),
        value=weights["value_proj.weight"].numpy(force=True),
        conv=weights["conv1d.weight"].numpy(force=True),
        rows=seen["rows"].numpy(force=True),
        hidden=hidden.reshape(shape).numpy(force=True),
        out=(hidden + added).reshape(shape).numpy(force=True),
        **{name: norm.reshape(COPIES, DIM) for name, norm in norms.items()},
    )


fused()
demo()
qwen()
