"""Writes logits of tiny BLIPs and LLaVAs with unusual configs, for tests/variants.rs.

    python make_variant_goldens.py OUT_DIR

variants.json is a list of cases: a config.json, the tokens of one example and its logits. Weights and pixels are made
by a formula, the same in tests/variants.rs, so that the file holds neither.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import BlipConfig, BlipForQuestionAnswering, LlavaConfig, LlavaForConditionalGeneration

PROMPT, IMAGE, ANSWER = [1, 7, 12], 3, [5, 9, 4]


def drawn(name, count):
    """Values from -0.5 to 0.5, around 1 for the scales of norms."""
    seed = sum(name.encode()) * 101
    values = [((i * 37 + seed) % 211) / 211 - 0.5 for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).to(torch.float32)


def fill(model):
    for name, parameter in model.named_parameters():
        values = drawn(name, parameter.numel()).reshape(parameter.shape)
        is_scale = "norm" in name.lower() and name.endswith("weight")
        parameter.data = values + 1 if is_scale else values
    model.tie_weights()
    return model.eval()


def pixels(size):
    return drawn("pixels", 3 * size * size).reshape(1, 3, size, size)


def blip(vision={}, text={}, **top):
    base = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = base | {"image_size": 16, "patch_size": 8} | vision
    text = base | {"vocab_size": 20, "max_position_embeddings": 16, "bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2, "encoder_hidden_size": 8} | text
    config = {"architectures": ["BlipForQuestionAnswering"], "model_type": "blip", "vision_config": vision, "text_config": text, **top}
    model = fill(BlipForQuestionAnswering(BlipConfig(**config)))
    with torch.no_grad():
        states = model.vision_model(pixel_values=pixels(16)).last_hidden_state
        question = model.text_encoder(torch.tensor([PROMPT]), encoder_hidden_states=states).last_hidden_state
        logits = model.text_decoder(torch.tensor([ANSWER]), encoder_hidden_states=question).logits
    # A key of normed's own.
    text["question_token_id"] = 1
    return config, PROMPT, logits[0]


def llava(vision={}, text={}, **top):
    base = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision = base | {"model_type": "clip_vision_model", "image_size": 16, "patch_size": 8} | vision
    text = base | {"model_type": "llama", "vocab_size": 20, "max_position_embeddings": 64, "num_hidden_layers": 2, "bos_token_id": 1, "eos_token_id": 2} | text
    config = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "vision_config": vision, "text_config": text, "image_token_index": IMAGE, **top}
    model = fill(LlavaForConditionalGeneration(LlavaConfig(**config)))
    tokens = 4 + (top.get("vision_feature_select_strategy") == "full")
    # The decoder's first token is the prompt's last.
    ids = [1] + [IMAGE] * tokens + PROMPT[1:] + ANSWER
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), pixel_values=pixels(16)).logits
    return config, PROMPT, logits[0, -len(ANSWER) :]


ACTIVATIONS = ["gelu_new", "relu", "relu2", "silu", "mish", "leaky_relu", "gelu_10", "laplace", "sigmoid", "tanh", "hardswish", "relu6", "linear", "quick_gelu", "gelu_fast"]


def cases():
    for i, name in enumerate(ACTIVATIONS):
        other = ACTIVATIONS[(i + 4) % len(ACTIVATIONS)]
        yield blip({"hidden_act": name}, {"hidden_act": other})
        yield llava({"hidden_act": name}, {"hidden_act": other}, projector_hidden_act=ACTIVATIONS[(i + 7) % len(ACTIVATIONS)])
    yield blip(text={"tie_word_embeddings": False}, tie_word_embeddings=False)
    yield blip(text={"tie_word_embeddings": False})
    yield blip(text={"tie_word_embeddings": True}, tie_word_embeddings=False)
    yield llava(tie_word_embeddings=True)
    yield llava(text={"tie_word_embeddings": True})
    yield llava(text={"tie_word_embeddings": False}, tie_word_embeddings=False)
    yield llava(vision_feature_layer=[-2, -1, 1])
    yield llava(vision_feature_layer=[-1], vision_feature_select_strategy="full")
    yield llava(vision_feature_layer=[0, -2], vision_feature_select_strategy="full")
    yield llava(vision_feature_layer=-3, vision_feature_select_strategy="default")


if __name__ == "__main__":
    list_of = [
        {"config": config, "prompt": prompt, "answer": ANSWER, "logits": [float(f"{x:.7g}") for x in logits.flatten().tolist()]}
        for config, prompt, logits in cases()
    ]
    text = json.dumps(list_of, separators=(",", ":")).replace('},{"config"', '},\n{"config"')
    (Path(sys.argv[1]) / "variants.json").write_text(text + "\n")
