"""A complete model: transformers' `BlipForQuestionAnswering` with the sizes of MISS-base, fine-tuned with peft."""

import math
from functools import partial
from pathlib import Path

import peft
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import BlipConfig, BlipForQuestionAnswering
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.blip.modeling_blip import BlipAttention
from transformers.models.blip.modeling_blip_text import BlipTextSelfAttention

WIDTH, HEADS, PATCH = 768, 12, 16
PAD, UNK, CLS, SEP, DEC = 0, 100, 101, 102, 30522
QUESTION, ANSWER = 35, 8


class Miss(BlipForQuestionAnswering):
    """Returns the loss, without dropout."""

    def __init__(self, layers, tokens):
        sizes = dict(hidden_size=WIDTH, num_attention_heads=HEADS, num_hidden_layers=layers)
        vision = dict(sizes, image_size=image_size(tokens), patch_size=PATCH, layer_norm_eps=1e-6)
        text = dict(sizes, intermediate_size=4 * WIDTH, layer_norm_eps=1e-12, label_smoothing=0.1)
        text |= dict(bos_token_id=DEC, sep_token_id=SEP, pad_token_id=PAD)
        text |= dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        super().__init__(BlipConfig(vision_config=vision, text_config=text))

    def forward(self, **inputs):
        return super().forward(**inputs).loss

    @staticmethod
    def inputs(batch, tokens):
        """Questions of one length and answers of one length: transformers 5 would cross-attend to padding."""
        size = image_size(tokens)
        words = lambda count: torch.randint(1000, DEC, (batch, count))
        token = lambda id: torch.full((batch, 1), id)
        return {
            "pixel_values": torch.randn(batch, 3, size, size),
            "input_ids": torch.cat([token(CLS), words(QUESTION - 2), token(SEP)], 1),
            "labels": torch.cat([token(DEC), words(ANSWER - 1), token(SEP)], 1),
        }

    def describe(self, directory):
        """Writes the files of a model directory other than weights. The vocabulary is a placeholder."""
        config = self.config.to_json_string(use_diff=False)
        Path(directory, "config.json").write_text(config)
        words = [f"word{i}" for i in range(self.config.text_config.vocab_size)]
        for name, i in {"PAD": PAD, "UNK": UNK, "CLS": CLS, "SEP": SEP, "DEC": DEC}.items():
            words[i] = f"[{name}]"
        Path(directory, "vocab.txt").write_text("\n".join(words))

    def complete(self):
        """Creates the tensors that are in no file: the tied head and the position ids."""
        self.tie_weights()
        for tower in (self.text_encoder, self.text_decoder.bert):
            positions = torch.arange(tower.config.max_position_embeddings)[None]
            tower.embeddings.position_ids = positions


def image_size(tokens):
    return PATCH * math.isqrt(tokens - 1)


def tune_layer_norms(model, frozen=()):
    """Applies peft's LNTuning to all norms except those in the towers `frozen`."""
    norms = [n for n, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    norms = [n for n in norms if n.split(".")[0] not in frozen]
    return peft.get_peft_model(model, peft.LNTuningConfig(target_modules=norms))


def recompute_blocks(model):
    """Enables gradient checkpointing of all blocks."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def fuse_attention():
    """Makes BLIP use PyTorch's fused attention; transformers has no `attn_implementation` for it."""

    def vision(self, hidden_states, **_):
        split = self.qkv(hidden_states).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v)
        return self.projection(context.transpose(1, 2).flatten(2)), None

    def text(self, hidden_states, attention_mask=None, encoder_hidden_states=None, **_):
        source, mask = hidden_states, attention_mask
        if encoder_hidden_states is not None:
            source, mask = encoder_hidden_states, None
        q, k, v = self.query(hidden_states), self.key(source), self.value(source)
        heads = (self.num_attention_heads, -1)
        q, k, v = (x.unflatten(-1, heads).transpose(1, 2) for x in (q, k, v))
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return context.transpose(1, 2).flatten(2), None

    BlipAttention.forward, BlipTextSelfAttention.forward = vision, text
