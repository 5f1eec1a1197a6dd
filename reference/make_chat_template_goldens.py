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

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
COMMAND_R = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% elif false == true %}{% set loop_messages = messages %}{% set system_message = 'You are Command-R.' %}{% else %}"
    "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if system_message != false %}"
    "{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + system_message + '<|END_OF_TURN_TOKEN|>' }}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% set content = message['content'] %}"
    "{% if message['role'] == 'user' %}{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
)
QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}"
    "{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
PIXTRAL = """{%- set default_system_message = "" %}
{{- bos_token }}
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {{- "[INST]" }}
        {%- if message["content"] is not string %}
            {%- for chunk in message["content"] %}
                {%- if chunk["type"] == "text" %}
                    {%- if "text" in chunk %}
                        {{- chunk["text"] }}
                    {%- elif "content" in chunk %}
                        {{- chunk["content"] }}
                    {%- endif %}
                {%- elif chunk["type"] == "image" %}
                    {{- "[IMG]" }}
                {%- else %}
                    {{- raise_exception("Unrecognized content type!") }}
                {%- endif %}
            {%- endfor %}
        {%- else %}
            {{- message["content"] }}
        {%- endif %}
        {{- "[/INST]" }}
    {%- elif message["role"] == "assistant" %}
        {%- if message["content"] is not string %}
            {%- for chunk in message["content"] %}
                {{- chunk["text"] if chunk["type"] == "text" }}
            {%- endfor %}
            {{- eos_token }}
        {%- else %}
            {{- message["content"] + eos_token }}
        {%- endif %}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

POPULAR = {
    "Llama 2": LLAMA2, "Llama 3.1": LLAMA31, "Llama 3.2 Vision": LLAMA32_VISION, "Mistral": MISTRAL, "Vicuna": VICUNA,
    "Qwen2": QWEN2, "Qwen2-VL": QWEN2_VL, "Gemma 3": GEMMA3, "Phi-3": PHI3, "DeepSeek": DEEPSEEK, "LLaVA": LLAVA,
    "Zephyr": ZEPHYR, "ChatML": CHATML, "Command-R": COMMAND_R, "Qwen3": QWEN3, "SmolVLM": SMOLVLM,
    "Pixtral": PIXTRAL.replace("[IMG]", "<image>"),
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
    "format of texts": "{{ '%s-%d' | format('a', 3) }}{{ '{}!'.format('b') }}",
    "loop with a filter": "{% for i in range(6) if i % 2 %}{{ loop.index }}{{ loop.length }}{{ loop.last }}{{ i }}{% else %}none{% endfor %}",
    "nested loops": "{% for a in [1, 2] %}{% set outer = loop %}{% for b in 'xy' %}{{ outer.index }}{{ loop.index }}{{ b }}{% endfor %}{% endfor %}",
    "loop helpers": "{% for a in [1, 1, 2] %}{{ loop.cycle('odd', 'even') }}{{ loop.changed(a) }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "loop over pairs": "{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}{% for k in {'b': 1, 'a': 2} %}{{ k }}{% endfor %}",
    "loop over a reversed list": "{% for m in [1, 2, 3] | reverse %}{{ m }}{{ loop.length }}{% endfor %}{{ 'abc' | reverse }}{{ [1, 2][::-1] }}",
    "break in a nested loop": "{% for a in range(3) %}{% for b in range(3) %}{% if b > a %}{% break %}{% endif %}{{ a }}{{ b }} {% endfor %}{% endfor %}",
    "recursive loop": "{% for x in [[1, [2]], 3] recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %}",
    "split on spaces": "{{ ' a  b c '.split() }}{{ 'a b c'.split(' ', 1)[1] }}{{ 'a\\nb'.splitlines() }}{{ 'a,b'.split(',')[-1] }}{{ 'x'.split('y') | length }}",
    "strip with characters": "{{ '\\n x\\n'.strip('\\n') }}|{{ 'xxaxx'.lstrip('x') }}|{{ 'xxaxx'.rstrip('x') }}|{{ '--a-' | trim('-') }}|{{ ' a\\t' | trim }}|",
    "starts and ends": "{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'banana'.count('an') }}{{ 'abc'.find('c') }}{{ 'abca'.rfind('a') }}",
    "cases": "{{ 'hello world'.title() }}{{ \"it's\" | title }}{{ 'hello World' | capitalize }}{{ 'ß'.upper() }}{{ 'ABC'.lower() }}{{ 'abc'.isalpha() }}{{ 'a1'.isalnum() }}{{ 'Ab'.isupper() }}{{ 'ab'.islower() }}{{ ' '.isspace() }}",
    "types": "{{ 1 is integer }}{{ 1.5 is float }}{{ true is boolean }}{{ 1 is number }}{{ true is integer }}{{ 'a' is sequence }}{{ {} is sequence }}{{ {'a': 1} is iterable }}{{ 'a' is mapping }}{{ none is string }}{{ true is true }}{{ 0 is false }}{{ nothing is undefined }}{{ 'a' is in 'abc' }}",
    "comparisons": "{{ 1 < 2 < 3 }}{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ [1, 2] == [1, 2] }}{{ {'a': 1} == {'a': 1} }}{{ 1 != 2 }}{{ 3 is eq 3 }}{{ 3 is divisibleby 3 }}{{ not none }}{{ 'x' not in 'abc' }}{{ none == false }}",
    "undefined values": "{{ message.nothing }}{{ nothing }}{{ message.nothing is none }}{{ 'a' if nothing else 'b' }}{{ nothing or 'c' }}{{ (nothing | default({})).x | default('d') }}{{ message['nothing'] is defined }}{{ [1][5] is defined }}",
    "and, or": "{{ 'a' and 'b' }}{{ '' or 'c' }}{{ none or [] }}{{ 0 and 1 }}{{ not '' }}{{ [] or 'empty' }}",
    "numbers": "{{ 1.0 }} {{ 10 / 2 }} {{ 0.1 + 0.2 }} {{ 3 | float }} {{ '4' | int + 1 }} {{ 2.5 | round }} {{ 2.567 | round(1) }} {{ 7.0 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** -1 }} {{ 1_000 }} {{ -3 | abs }} {{ 123456789012345678 }}",
    "lists": "{{ [1, 2] + [3] }}{{ (1, 2) }}{{ (1,) }}{{ [] }}{{ [1, 2, 3][1:] }}{{ [1, 2, 3][-2:] }}{{ [3, 1] | min }}{{ [3, 1] | max }}{{ [1, 2] | sum }}{{ ['a'] * 2 }}{{ [1, [2, 'x']] | string }}{{ 'abc' | list }}{{ [1, 2, 3, 4] | batch(2) | list }}{{ [1, 1, 2] | unique | list }}",
    "text of values": "{{ ['it\\'s', 'a\"b', 'both\\'\"', 'x\\n', '\\\\'] }}{{ {'a': none, 1: true} }}{{ 'é' }}{{ ['é'] }}{{ [1.0, 2.50] }}{{ [none, [true]] | join('-') }}",
    "dicts": "{% set d = {'b': 1, 'a': {'c': [1]}} %}{{ d.keys() | list }}{{ d.values() | list }}{{ d.items() | list }}{{ d.a.c[0] }}{{ d['b'] }}{{ d.get('z') }}{{ d | length }}{{ 'b' in d }}{{ d | items | list }}{{ dict(x=1, **d) | length }}{{ dict(x=1) }}",
    "filters of lists": "{{ messages | map(attribute='role') | join(',') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', 'in', ['user']) | list | length }}{{ [1, 2, 3] | select('odd') | list }}{{ ['', 'a'] | select | list }}{{ messages | first | length }}",
    "sorting": "{{ ['b', 'A', 'c'] | sort }}{{ [2, 1] | sort(reverse=true) }}{{ [{'n': 2}, {'n': 1}] | sort(attribute='n') | map(attribute='n') | list }}{{ [{'g': 1}, {'g': 1}] | groupby('g') | length }}",
    "filters of texts": "{{ 'abc' | first }}{{ 'abc' | replace('b', 'x') }}{{ 'a\\nb' | indent(2) }}{{ '<b>' | e }}{{ '<b>' | safe }}{{ 'ab' | upper }}",
    "format": "{{ '{}-{}'.format('a', 1) }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ '{x:>4}'.format(x='a') }}{{ '{:.1f}'.format(2.25) }}{{ ','.join(['a', 'b']) }}",
    "call block": "{% macro wrap(kind) %}<{{ kind }}>{{ caller() }}</{{ kind }}>{% endmacro %}{% call wrap('b') %}x{% endcall %}",
    "filter block": "{% filter upper %}abc {{ message.role }}{% endfilter %}",
    "macro that sees outer values": "{% set x = 'outer' %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% set g %}block{{ f() }}{% endset %}{{ g }}",
    "several values at once": "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set (c, d) = (2, 3) %}{{ c }}{{ d }}{% with e = 5, f = 6 %}{{ e }}{{ f }}{% endwith %}",
    "scope of loops": "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}",
    "namespace with a list": "{% set ns = namespace(all=[], found=false) %}{% for i in [1, 2] %}{% set ns.all = ns.all + [i] %}{% set ns.found = true %}{% endfor %}{{ ns.all }}{{ ns.found }}{{ ns.none_such is defined }}",
    "raw block": "{% raw %}{{ x }} {% if %}{% endraw %}",
    "white space": "a  {%- if true -%}  b  {%- endif +%}  c\n  {%+ if true %}d{% endif %}\n\n{# c #}\n  {{- 'e' }}  \n  {{ 'f' -}}  \n",
    "adjacent texts": "{{ 'a' 'b' }}{{ ('a' ~ 'b') | length }}{{ 'a' + 'b' * 2 }}{{ \"a\\tb\" }}{{ 'a\\\\nb' }}",
    "capital constants": "{{ True }}{{ False }}{{ None }}{{ True and not False }}{{ none is none }}",
    "attributes of undefined parts": "{{ message.tool_calls is defined and message.tool_calls }}{{ message.get('tool_calls', []) | length }}{{ 'tool_calls' in message }}{{ message.content[0] is string }}",
    "slices with steps": "{{ 'abcdef'[::2] }}{{ 'abcdef'[-3:] }}{{ 'abcdef'[4:1:-1] }}{{ [1, 2, 3, 4][1:3] }}{{ 'äöü'[1] }}{{ 'abc'[5:] }}{{ range(5) | list }}{{ range(1, 9, 3) | list }}{{ range(3)[1] }}",
    "more tests": "{{ none is sameas none }}{{ 'a' is lower }}{{ 'A' is upper }}{{ 4 is even }}{{ 2 is ge 1 }}{{ [1] is not mapping }}",
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
