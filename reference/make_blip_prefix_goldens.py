"""Golden files for prefixes and prompts in BLIP's text towers, by a plain reference: peft has no form for the
question encoder, and in the decoder it puts what it learned before the keys of the cross-attention as well.

    python3 reference/make_blip_prefix_goldens.py crates/normed/tests/golden

Reads blip.json and blip.safetensors, which make_blip_goldens.py wrote, and writes beside them

  blip_prefix.safetensors   METHOD.value.*  what was learned, by normed's names
                            METHOD.grad.*   its gradients of the loss, summed over the answers of all examples
                            METHOD.loss     that loss

A prefix is put before what a self-attention's own `key` and `value` give, and every query sees it.
A prompt is put before the word embeddings, behind which normalization comes; it has no positions, and its
states are among those of the question to which the decoder attends. transformers 5.23.
"""

import json
import sys
from pathlib import Path

import torch
from make_blip_goldens import QUESTIONS, VISION
from safetensors.torch import load_file, save_file
from transformers import BlipConfig, BlipForQuestionAnswering
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

LENGTH = 3


def model_of(golden, tensors):
    config = BlipConfig(**json.loads((golden / "blip.json").read_text())["config"])
    model = BlipForQuestionAnswering(config)
    decoder = config.text_config.__class__(**config.text_config.to_dict())
    decoder.encoder_hidden_size, decoder.is_decoder = decoder.hidden_size, True
    model.text_decoder = BlipTextLMHeadModel(decoder)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all("decoder.weight" in k or "decoder.bias" in k for k in missing), missing
    model.text_decoder.tie_weights()
    assert model.config.vision_config.hidden_size == VISION["hidden_size"]
    return model.float().eval().requires_grad_(False)


def towers(model):
    return {"text": model.text_encoder, "decoder": model.text_decoder.bert}


def learned(*shape):
    return torch.nn.Parameter(torch.randn(*shape))


def attention_behind(layer, keys, values):
    """The layer's attention to these as well, which every query sees."""

    def forward(hidden_states, attention_mask=None, **_):
        def heads(x):
            return x.unflatten(-1, (layer.num_attention_heads, -1)).transpose(1, 2)

        q = heads(layer.query(hidden_states))
        k = heads(torch.cat([keys[None], layer.key(hidden_states)], 1))
        v = heads(torch.cat([values[None], layer.value(hidden_states)], 1))
        scores = q @ k.mT / layer.attention_head_size**0.5
        if attention_mask is not None:
            scores = scores + torch.nn.functional.pad(attention_mask, (LENGTH, 0))
        probabilities = scores.softmax(-1)
        return (probabilities @ v).transpose(1, 2).flatten(2), probabilities

    return forward


def put_prefixes(model):
    values = {}
    for tower, bert in towers(model).items():
        for i, layer in enumerate(bert.encoder.layer):
            attention = layer.attention.self
            width = attention.key.out_features
            table = values[f"prefix_encoder.{tower}.embedding.{i}.weight"] = learned(LENGTH, 2 * width)
            attention.forward = attention_behind(attention, table[:, :width], table[:, width:])
    return values


def put_prompts(model):
    values = {}
    for tower, bert in towers(model).items():
        width = bert.embeddings.word_embeddings.embedding_dim
        rows = values[f"prompt_encoder.{tower}.embedding.weight"] = learned(LENGTH, width)
        bert.embeddings.LayerNorm.register_forward_pre_hook(
            lambda _, args, rows=rows: (torch.cat([rows[None], args[0]], 1),)
        )
    return values


def loss_of(model, example, prompts):
    """`prompts`: how many tokens more there are than ids."""
    ids, labels = example["input_ids"][None], example["labels"][None]
    image = model.vision_model(example["pixel_values"][None]).last_hidden_state
    ones = lambda width: torch.ones(1, width, dtype=torch.long)
    question = model.text_encoder(
        input_ids=ids,
        attention_mask=ones(prompts + ids.shape[1]),
        encoder_hidden_states=image,
        encoder_attention_mask=ones(image.shape[1]),
    ).last_hidden_state
    logits = model.text_decoder(
        input_ids=labels[:, :-1],
        attention_mask=ones(prompts + labels.shape[1] - 1),
        encoder_hidden_states=question,
        encoder_attention_mask=ones(question.shape[1]),
        use_cache=False,
    ).logits[0, prompts:]
    return torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum")


def main(golden):
    torch.set_num_threads(1)
    tensors = load_file(golden / "blip.safetensors")
    examples = [
        {k: tensors[f"example.{i}.{k}"] for k in ("pixel_values", "input_ids", "labels")}
        for i in range(len(QUESTIONS))
    ]
    out = {}
    for method, put, prompts in (("p_tuning_v2", put_prefixes, 0), ("prompt", put_prompts, LENGTH)):
        model = model_of(golden, tensors)
        plain = sum(loss_of(model, example, 0) for example in examples)
        torch.manual_seed(7)
        values = put(model)
        loss = sum(loss_of(model, example, prompts) for example in examples)
        loss.backward()
        print(method, float(plain), float(loss), {k: float(v.grad.norm()) for k, v in values.items()})
        out[f"{method}.loss"] = loss.detach().reshape(1)
        for name, value in values.items():
            out[f"{method}.value.{name}"] = value.detach().clone()
            out[f"{method}.grad.{name}"] = value.grad.clone()
    save_file(out, golden / "blip_prefix.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
