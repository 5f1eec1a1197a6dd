"""Writes the tokens of prompts, as transformers and LLaVA make them, for tests/data_prompt.rs.

    python make_prompt_goldens.py CAUSAL_DIR OUT_DIR

CAUSAL_DIR holds what make_causal_token_goldens.py wrote. prompts.json is a list of cases: a tokenizer
with its tokenizer_config.json, a template, and rows of question, answer, the prompt's tokens and those
of prompt, answer and end; -1 stands for the picture.

- transformers: LlavaProcessor's apply_chat_template;
- LLaVA: the text of its conversation modes, what stands before the picture tokenized apart from what
  stands behind it, with one <s>.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
from make_causal_token_goldens import converted
from PIL import Image
from transformers import AddedToken, LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

ROWS = [
    ("Is there evidence of a pneumothorax?", "no"),
    ("  What  organ\nis shown?  ", "The left   lung (L4-L5), 3.5 cm"),
    ("?", "Yes."),
    ("肺部是否正常 \U0001fac1 caf\u00e9", "是的 \U0001fac1"),
    ("12345", "5"),
    ("- where is it - ", "#1 -\n in the right lobe"),
]
VICUNA = "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the {0}'s questions."
LLAVA_HF = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}"
    "{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
MISTRAL = """{{- bos_token }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- ' [INST] ' + message['content'] + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token }}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are supported!') }}
    {%- endif %}
{%- endfor %}"""
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def modes(picture):
    """LLaVA's conversation modes: the prompt of a question."""
    return {
        "vicuna_v1": lambda q: f"{VICUNA.format('user')} USER: {picture}\n{q} ASSISTANT:",
        "mistral_instruct": lambda q: f"[INST] {picture}\n{q} [/INST]",
        "simple": lambda q: f"{VICUNA.format('human')}###Human: Hi!###Assistant: Hi there!  How can I help you today?\n"
        f"###Human: {q}\n{picture}###Assistant:",
    }


def apart(tokenizer, text):
    """tokenizer_image_token of LLaVA's mm_utils."""
    before, behind = (tokenizer.encode(part, add_special_tokens=False) for part in text.split("<image>"))
    return [tokenizer.bos_token_id, *before, -1, *behind]


def collapsed(ids, image):
    """The run of image tokens as one -1."""
    runs = [(id, len(list(run))) for id, run in groupby(ids)]
    assert [n > 1 for id, n in runs if id == image] == [True]
    return [i for id, n in runs for i in ([-1] if id == image else [id] * n)]


def with_tokens(tokenizer, tokens):
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    return tokenizer


def config(tokenizer, **more):
    tokens = {str(id): dict(token.__getstate__()) for id, token in tokenizer.added_tokens_decoder.items()}
    names = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if isinstance(value, (str, AddedToken))}
    return {"added_tokens_decoder": tokens, **names, **more}


def llava_cases(sp):
    for legacy in (True, False):
        for start_end in (False, True):
            tokenizer = with_tokens(converted(sp / "tokenizer.model", legacy), ["<im_start>", "<im_end>"])
            picture = "<im_start><image><im_end>" if start_end else "<image>"
            for name, prompt in modes(picture).items():
                rows = []
                for question, answer in ROWS:
                    text = prompt(question.strip())
                    ids, full = apart(tokenizer, text), apart(tokenizer, f"{text} {answer.strip()}</s>")
                    rows.append({"question": question, "answer": answer, "prompt": ids, "full": full})
                yield {
                    "tokenizer": "sp/tokenizer.model", "config": config(tokenizer, legacy=legacy), "template": name,
                    "picture": "start_end" if start_end else "between", "rows": rows,
                }


def transformers_case(file, tokenizer, template, parts, lead, end, **more):
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    processor = LlavaProcessor(image_processor, tokenizer, 4, "default", template, num_additional_image_tokens=1)
    pixels, image = Image.fromarray(np.zeros((8, 8, 3), np.uint8)), tokenizer.convert_tokens_to_ids("<image>")
    rows = []
    for question, answer in ROWS:
        q = question.strip()
        content = [{"type": "image", "image": pixels}, {"type": "text", "text": q}]
        # A template for text: LLaVA-Med's users write the picture's place into it.
        user = [{"role": "user", "content": content if parts else f"<image>\n{q}"}]
        prompt = tokenizer.apply_chat_template(user, tokenize=False, add_generation_prompt=True)
        starts = prompt.startswith(tokenizer.bos_token)
        tokens = lambda text: list(processor(text=text, images=pixels, add_special_tokens=not starts)["input_ids"][0])
        ids = tokens(prompt)
        if parts:
            whole = processor.apply_chat_template(user, add_generation_prompt=True, tokenize=True, return_dict=True)
            assert list(whole["input_ids"][0]) == ids
        full = tokens(prompt + lead + answer.strip() + end)
        rows.append({"question": question, "answer": answer, "prompt": collapsed(ids, image), "full": collapsed(full, image)})
    return {
        "tokenizer": file, "config": config(tokenizer, **more), "template": None, "chat_template": template,
        "picture": "token", "rows": rows,
    }


def main(causal, out):
    cases = list(llava_cases(causal / "sp"))
    for legacy in (True, False):
        sp = lambda: with_tokens(converted(causal / "sp/tokenizer.model", legacy), ["<image>", "<pad>"])
        for template, parts in [(LLAVA_HF, True), (MISTRAL, False)]:
            tokenizer = sp()
            tokenizer.chat_template = template
            # transformers takes <s> from the tokenizer's post-processor.
            tokenizer.add_bos_token = True
            tokenizer.update_post_processor()
            cases.append(transformers_case("sp/tokenizer.model", tokenizer, template, parts, " ", "</s>", legacy=legacy))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(causal / "bytes/tokenizer.json"))
    with_tokens(tokenizer, ["<image>", "<pad>"])
    tokenizer.bos_token, tokenizer.eos_token = "<|begin_of_text|>", "<|end_of_text|>"
    tokenizer.chat_template = LLAMA3
    cases.append(transformers_case("bytes/tokenizer.json", tokenizer, LLAMA3, False, "", "<|eot_id|>"))
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (out / "prompts.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
