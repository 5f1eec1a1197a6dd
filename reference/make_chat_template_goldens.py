"""Writes how transformers renders chat templates, for the unit tests of crates/normed/src/data/prompt/chat.rs.

    python make_chat_template_goldens.py OUT_DIR

chat_templates.json is a list of cases: the template, whether its messages hold text or parts, the prompt, and the
prompt with its answer (null if the template refuses it). The templates are short forms of those of popular models,
and small ones that use one filter, function, tag or method each. Today is 26 July 2024 in all of them.
"""

import datetime
import json
import sys
from pathlib import Path

from transformers.utils import chat_template_utils

QUESTION, ANSWER = "Is there an abnormality?", "Unremarkable"


class Day(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2024, 7, 26)


chat_template_utils.datetime = Day

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA31 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- message.tool_calls[0].function.arguments | tojson }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
LLAMA32_VISION = """{{- bos_token }}
{%- set image_ns = namespace(has_images=false) %}
{%- for message in messages %}
    {%- for content in message['content'] %}
        {%- if content['type'] == 'image' %}
            {%- set image_ns.has_images = true %}
        {%- endif %}
    {%- endfor %}
{%- endfor %}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message['content'] is string %}
        {{- message['content'] }}
    {%- else %}
        {%- for content in message['content'] %}
            {%- if content['type'] == 'image' %}
                {{- '<image>' }}
            {%- elif content['type'] == 'text' %}
                {{- content['text'] }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' ~ ('' if image_ns.has_images else ' ') }}
{%- endif %}
"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""
VICUNA = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{{ 'A chat between a curious user and an assistant. ' }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "USER: {{ message['content'] }} {% elif message['role'] == 'assistant' %}ASSISTANT: {{ message['content'] }}{{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
QWEN2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN2_VL = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><image><|vision_end|>{% elif 'text' in content %}"
    "{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""
PHI3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)
DEEPSEEK = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"
    "{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}"
    "{{'<User>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}"
    "{%- for tool in message['tool_calls']%}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}"
    "{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{'<Assistant>' + content + eos_token}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<Assistant>'}}{% endif %}"
)
LLAVA = (
    "{% for message in messages %}{{ message['role'].upper() + ': '}}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\\n' }}{% endfor %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% else %}{{ content['text'] + ' '}}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)

POPULAR = {
    "Llama 2": LLAMA2, "Llama 3.1": LLAMA31, "Llama 3.2 Vision": LLAMA32_VISION, "Mistral": MISTRAL, "Vicuna": VICUNA,
    "Qwen2": QWEN2, "Qwen2-VL": QWEN2_VL, "Gemma 3": GEMMA3, "Phi-3": PHI3, "DeepSeek": DEEPSEEK, "LLaVA": LLAVA,
    "Zephyr": ZEPHYR,
}

# What follows the content of each message.
SMALL = {
    "tojson of a message": "{{ message | tojson }}",
    "tojson, indented": "{{ message | tojson(indent=2) }}",
    "tojson, separators": "{{ {'b': [1, 2.5, none, true], 'a': {}} | tojson(separators=(',', ':'), sort_keys=true) }}",
    "tojson, tab": "{{ {'a': [[], [1]]} | tojson(indent='\\t') }}",
    "tojson, ascii": "{{ 'caf\u00e9 \U0001fac1 <b> & \"q\" \\\\ \\n' | tojson }}{{ 'caf\u00e9 \U0001fac1' | tojson(ensure_ascii=true) }}",
    "strftime_now": "{{ strftime_now('%A, %d %B %Y %H:%M:%S %j %U %W %y-%m %p %-d %%') }}",
    "none and booleans": "{{ none }} {{ true }} {{ tools }} {{ documents is defined }} {{ [1, 'a', none] }} {{ {'k': 'v'} }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for i in range(5) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "loop controls": "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "default": "{{ nothing | default('x') }}{{ '' | default('y', true) }}{{ message.nothing | default(none) }}",
    "scope of generation": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "generation, trimmed": "a {%- generation -%} b {%- endgeneration -%} c",
    "strings": "{{ 'a-b-c'.split('-', 1) }}{{ 'a-b-c'.rsplit('-', 1) }}{{ ' x '.strip() }}{{ 'xay'.removeprefix('x').removesuffix('y') }}",
    "partition": "{{ 'a=b=c'.partition('=')[2] }}{{ 'a=b=c'.rpartition('=')[0] }}{{ 'abc'.index('c') }}{{ 'abc'.find('z') }}",
    "padding": "{{ '7'.zfill(3) }}{{ 'a'.ljust(3, '.') }}{{ 'a'.rjust(3) }}{{ 'ab'.center(5, '*') }}{{ 'a'.center(4, '*') }}",
    "more strings": "{{ 'Ab'.swapcase() }}{{ 'aB'.title() }}{{ 'ab cd'.capitalize() }}{{ 'x'.isdigit() }}{{ '12'.isdecimal() }}{{ 'a,b'.replace(',', ';') }}",
    "slices": "{{ 'abcdef'[1:-1] }}{{ [1, 2, 3][::-1] }}{{ 'abc'[-1] }}{{ message.role[:2] }}",
    "filters": "{{ [3, 1, 2] | sort | join(',') }}{{ ['a', 'b'] | map('upper') | list }}{{ 'abc' | length }}{{ 'a b' | title }}{{ [1, 2] | last }}",
    "items": "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}{{ {'b': 1, 'a': 2} | dictsort }}{{ {'x': 1}.get('y', 3) }}",
    "macro": "{% macro f(a, b='z') %}<{{ a }}{{ b }}>{% endmacro %}{{ f('q') }}{{ f('q', b='w') }}",
    "tests": "{{ message.content is string }}{{ message.x is defined }}{{ [] is iterable }}{{ {} is mapping }}{{ 3 is odd }}{{ none is none }}{{ 'a' in 'abc' }}",
    "arithmetic": "{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 3 }}{{ 7 / 2 }}{{ '=' * 3 }}{{ 'a' ~ 1 ~ none }}{{ 1 if false }}{{ 'x' if true else 'y' }}",
    "loop over items": "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{{ ', ' if not loop.last }}{{ loop.length }}{% endfor %}",
    "loop": "{% for a in ['a', 'b', 'c'] %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex0 }}{{ loop.previtem }}{% if not loop.last %}{{ loop.nextitem }}{% endif %}{% endfor %}",
    "set block": "{% set text %}a{{ message.role }}{% endset %}{{ text | upper }}",
    "comment": "{# a {% comment %} #}{{- 'x' -}}  y",
    "joiner": "{% set sep = joiner('|') %}{% for a in 'abc' %}{{ sep() }}{{ a }}{% endfor %}",
    "escapes": "{{ '\\u2581\\x41\\t' }}{{ \"it's\" }}{{ 'say \"x\"' }}",
    "blocks": "\n    {% if true %}\n    x\n    {% endif %}\n  y\n",
    "format": "{{ '%s-%d' | format('a', 3) }}{{ '{}!'.format('b') }}",
}


def messages(content, answer):
    texts = {"user": f"<image>\n{QUESTION}", "assistant": ANSWER}
    parts = {
        "user": [{"type": "image"}, {"type": "text", "text": QUESTION}],
        "assistant": [{"type": "text", "text": ANSWER}],
    }
    of = texts if content == "text" else parts
    return [{"role": role, "content": of[role]} for role in ["user", "assistant"][: 1 + answer]]


def render(template, content, answer):
    text, _ = chat_template_utils.render_jinja_template(
        [messages(content, answer)], chat_template=template, add_generation_prompt=not answer, bos_token="<s>", eos_token="</s>"
    )
    return text[0]


def shows_both(text):
    beside_keys = text.replace(f"'text': '{QUESTION}", "").replace(f'"text": "{QUESTION}', "")
    return text.count("<image>") == 1 and QUESTION in beside_keys


def case(name, template):
    for content in ["parts", "text"]:
        try:
            prompt = render(template, content, False)
        except Exception:
            continue
        if shows_both(prompt):
            break
    else:
        raise ValueError(name)
    try:
        conversation = render(template, content, True)
    except Exception:
        conversation = None
    return {"name": name, "template": template, "content": content, "prompt": prompt, "conversation": conversation}


if __name__ == "__main__":
    small = {
        name: "{% for message in messages %}{% if message.role == 'user' and message.content is string %}{{ message.content }}"
        "{% endif %}{{ ' | ' }}" + text + "{% endfor %}"
        for name, text in SMALL.items()
    }
    small["tojson before parts"] = "{{ messages | tojson }} " + LLAVA
    small["date before parts"] = "{{ strftime_now('%d %b %Y') }} " + LLAVA
    # The message itself shows its content.
    for name in ["tojson of a message", "tojson, indented"]:
        small[name] = "{% for message in messages %}" + SMALL[name] + "{% endfor %}"
    cases = [case(name, template) for name, template in (POPULAR | small).items()]
    text = json.dumps(cases, indent=1, ensure_ascii=False)
    (Path(sys.argv[1]) / "chat_templates.json").write_text(text + "\n")
