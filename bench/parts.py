"""Parts of models in plain PyTorch, so that no other library adds to the measured memory.

The modules have the structure and the names of BLIP's and Mistral's, with PyTorch's fused attention. The
loss is the mean square of the output, so that only the blocks are measured.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

WIDTH, HEADS, INTERMEDIATE = 768, 12, 3072
DECODED = 32


def attention(q, k, v, causal=False):
    """Multi-head attention; q, k and v are `[B, T, C]`."""
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


class Part(nn.Module):
    """A sequence of blocks. Backward computes each block again if `recomputed`."""

    recomputed = False

    def run(self, block, *inputs):
        if self.recomputed:
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)


class VitAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.projection(attention(*self.qkv(x).chunk(3, dim=-1)))


class VitMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, INTERMEDIATE)
        self.fc2 = nn.Linear(INTERMEDIATE, WIDTH)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class VitBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.self_attn = VitAttention()
        self.layer_norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = VitMlp()

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Vit(Part):
    """The blocks and the final norm of a vision transformer."""

    def __init__(self, layers, tokens):
        super().__init__()
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(VitBlock() for _ in range(layers))})
        self.post_layernorm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, input):
        x = input
        for block in self.encoder["layers"]:
            x = self.run(block, x)
        return self.post_layernorm(x).float().square().mean()

    @staticmethod
    def inputs(batch, tokens):
        return {"input": torch.randn(batch, tokens, WIDTH)}


class Dense(nn.ModuleDict):
    """BERT's `LayerNorm(residual + dense(x))`."""

    def __init__(self, inputs):
        norm = nn.LayerNorm(WIDTH, eps=1e-12)
        super().__init__({"dense": nn.Linear(inputs, WIDTH), "LayerNorm": norm})

    def forward(self, x, residual):
        return self["LayerNorm"](residual + self["dense"](x))


class BertAttention(nn.Module):
    def __init__(self, causal):
        super().__init__()
        names = ("query", "key", "value")
        self.self = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names})
        self.output = Dense(WIDTH)
        self.causal = causal

    def forward(self, x, source):
        query, key, value = self.self.values()
        return self.output(attention(query(x), key(source), value(source), self.causal), x)


class BertBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = BertAttention(causal=True)
        self.crossattention = BertAttention(causal=False)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INTERMEDIATE)})
        self.output = Dense(INTERMEDIATE)

    def forward(self, x, source):
        x = self.attention(x, x)
        x = self.crossattention(x, source)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Decoder(Part):
    """BERT's embedding norm and blocks, causal, with cross-attention to the states of an image."""

    def __init__(self, layers, tokens):
        super().__init__()
        self.embeddings = nn.ModuleDict({"LayerNorm": nn.LayerNorm(WIDTH, eps=1e-12)})
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertBlock() for _ in range(layers))})

    def forward(self, input, source):
        x = self.embeddings["LayerNorm"](input)
        for block in self.encoder["layer"]:
            x = self.run(block, x, source)
        return x.float().square().mean()

    @staticmethod
    def inputs(batch, tokens):
        return {
            "input": torch.randn(batch, DECODED, WIDTH),
            "source": torch.randn(batch, tokens, WIDTH),
        }


class Llama(Part):
    """Mistral-7B's blocks and final norm: 32 query heads, 8 key and value heads."""

    WIDTH, HEADS, KV_HEADS, INTERMEDIATE, EPS, THETA = 4096, 32, 8, 14336, 1e-5, 1e6

    def __init__(self, layers, tokens):
        super().__init__()
        self.layers = nn.ModuleList(LlamaBlock() for _ in range(layers))
        self.norm = nn.RMSNorm(self.WIDTH, eps=self.EPS)

    def forward(self, input):
        head = self.WIDTH // self.HEADS
        steps = torch.arange(0, head, 2, dtype=torch.float32) / head
        angles = torch.outer(torch.arange(input.shape[1]).float(), self.THETA**-steps)
        angles = torch.cat([angles, angles], dim=-1)
        rotation = angles.cos(), angles.sin()
        x = input
        for block in self.layers:
            x = self.run(block, x, rotation)
        return self.norm(x).float().square().mean()

    @staticmethod
    def inputs(batch, tokens):
        return {"input": torch.randn(batch, tokens, Llama.WIDTH)}


def rotate(x, rotation):
    """Rotary position embedding of `x [B, H, T, D]`."""
    cos, sin = (t.to(x.dtype) for t in rotation)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class LlamaAttention(nn.Module):
    def __init__(self):
        super().__init__()
        kv_width = Llama.WIDTH // Llama.HEADS * Llama.KV_HEADS
        self.q_proj = nn.Linear(Llama.WIDTH, Llama.WIDTH, bias=False)
        self.k_proj = nn.Linear(Llama.WIDTH, kv_width, bias=False)
        self.v_proj = nn.Linear(Llama.WIDTH, kv_width, bias=False)
        self.o_proj = nn.Linear(Llama.WIDTH, Llama.WIDTH, bias=False)

    def forward(self, x, rotation):
        heads = lambda x, n: x.unflatten(-1, (n, -1)).transpose(1, 2)
        q = rotate(heads(self.q_proj(x), Llama.HEADS), rotation)
        k = rotate(heads(self.k_proj(x), Llama.KV_HEADS), rotation)
        v = heads(self.v_proj(x), Llama.KV_HEADS)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class LlamaMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(Llama.WIDTH, Llama.INTERMEDIATE, bias=False)
        self.up_proj = nn.Linear(Llama.WIDTH, Llama.INTERMEDIATE, bias=False)
        self.down_proj = nn.Linear(Llama.INTERMEDIATE, Llama.WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = LlamaAttention(), LlamaMlp()
        self.input_layernorm = nn.RMSNorm(Llama.WIDTH, eps=Llama.EPS)
        self.post_attention_layernorm = nn.RMSNorm(Llama.WIDTH, eps=Llama.EPS)

    def forward(self, x, rotation):
        x = x + self.self_attn(self.input_layernorm(x), rotation)
        return x + self.mlp(self.post_attention_layernorm(x))
