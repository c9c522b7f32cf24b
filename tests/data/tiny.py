"""Tiny tokenizers, one for each way in which chat templates write conversations."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tunesmith.data.dataset import Dataset
from tunesmith.data.faults import Fault, Note, Parsed
from tunesmith.data.rows import Conversation, Message, TokenRow

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"]
SPECIAL += ["<|head|>", "<|/head|>", "<|eot|>", "<|end|>", "<file>"]
LINES = ["the quick brown fox jumps over the lazy dog", "user assistant system model\n", "  \n\n"]
LLAMA3_SPLIT = r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SYSTEM_PROMPT = "You are a tiny assistant."
CHATML = """{% for m in messages %}{% if loop.first and m.role != 'system' and inserted %}
{{- '<|im_start|>system\n' + inserted + '<|im_end|>\n' }}{% endif %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
LLAMA3 = """{{- bos_token }}{% for m in messages %}
{{- '<|head|>' + m.role + '<|/head|>\n\n' + m.content | trim + '<|eot|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"""
LLAMA31 = """{{- bos_token }}{% if messages[0].role == 'system' %}
{%- set text = messages[0].content %}{% set messages = messages[1:] %}{% else %}
{%- set text = '' %}{% endif %}
{{- '<|head|>system<|/head|>\n\nKnowledge ends in 2023.\n\n' + text + '<|eot|>' }}
{%- for m in messages %}
{{- '<|head|>' + m.role + '<|/head|>\n\n' + m.content + '<|eot|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"""
GEMMA = """{{- bos_token }}{% if messages[0].role == 'system' %}
{{- raise_exception('System role not supported') }}{% endif %}{% for m in messages %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}
{{- m.content | trim + '<end_of_turn>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""
PHI3 = """{% for m in messages %}{{ '<|head|>' + m.role + '\n' + m.content + '<|end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|head|>assistant\n' }}
{%- else %}{{ eos_token }}{% endif %}"""
CHANNEL = """{% for m in messages %}{{ '<|head|>' + m.role }}
{%- if m.role == 'assistant' %}{{ '<s>final<|/head|>' }}{% else %}{{ '<|/head|>' }}{% endif %}
{{- m.content + '<|end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|head|>assistant' }}{% endif %}"""
MARKED = """{% for m in messages %}{% if m.role == 'assistant' %}
{{- '<|im_start|>assistant\n' }}{% generation %}{{ m.content + '<|im_end|>\n' }}
{%- endgeneration %}{% else %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
MARKED_CONTENT = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}
{%- else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
THINKING = """{% for m in messages %}
{%- set text = m.content if loop.last else m.content.split('</think>')[-1] %}
{{- '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
OPENING = """{% for m in messages %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"""
NO_END = """{% for m in messages %}{{ m.role + ':\n' + m.content + '\n\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"""
ORDINARY_END = """{% for m in messages %}{{ m.role + '=' + m.content + '[/turn]' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'assistant=' }}{% endif %}"""
NO_SYSTEM = """{% for m in messages %}{% if m.role != 'system' %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

SMOLLM = CHATML.replace("and inserted", "").replace("inserted", repr(SYSTEM_PROMPT))
TEMPLATES = {
    "chatml": CHATML,
    "smollm": SMOLLM,
    "llama3": LLAMA3,
    "llama31": LLAMA31,
    "gemma": GEMMA,
    "phi3": PHI3,
    "channel": CHANNEL,
    "marked": MARKED,
    "marked_content": MARKED_CONTENT,
    "thinking": THINKING,
    "opening": OPENING,
    "no_end": NO_END,
    "ordinary_end": ORDINARY_END,
    "no_system": NO_SYSTEM,
}
ENDS = {"chatml": "<|im_end|>", "smollm": "<|im_end|>", "llama3": "<|eot|>", "llama31": "<|eot|>"}
ENDS |= {"gemma": "<end_of_turn>", "phi3": "<|end|>", "ordinary_end": "[/turn]"}
ENDS |= {"marked": "<|im_end|>", "marked_content": "<|im_end|>", "no_system": "<|im_end|>"}


@functools.cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer whose template has this name."""
    return tiny_tokenizer(TEMPLATES[name], split=LLAMA3_SPLIT if "llama" in name else None)


def tiny_tokenizer(
    template: str | None,
    *,
    split: str | None = None,
    special: Sequence[str] = SPECIAL,
    added: Sequence[str] = ("[/turn]",),
    bos: str | None = "<s>",
    eos: str = "</s>",
) -> PreTrainedTokenizerFast:
    """Byte-level BPE of a few merges; ``added`` tokens are not special.

    Words are split as in GPT-2 unless another expression is given.
    """
    tokenizer = Tokenizer(models.BPE())
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    words = [pre_tokenizers.Split(Regex(split), "isolated")] if split else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*words, by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES * 20, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in added])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, chat_template=template
    )


def talk(*contents: str, system: str | None = None, line: int = 1) -> Conversation:
    """A conversation in which user and assistant take turns, the user first."""
    messages = [Message("system", system)] if system else []
    roles = ("user", "assistant")
    messages += [Message(roles[i % 2], content) for i, content in enumerate(contents)]
    return Conversation(tuple(messages), "rows.jsonl", line)


@dataclass(frozen=True)
class Document:
    """One of the documents of a conversation; the first has what is said of all of them."""

    row: TokenRow | None
    faults: tuple[Fault, ...] = ()
    notes: tuple[Note, ...] = ()


def documents_of(outcomes: Iterable[Parsed[tuple[TokenRow, ...]]]) -> list[Document]:
    """Each document of the conversations; one without a row where there is none."""
    found = []
    for each in outcomes:
        first, *others = each.value or (None,)
        found += [Document(first, each.faults, each.notes), *map(Document, others)]
    return found


def tokens_of(dataset: Dataset) -> tuple[list[int], list[float]]:
    """The ids and weights of all rows, one after the other."""
    rows = [dataset[i] for i in range(len(dataset))]
    ids = [token for row in rows for token in row.ids.tolist()]
    return ids, [weight for row in rows for weight in row.weights.tolist()]


def is_clean(text: str) -> bool:
    """Whether no template trims a text or takes a part of it for more than text."""
    return text.strip() == text != "" and "<" not in text and "[" not in text


def supervised_runs(tokenizer: PreTrainedTokenizerFast, row: TokenRow) -> list[str]:
    """The decoded text of each run of supervised tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.weights > 0, [0]])))
    runs = zip(edges[::2], edges[1::2], strict=True)
    return [tokenizer.decode(row.ids[start:stop]) for start, stop in runs]
