"""Writes the tokens of conversations, as transformers and LLaVA make them, for tests/data_prompt.rs.

    python make_conversation_goldens.py CAUSAL_DIR OUT_DIR

CAUSAL_DIR holds what make_causal_token_goldens.py wrote. conversations.json is a list of cases as in prompts.json
(make_prompt_goldens.py), whose rows are conversations up to the last answer: turns of role, text and number of
images, and the prompt's tokens, in which -1 stands for an image; null where the template refuses the turns.

- transformers: LlavaProcessor's apply_chat_template;
- LLaVA: `Conversation.get_prompt` of its conversation.py and `tokenizer_image_token` of its mm_utils.py.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
from make_causal_token_goldens import converted
from make_prompt_goldens import LLAMA3, LLAVA_HF, MISTRAL, VICUNA, config, with_tokens
from PIL import Image
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SYSTEM = ("system", "You read   X-rays.", 0)
CONVERSATIONS = [
    [("user", "Is there an effusion?", 1), ("assistant", "yes", 0), ("user", "Which side?", 0)],
    [SYSTEM, ("user", "肺部是否正常", 1), ("assistant", "是的 \U0001fac1", 0), ("user", "Where?", 0), ("assistant", "In\nthe lobe.", 0), ("user", "?", 0)],
    [("user", "Is it normal?", 1), ("assistant", "no", 0), ("user", "And these?", 2)],
    [("user", "What is a pneumothorax?", 0)],
    [SYSTEM, ("user", "What is a pneumothorax?", 0), ("assistant", "Air.", 0), ("user", "Where?", 0)],
]


def get_prompt(mode, turns, picture):
    """Conversation.get_prompt, by separator style."""
    own = [text for role, text, _ in turns if role == "system"]
    first = mode != "simple"
    shown = lambda text, n: f"{picture}\n" * n + text if first else text + f"\n{picture}" * n
    messages = [(role == "user", shown(text, n)) for role, text, n in turns if role != "system"]
    if mode == "vicuna_v1":  # SeparatorStyle.TWO
        ret = (own or [VICUNA.format("user")])[0] + " "
        for i, (user, message) in enumerate(messages):
            ret += f"{'USER' if user else 'ASSISTANT'}: {message}{[' ', '</s>'][i % 2]}"
        return ret + "ASSISTANT:"
    if mode == "mistral_instruct":  # SeparatorStyle.LLAMA_2, whose system text is empty and whose sep is ""
        ret = ""
        for i, (user, message) in enumerate(messages):
            if i == 0 and own:
                message = f"<<SYS>>\n{own[0]}\n<</SYS>>\n\n{message}"
            ret += f"[INST] {message} [/INST]" if user else f" {message} </s>"
        return ret
    # SeparatorStyle.SINGLE
    ret = (own or [VICUNA.format("human")])[0] + "###"
    for user, message in [(True, "Hi!"), (False, "Hi there!  How can I help you today?\n"), *messages]:
        ret += f"{'Human' if user else 'Assistant'}: {message}###"
    return ret + "Assistant:"


def apart(tokenizer, text):
    """tokenizer_image_token."""
    ids = [tokenizer.bos_token_id]
    for i, part in enumerate(text.split("<image>")):
        ids += [-1] * (i > 0) + tokenizer.encode(part, add_special_tokens=False)
    return ids


def llava_case(sp, mode, start_end):
    tokenizer = with_tokens(converted(sp / "tokenizer.model", True), ["<im_start>", "<im_end>"])
    picture = "<im_start><image><im_end>" if start_end else "<image>"
    prompts = [apart(tokenizer, get_prompt(mode, turns, picture)) for turns in CONVERSATIONS]
    return {
        "tokenizer": "sp/tokenizer.model", "config": config(tokenizer, legacy=True), "template": mode,
        "picture": "start_end" if start_end else "between", "prompts": prompts,
    }


def transformers_case(file, tokenizer, template, parts, **more):
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    processor = LlavaProcessor(image_processor, tokenizer, 4, "default", template, num_additional_image_tokens=1)
    pixels, image = Image.fromarray(np.zeros((8, 8, 3), np.uint8)), tokenizer.convert_tokens_to_ids("<image>")

    def content(text, n):
        if parts:
            return [{"type": "image", "image": pixels}] * n + [{"type": "text", "text": text}]
        return "<image>\n" * n + text

    def prompt(turns):
        messages = [{"role": role, "content": content(text, n)} for role, text, n in turns]
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:
            assert "roles" in str(error)
            return None
        images = [pixels] * sum(n for _, _, n in turns) or None
        starts = text.startswith(tokenizer.bos_token)
        ids = list(processor(text=text, images=images, add_special_tokens=not starts)["input_ids"][0])
        if parts:
            whole = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
            assert list(whole["input_ids"][0]) == ids
        runs = [(id, len(list(run))) for id, run in groupby(ids)]
        return [i for id, n in runs for i in ([-1] * (n // 4) if id == image else [id] * n)]

    return {
        "tokenizer": file, "config": config(tokenizer, **more), "template": None, "chat_template": template,
        "picture": "token", "prompts": [prompt(turns) for turns in CONVERSATIONS],
    }


def main(causal, out):
    cases = [llava_case(causal / "sp", mode, end) for mode, end in [("vicuna_v1", False), ("mistral_instruct", True), ("simple", False)]]
    for template, parts in [(LLAVA_HF, True), (MISTRAL, False)]:
        tokenizer = with_tokens(converted(causal / "sp/tokenizer.model", True), ["<image>", "<pad>"])
        tokenizer.chat_template = template
        tokenizer.add_bos_token = True
        tokenizer.update_post_processor()
        cases.append(transformers_case("sp/tokenizer.model", tokenizer, template, parts, legacy=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(causal / "bytes/tokenizer.json"))
    with_tokens(tokenizer, ["<image>", "<pad>"])
    tokenizer.bos_token, tokenizer.eos_token = "<|begin_of_text|>", "<|end_of_text|>"
    tokenizer.chat_template = LLAMA3
    cases.append(transformers_case("bytes/tokenizer.json", tokenizer, LLAMA3, False))
    turns = [[{"role": role, "text": text, "images": n} for role, text, n in turns] for turns in CONVERSATIONS]
    line = lambda value: json.dumps(value, separators=(",", ":"))
    lines = ",\n".join(map(line, cases))
    (out / "conversations.json").write_text(f'{{"conversations":{line(turns)},\n"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
