"""Parts of a model, in plain PyTorch: no library that a process would have to hold beside it.

Written as BLIP's are, under its names, with the fused attention that PyTorch offers. The loss is the
mean square of the output: the blocks alone are what is measured.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

WIDTH, HEADS, INTERMEDIATE = 768, 12, 3072
DECODED = 32


def attention(q, k, v, causal=False):
    """`[B, T, C]` each."""
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


class Part(nn.Module):
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
    """A vision transformer's blocks and last norm."""

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
    """BERT's first norm and blocks, causal, cross-attending to an image's states."""

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
