"""Makes small random models with hyper-connections and Engram blocks and their logits: python engram_models.py

torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 numpy==2.4.6 tokenizers==0.23.3

Each model is a folder beside this file: a checkpoint of one file with the n-gram tables in it, tokenizer.json where
there are any, and golden.safetensors: `input_ids` [batch, tokens] and `logits` [batch, tokens, vocabulary] of one
prefill in float32. Attention and experts are those of DeepSeek-V3 and hyper-connections those of DeepSeek-V4, both by
transformers, as is the block of Qwen3.8-Flash-Next; the blocks of DeepSeek-V4.1-Flash and of the demo, without the
rounding of activations, and all that addresses their rows are computed here from their descriptions.
"""

import shutil
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.masking_utils import create_causal_mask
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4HyperConnection, DeepseekV4HyperHead
from transformers.models.qwen4_exp.modeling_qwen4_exp import Qwen4ExpTextPLELayer

# With another number of threads the last bits of the logits are others.
torch.set_num_threads(1)
HERE = Path(__file__).parent
BATCH, TOKENS, COPIES, DIM = 3, 23, 4, 64
SIZES = {
    "hidden_size": DIM,
    "intermediate_size": 48,
    "moe_intermediate_size": 8,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 16,
    "v_head_dim": 10,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 1.7,
    "num_mtp_layers": 0,
    "hc_mult": COPIES,
    "hc_eps": 1e-6,
}
PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}

VOCABULARY = 320
BOS, EOS, IMAGE = "<bos>", "<eos>", "<image>"
# Variants of one word, a letter that is also the name of a byte (\xf0), and white space of several kinds.
TEXT = """The sea is the sea. the Sea is THE SEA, and the sea sees the stone.
THE STONE and the stone: The Stone stands and THE SEA stands.

A caf\u00e9, a CAF\u00c9, a cafe. The caf\u00e9 and the cafe stand on the stone;\tthe caf\u00e9 is THE CAFE.
\u00f0e sea \u00f0 \u00f0 and \u00f0at stone, \u00d0 \u00d0 \u00d0at sea.  The  stone  is  the  sea.\r\n\tThe sea.
A stranger sings of seven ships that sank near the stone, and THE STRANGER SINGS.
"""
SEQUENCES = [
    f"{BOS}The sea is the sea and THE SEA, \u00f0e caf\u00e9\tis a CAFE.\r\n\n\u00f0 \u00d0 the sea is the sea.",
    f"the sea{IMAGE}{IMAGE}{IMAGE} the sea and the stone{IMAGE}the sea and THE STONE and the sea is the sea.",
    f"the stone is{EOS}the stone is the sea.{EOS}{EOS}The Stone is{EOS} zebra, the stone is the stone is the sea",
]


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 3, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    # Last, so that the compressed id of the pad token is another than its raw id.
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (BOS, EOS, IMAGE)])
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def compress(tokenizer):
    """Compressed id of each token: one for all that normalise to the same text"""
    normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.NFD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[ \t\r\n]+"), " "),
            normalizers.Replace(Regex(r"^ $"), "\ue000"),
            normalizers.Strip(),
            normalizers.Replace("\ue000", " "),
        ]
    )
    classes, compressed = {}, []
    for token in range(VOCABULARY):
        text = tokenizer.decode([token], skip_special_tokens=False)
        key = tokenizer.id_to_token(token) if "\ufffd" in text else normalizer.normalize_str(text) or text
        compressed.append(classes.setdefault(key, len(classes)))
    return numpy.array(compressed), len(classes)


TOKENIZER = train()
TOKEN_MAP, CLASSES = compress(TOKENIZER)
BOS_ID, EOS_ID, IMAGE_ID = map(TOKENIZER.token_to_id, (BOS, EOS, IMAGE))
assert CLASSES < VOCABULARY - 40 and TOKEN_MAP[EOS_ID] != EOS_ID
TEXT_IDS = torch.tensor([TOKENIZER.encode(text).ids[:TOKENS] for text in SEQUENCES])


def buckets(layers, starts, heads):
    """For each layer a prime for each order and head; no prime twice"""
    seen, primes = set(), []
    for _ in layers:
        primes.append([])
        for start in starts:
            size = start - 1
            for _ in range(heads):
                size += 1
                while size in seen or any(size % divisor == 0 for divisor in range(2, size)):
                    size += 1
                seen.add(size)
                primes[-1].append(size)
    return primes


def addresses(tokens, pad, layer, seed, primes, heads):
    """Rows [batch, tokens, columns] of compressed `tokens`; negative ones are dead"""
    orders = len(primes) // heads + 1
    bound = max(1, (2**63 - 1) // CLASSES // 2)
    multipliers = 2 * numpy.random.default_rng(seed + 10007 * layer).integers(0, bound, orders) + 1
    offsets = numpy.cumsum([0, *primes[:-1]])
    blocked = numpy.zeros(tokens.shape, bool)
    mixed, rows = numpy.zeros(tokens.shape, numpy.int64), []
    for back in range(orders):
        window = numpy.full(tokens.shape, -1)
        window[:, back:] = tokens[:, : tokens.shape[1] - back]
        # Nothing counts that is older than a dead token or the start.
        blocked |= window < 0
        mixed ^= numpy.where(blocked, pad, window) * multipliers[back]
        if back:
            columns = range((back - 1) * heads, back * heads)
            rows += [mixed % primes[column] + offsets[column] for column in columns]
    return torch.from_numpy(numpy.stack(rows, -1))


def rms(x, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)


def root(dot):
    return dot.abs().clamp_min(1e-6).sqrt()


def codes(*shape):
    """FP8 values with a deviation of 60"""
    return nn.Parameter((torch.randn(shape) * 60).clamp(-448, 448).to(torch.float8_e4m3fn), requires_grad=False)


def powers(low, high, *shape):
    """UE8M0 scales from 2^low to 2^high"""
    biased = torch.randint(low + 127, high + 128, shape, dtype=torch.uint8)
    return nn.Parameter(biased.view(torch.float8_e8m0fnu), requires_grad=False)


class Fused(nn.Module):
    """The block of DeepSeek-V4.1-Flash"""

    NAME = "engram"
    GROUP = 32

    def __init__(self, config, layer):
        super().__init__()
        heads, orders = config.engram_n_heads, config.engram_max_ngram_size - 1
        layers = config.engram_layer_ids
        primes = buckets(layers, [config.engram_vocab_size] * orders, heads)[layers.index(layer)]
        assert sum(primes) == config.engram_num_embeddings[layers.index(layer)]
        self.address = {"pad": TOKEN_MAP[config.engram_pad_token_id], "layer": layer, "seed": 0}
        self.address |= {"primes": primes, "heads": heads}
        self.image, self.eps = config.image_token_id, config.rms_norm_eps
        width, group = config.engram_head_dim, self.GROUP
        height, columns = (COPIES + 1) * DIM, width * len(primes)
        self.embed, self.wkv = nn.Module(), nn.Module()
        self.embed.weight, self.embed.scale = codes(sum(primes), width), powers(-8, -5, sum(primes), width // group)
        self.wkv.weight, self.wkv.scale = codes(height, columns), powers(-12, -9, height // group, columns // group)
        self.q_weight = nn.Parameter(torch.empty(COPIES, DIM, dtype=torch.bfloat16))
        self.k_weight = nn.Parameter(torch.empty(COPIES, DIM, dtype=torch.bfloat16))

    def forward(self, stream, ids):
        dead = ids == self.image
        rows = addresses(numpy.where(dead, -1, TOKEN_MAP[ids]), **self.address)
        table = self.embed.weight * self.embed.scale.repeat_interleave(self.GROUP, 1)
        tiles = self.wkv.scale.repeat_interleave(self.GROUP, 0).repeat_interleave(self.GROUP, 1)
        projected = table[rows].flatten(2) @ (self.wkv.weight * tiles).T
        keys, value = projected.split([COPIES * DIM, DIM], -1)
        keys = rms(keys.unflatten(-1, (COPIES, DIM)), self.eps)
        weight = self.q_weight * self.k_weight
        dot = (rms(stream, self.eps) * weight * keys).sum(-1, keepdim=True) * DIM**-0.5
        gate = torch.sigmoid(torch.copysign(root(dot), dot)) * ~dead[..., None, None]
        return stream + gate * value[:, :, None]


class Demo(nn.Module):
    """The block of the authors' demo"""

    NAME = "engram"

    def __init__(self, config, layer):
        super().__init__()
        heads, layers = config.n_head_per_ngram, config.layer_ids
        primes = buckets(layers, config.engram_vocab_size, heads)[layers.index(layer)]
        self.address = {"pad": TOKEN_MAP[config.pad_id], "layer": layer, "seed": config.seed}
        self.address |= {"primes": primes, "heads": heads}
        columns, channels = config.n_embed_per_ngram * (config.max_ngram_size - 1), COPIES * DIM
        self.multi_head_embedding, self.short_conv = nn.Module(), nn.Module()
        self.multi_head_embedding.embedding = nn.Embedding(sum(primes), config.n_embed_per_ngram // heads)
        self.value_proj = nn.Linear(columns, DIM)
        self.key_projs = nn.ModuleList(nn.Linear(columns, DIM) for _ in range(COPIES))
        # The demo's default is the machine epsilon of its float32, in float64 too.
        tiny = torch.finfo(torch.float32).eps
        self.norm1 = nn.ModuleList(nn.RMSNorm(DIM, tiny) for _ in range(COPIES))
        self.norm2 = nn.ModuleList(nn.RMSNorm(DIM, tiny) for _ in range(COPIES))
        self.short_conv.norms = nn.ModuleList(nn.RMSNorm(DIM, 1e-5) for _ in range(COPIES))
        self.before = (config.kernel_size - 1) * config.max_ngram_size
        shape = {"kernel_size": config.kernel_size, "dilation": config.max_ngram_size, "groups": channels}
        self.short_conv.conv = nn.Conv1d(channels, channels, **shape, bias=False)

    def forward(self, stream, ids):
        rows = self.multi_head_embedding.embedding(addresses(TOKEN_MAP[ids], **self.address)).flatten(2)
        value, gated, normed = self.value_proj(rows), [], []
        for copy in range(COPIES):
            key = self.norm1[copy](self.key_projs[copy](rows))
            dot = (key * self.norm2[copy](stream[:, :, copy])).sum(-1, keepdim=True) / DIM**0.5
            gated.append(torch.sigmoid(root(dot) * dot.sign()) * value)
            normed.append(self.short_conv.norms[copy](gated[-1]))
        channels = nn.functional.pad(torch.cat(normed, -1).transpose(1, 2), (self.before, 0))
        mixed = nn.functional.silu(self.short_conv.conv(channels)).transpose(1, 2)
        return stream + torch.stack(gated, 2) + mixed.unflatten(-1, (COPIES, DIM))


class Qwen(Qwen4ExpTextPLELayer):
    """The block of Qwen3.8-Flash-Next"""

    NAME = "ple"

    def __init__(self, config, layer):
        super().__init__(config, layer, config.ple_layer_ids.index(layer + 1))
        self.to(torch.bfloat16)

    def forward(self, stream, ids):
        return stream + super().forward(stream.flatten(2), ids, None).unflatten(-1, (COPIES, DIM))


def build(config, block, layers):
    model = DeepseekV3ForCausalLM(config).eval()
    for index, layer in enumerate(model.model.layers):
        layer.attn_hc, layer.ffn_hc = DeepseekV4HyperConnection(config), DeepseekV4HyperConnection(config)
        if index in layers:
            setattr(layer, block.NAME, block(config, index))
    model.model.hc_head = DeepseekV4HyperHead(config)
    return model


def fill(model):
    """Values large enough that all parts show in the logits"""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.element_size() == 1 or not tensor.is_floating_point() or name.endswith("inv_freq"):
            continue
        if ".ple.norm_" in name:
            # What is added to one.
            tensor.normal_(0, 0.3)
        elif "norm" in name or name.endswith("scale"):
            tensor.normal_(1, 0.3)
        elif name.endswith(("mlp.gate.weight", "bias", "base")) or "conv" in name:
            tensor.normal_(0, 0.3)
        elif name.endswith(("q_weight", "k_weight")) or "embedding.weight" in name:
            tensor.normal_(0, 1)
        else:
            tensor.normal_(0, 0.15)


def mix(connection, part, stream):
    """What a decoder layer of DeepSeek-V4 does around attention and around its experts"""
    post, comb, collapsed = connection(stream)
    return post[..., None] * part(collapsed)[:, :, None] + comb.transpose(-1, -2) @ stream


def prefill(model, ids, without=None):
    inner = model.model
    embedded, positions = inner.embed_tokens(ids), torch.arange(TOKENS)[None]
    mask = create_causal_mask(model.config, embedded, None, past_key_values=None, position_ids=positions)
    turns = inner.rotary_emb(embedded, positions)
    stream = embedded[:, :, None].repeat(1, 1, COPIES, 1)
    for index, layer in enumerate(inner.layers):
        block = getattr(layer, "engram", None) or getattr(layer, "ple", None)
        if block is not None and index != without:
            stream = block(stream, ids)

        def attend(x):
            return layer.self_attn(layer.input_layernorm(x), position_embeddings=turns, attention_mask=mask)[0]

        stream = mix(layer.attn_hc, attend, stream)
        stream = mix(layer.ffn_hc, lambda x: layer.mlp(layer.post_attention_layernorm(x)), stream)
    return model.lm_head(inner.norm(inner.hc_head(stream)))


def save(model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith("ngram_embedding.weight")]:
        for part, rows in enumerate(tensors.pop(name).chunk(model.config.split_ngram_parts)):
            tensors[name.replace("weight", f"shard_{part}.weight")] = rows.contiguous()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@torch.no_grad()
def make(name, block=None, layers=(), ids=TEXT_IDS, tiny=None, changes=(), **fields):
    torch.manual_seed(sum(name.encode()))
    special = {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID} if block else {}
    config = DeepseekV3Config(**SIZES | special | fields, **PLAIN)
    model = build(config, block, layers)
    fill(model)
    if tiny is not None:
        # A size at which an eps of 1e-6 would show.
        model.model.embed_tokens.weight[tiny] *= 1e-4
    folder = HERE / name
    save(model, folder)
    if block:
        TOKENIZER.save(str(folder / "tokenizer.json"), pretty=False)
    # What is stored in fewer bits has been rounded above.
    model.float()
    logits = prefill(model, ids)
    for layer in layers:
        changed = (prefill(model, ids, without=layer) - logits).abs().max().item()
        assert changed > 0.1, f"{name}: without the block of layer {layer} logits change by {changed}"
    for layer, attribute, other in changes:
        engram = getattr(model.model.layers[layer], block.NAME)
        kept = getattr(engram, attribute)
        setattr(engram, attribute, other)
        changed = (prefill(model, ids) - logits).abs().max().item()
        assert changed > 0.1, f"{name}: with another {attribute} in layer {layer} logits change by {changed}"
        setattr(engram, attribute, kept)
    # If rounding could change an expert, the golden logits would not be one answer but a choice.
    apart = (prefill(model.double(), ids) - logits).abs().max().item()
    assert apart < 2e-5, f"{name}: float64 gives logits that are {apart} apart"
    save_file({"input_ids": ids.int(), "logits": logits}, folder / "golden.safetensors")
    print(f"{name}: logits have a deviation of {logits.std():.2f}; those of float64 are {apart:.1e} apart")


make("hyper", vocab_size=96, hc_sinkhorn_iters=5, ids=torch.arange(BATCH * TOKENS).reshape(BATCH, TOKENS) * 37 % 96)
make(
    "engram_v41",
    Fused,
    (0, 2),
    tiny=TEXT_IDS[0, 4],
    changes=[(0, "image", -1), (2, "image", -1), (0, "eps", 1e-6)],
    vocab_size=VOCABULARY,
    hc_sinkhorn_iters=20,
    rms_norm_eps=1e-20,
    engram_layer_ids=[0, 2],
    engram_num_embeddings=[sum(primes) for primes in buckets([0, 2], [100] * 3, 2)],
    engram_max_ngram_size=4,
    engram_vocab_size=100,
    engram_n_heads=2,
    engram_head_dim=32,
    engram_pad_token_id=EOS_ID,
    engram_compressed_vocab_size=CLASSES,
    image_token_id=IMAGE_ID,
)
make(
    "engram_demo",
    Demo,
    (1, 2),
    vocab_size=VOCABULARY,
    hc_sinkhorn_iters=20,
    layer_ids=[1, 2],
    engram_vocab_size=[100, 104],
    max_ngram_size=3,
    n_head_per_ngram=2,
    n_embed_per_ngram=32,
    pad_id=EOS_ID,
    seed=0,
    kernel_size=4,
)
make(
    "engram_qwen",
    Qwen,
    (1,),
    vocab_size=VOCABULARY,
    hc_sinkhorn_iters=20,
    ple_layer_ids=[2],
    ple_embed_dim=64,
    ple_conv_kernel_size=4,
    ngram_size=3,
    heads_per_ngram=2,
    ngram_vocab_size_base=100,
    make_ngram_vocab_size_divisible_by=8,
    split_ngram_parts=4,
    seed=1234,
    hc_count=COPIES,
)
