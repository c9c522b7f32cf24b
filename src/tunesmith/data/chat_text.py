"""What a chat template is given, the text that it makes of it, and thinking inside a text."""

import copy
import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import (
    encode_marked_chat,
    mark_control_tokens,
    render_jinja_template,
)

from tunesmith.core.errors import DataError
from tunesmith.data.rows import Message, Tool, ToolCall
from tunesmith.data.tokenizer import Tokenizer

OPEN, CLOSE = "<think>", "</think>"


def with_thinking(thinking: str, content: str) -> str:
    """The content behind its thinking, as models that think write it."""
    return f"{OPEN}\n{thinking}\n{CLOSE}\n\n{content}"


def split_thinking(text: str) -> tuple[str, str]:
    """The thinking that a text begins with ("" without any), and what is said after it.

    The opening mark may be missing: some prompts write it.
    """
    thinking, closed, said = text.rpartition(CLOSE)
    if not closed:
        return "", text
    return thinking.strip().removeprefix(OPEN).strip(), said.lstrip()


# What a template may end in besides its own raise_exception: it is a program that others wrote.
TEMPLATE_ERRORS = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class TemplateDialect:
    """In what way a template wants what not every template wants in the same way.

    ``arguments_as_text``: a call's arguments as JSON text, not as an object. ``empty_content``: a
    call that nothing is said with has the content "", not none. ``inline_thinking``: thinking
    is part of the content, between <think> marks.
    """

    arguments_as_text: bool = False
    empty_content: bool = False
    inline_thinking: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """Messages and tools as JSON values, as a chat template takes them."""

    messages: Sequence[Mapping[str, object]]
    tools: Sequence[Mapping[str, object]] | None = None

    def up_to(self, count: int) -> "Given":
        """The same with the first ``count`` messages only."""
        return Given(self.messages[:count], self.tools)


def given(
    messages: Iterable[Message],
    tools: Sequence[Tool] = (),
    *,
    dialect: TemplateDialect = TemplateDialect(),
    marking: re.Pattern[str] | None = None,
) -> Given:
    """Messages and tools for a template; what ``marking`` finds in them is read as plain text."""
    dicts: list[Mapping[str, object]] = [_as_dict(message, dialect) for message in messages]
    schemas = list(tools) or None
    if marking is None:
        return Given(dicts, schemas)
    # A role is the template's to read: texts alone are marked.
    marked = [{**_marked(m, marking), "role": m["role"]} for m in dicts]
    return Given(marked, None if schemas is None else [_marked(t, marking) for t in schemas])


def _as_dict(message: Message, dialect: TemplateDialect) -> dict[str, object]:
    content, thinking = message.content, message.thinking
    if thinking and dialect.inline_thinking:
        content, thinking = with_thinking(thinking, content), None
    values: dict[str, object] = {"role": message.role}
    if content or not message.tool_calls or dialect.empty_content:
        values["content"] = content
    if thinking:
        values["reasoning_content"] = thinking
        values["thinking"] = thinking
    if message.tool_calls:
        values["tool_calls"] = [_call(call, dialect) for call in message.tool_calls]
    optional = {"name": message.name, "tool_call_id": message.tool_call_id}
    return values | {key: value for key, value in optional.items() if value is not None}


def _call(call: ToolCall, dialect: TemplateDialect) -> dict[str, object]:
    arguments: object = call.arguments
    if dialect.arguments_as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    values: dict[str, object] = {"type": "function", "function": function}
    return values | ({"id": call.id} if call.id else {})


def _marked(values: Mapping[str, object], marking: re.Pattern[str]) -> dict[str, object]:
    """JSON values with control tokens marked, in keys as well."""

    def mark(value: object) -> object:
        if isinstance(value, Mapping):
            return {mark_control_tokens(key, marking): mark(item) for key, item in value.items()}
        if isinstance(value, list):
            return [mark(item) for item in value]
        return mark_control_tokens(value, marking)

    return {key: mark(value) for key, value in values.items()}


def shared_start(first: str, *others: str) -> str:
    """What all of these texts begin with."""
    return os.path.commonprefix([first, *others])  # noqa: RUF071  # characters are meant


def unmarked(text: str) -> str:
    """Text for people, without the marks around what is read as plain text."""
    return str(mark_control_tokens(text, NOTHING))


def chat_text(tokenizer: Tokenizer, given: Given, *, prompt: bool = False) -> str:
    """What the model's template writes; ``prompt`` opens the next answer."""
    text = tokenizer.apply_chat_template(
        given.messages, tools=given.tools, tokenize=False, add_generation_prompt=prompt
    )
    assert isinstance(text, str)
    return text


def marked_text(tokenizer: Tokenizer, given: Given) -> tuple[str, list[tuple[int, int]]]:
    """What the model's template writes, and the character spans that it marks as generated."""
    texts, spans = render_jinja_template(
        conversations=[list(given.messages)],
        tools=given.tools,
        chat_template=tokenizer.get_chat_template(tools=given.tools),
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    return texts[0], spans[0]


AnyTokenizer = TypeVar("AnyTokenizer", bound=Tokenizer)
_OWN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})
_TAG = re.compile(r"{%.*?%}|{{.*?}}", re.DOTALL)
_HEAD_END = "{#- -#}"  # of what ``with_options`` writes
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")


def with_options(tokenizer: AnyTokenizer, options: Mapping[str, object]) -> AnyTokenizer:
    """The tokenizer, with a chat template in which these variables have these values.

    The template itself sets them, so that they hold wherever it is rendered, in other programs
    too; who gives `apply_chat_template` another value gets that. The tokenizer that was given is
    not changed. Raises DataError for a variable that the template does not read.
    """
    if not options:
        return tokenizer
    template_of(tokenizer)
    given, templates = tokenizer.chat_template, _templates(tokenizer)
    _require_read(options, templates.values())
    head = "".join(
        f"{{%- if {name} is not defined %}}{{%- set {name} = {_literal(value)} %}}{{%- endif %}}"
        for name, value in options.items()
    )
    changed = {
        name: text if text.startswith(head) else f"{head}{_HEAD_END}{text}"
        for name, text in templates.items()
    }
    found = copy.copy(tokenizer)  # the vocabulary is shared
    found.chat_template = changed if isinstance(given, dict) else changed[""]
    return found


def same_template(a: Tokenizer, b: Tokenizer) -> bool:
    """Whether two chat templates are the same, whatever variables ``with_options`` set in them."""
    bare = [
        {name: text.rpartition(_HEAD_END)[2] for name, text in _templates(each).items()}
        for each in (a, b)
    ]
    return bare[0] == bare[1]


def _templates(tokenizer: Tokenizer) -> Mapping[str, str]:
    """The chat templates by name; one alone has none."""
    given = tokenizer.chat_template
    return given if isinstance(given, dict) else {"": str(given)}


def _literal(value: object) -> str:
    """A value as Jinja writes it."""
    return json.dumps(value, ensure_ascii=False)


def _require_read(options: Mapping[str, object], templates: Iterable[str]) -> None:
    tags = "\n".join(tag for text in templates for tag in _TAG.findall(text))
    read = set(_WORD.findall(tags)) - _OWN
    if unread := sorted(set(options) - read):
        near = difflib.get_close_matches(unread[0], read, n=1)
        known = [name for name in KNOWN_OPTIONS if name in read]
        raise DataError(
            f"The model's chat template reads no variable `{unread[0]}`, which "
            "data.template_options sets.",
            remedy=f"Did you mean `{near[0]}`?"
            if near
            else f"It reads {', '.join(known)}."
            if known
            else "Leave it out: this template has no options that are known here.",
            code="template_options",
        )


KNOWN_OPTIONS = (
    *("enable_thinking", "thinking", "reasoning_effort", "thinking_budget", "model_identity"),
    *("preserve_thinking", "keep_past_thinking"),
)
"""Variables of published templates, for a message."""


def encode_marked(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text in which marks enclose what is read as plain text.

    Raises ValueError where the tokenizer makes a control token of plain text, too.
    """
    return list(encode_marked_chat(tokenizer, text))


def template_of(tokenizer: Tokenizer) -> str:
    """The tokenizer's chat template; raises DataError without one."""
    try:
        return tokenizer.get_chat_template()
    except ValueError:
        raise DataError(
            "The model's tokenizer has no chat template, so rows cannot be written as it expects.",
            remedy="Give an instruct model, or add a chat_template.jinja to the model's folder.",
            code="chat_template",
        ) from None
