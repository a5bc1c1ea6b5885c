"""The built-in chat formats, as Jinja templates with the tokenizer's own start and end tokens.

    chatml  <|im_start|>user\\nx<|im_end|>\\n<|im_start|>assistant\\ny<|im_end|>\\n     OpenAI
    llama2  <s>[INST] <<SYS>>\\ns\\n<</SYS>>\\n\\nx [/INST] y </s>, contents trimmed     meta-llama/llama: generation.py
    vicuna  preamble USER: x ASSISTANT: y</s>                                     lm-sys/FastChat: vicuna_v1.1
    alpaca  preamble\\n\\n### Instruction:\\nx\\n\\n### Response:y</s>                  tatsu-lab/stanford_alpaca
    koala   BEGINNING OF CONVERSATION: USER: x GPT:y</s>                          young-geng/EasyLM: docs/koala.md

Here `<s>` and `</s>` stand for the tokenizer's start and end of sequence. llama2 writes its start token before every
user turn; the others begin with a start token only where the tokenizer itself would put one.

System messages: chatml gives them a turn of their own; llama2 folds them into the first user turn; in vicuna they
replace the preamble. Alpaca has no system message but an *input* in its second template, so there the system message
is the instruction and the user's first turn the input. Koala has no place for one and says so. Later turns repeat the
shape without the preamble; Alpaca, which is single-turn in the original, sets a blank line between them.
"""

from __future__ import annotations

import hashlib

_TURNS_IN_ORDER = (
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns, but turn ' ~ loop.index ~ ' is by ' ~ message.role) }}"
    "{% endif %}"
)
_SYSTEM_APART = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = none %}{% set turns = messages %}{% endif %}"
)

_CHATML = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_LLAMA2 = (
    _SYSTEM_APART + "{% for message in turns %}" + _TURNS_IN_ORDER + "{% if message.role == 'user' %}"
    "{{ bos_token + '[INST] ' }}"
    "{% if loop.first and system is not none %}{{ '<<SYS>>\n' + system | trim + '\n<</SYS>>\n\n' }}{% endif %}"
    "{{ message.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)

_VICUNA_PREAMBLE = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_VICUNA = (
    "{{ bos_token }}" + _SYSTEM_APART + '{{ ("' + _VICUNA_PREAMBLE + '" if system is none else system) + " " }}'
    "{% for message in turns %}" + _TURNS_IN_ORDER + "{% if message.role == 'user' %}"
    "{{ 'USER: ' + message.content + ' ASSISTANT:' }}"
    "{% else %}{{ ' ' + message.content + eos_token }}{% endif %}{% endfor %}"
)

_ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
_ALPACA_INPUT_PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
_ALPACA = (
    "{{ bos_token }}"
    + _SYSTEM_APART
    + "{% for message in turns %}"
    + _TURNS_IN_ORDER
    + "{% if message.role == 'user' %}"
    "{% if loop.first and system is not none %}"
    "{{ '" + _ALPACA_INPUT_PREAMBLE + "\n\n### Instruction:\n' + system + '\n\n### Input:\n' }}"
    "{% elif loop.first %}{{ '" + _ALPACA_PREAMBLE + "\n\n### Instruction:\n' }}"
    "{% else %}{{ '\n\n### Instruction:\n' }}{% endif %}"
    "{{ message.content + '\n\n### Response:' }}"
    "{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}"
)

_KOALA = (
    "{{ bos_token }}" + _SYSTEM_APART + "{% if system is not none %}{{ raise_exception("
    "'koala has no place for a system message: drop it, or put it into the first user turn') }}{% endif %}"
    "{{ 'BEGINNING OF CONVERSATION: ' }}{% for message in turns %}"
    + _TURNS_IN_ORDER
    + "{% if message.role == 'user' %}"
    "{{ 'USER: ' + message.content + ' GPT:' }}"
    "{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}"
)

TEMPLATES = {"chatml": _CHATML, "llama2": _LLAMA2, "vicuna": _VICUNA, "alpaca": _ALPACA, "koala": _KOALA}
REQUIRED_TOKENS = {"chatml": ("<|im_start|>", "<|im_end|>")}
"""Tokens that a format writes by name and that the vocabulary must hold."""


def built_in_template(name: str, *, tokenizer_writes_start: bool) -> str:
    """The template of a built-in format.

    Where the tokenizer itself begins a text with its start-of-sequence token (LLaMA's does, GPT-2's and SmolLM2's do
    not), so does the template; llama2 always does. The answer needs nothing but the tokenizer's special tokens and can
    be saved beside a model as its `chat_template.jinja`.
    """
    template = TEMPLATES[name]
    return template if tokenizer_writes_start else template.removeprefix("{{ bos_token }}")


def _sha256(template: str) -> str:
    return hashlib.sha256(template.encode()).hexdigest()


WRITES_CONTENTS_SHA256 = frozenset(
    [_sha256(built_in_template(name, tokenizer_writes_start=writes)) for name in TEMPLATES for writes in (True, False)]
    # SmolLM2-135M-Instruct's; its text is in tests/test_template_sandbox.py.
    + ["872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"]
)
"""Templates that write every content as it is, or trimmed, between texts that depend on nothing but the roles: no date,
no question about what a content says. Somebody here has read them; a rendering need not be checked again for each row.
"""

TRUSTED_SHA256 = WRITES_CONTENTS_SHA256
"""Templates that are rendered without limits: the built-in ones and well-known ones that somebody here has read."""


def writes_contents(template: str) -> bool:
    """Whether a template is one of `WRITES_CONTENTS_SHA256`."""
    return _sha256(template) in WRITES_CONTENTS_SHA256
