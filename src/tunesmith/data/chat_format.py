"""What a model's chat template does, learned once by rendering messages that are known."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tunesmith.data.faults import Remark
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import Tokenizer, decode, encode
from tunesmith.errors import DataError

SYSTEM, QUESTION, ANSWER = "probesystem7q", "probequestion4x", "probeanswer9z"
PROBE = (Message("user", QUESTION), Message("assistant", ANSWER))
GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
NO_END = Remark(
    "no_end_token",
    "the chat template ends an answer without an end token: the model will not learn to stop",
)
OTHER_PROMPT = Remark(
    "other_prompt",
    "the chat template opens an answer differently when the model is asked than in training",
)
DATED = Remark(
    "dated_template", "the chat template writes today's date: rows change from one day to the next"
)
NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How a tokenizer's chat template writes an answer.

    ``closing`` counts the control tokens which follow an answer in its turn: the first ends the
    turn, 0 means that none does. ``marked`` counts those inside the template's {% generation %}
    marks; it is None without (working) marks. ``control`` finds tokens that structure a
    conversation, ``special`` every other special token. ``keeps_system`` is whether a system
    message is written (or refused) and not left out. ``remarks`` are true of every row.
    """

    closing: int
    marked: int | None
    special_ids: frozenset[int]
    control: re.Pattern[str]
    special: re.Pattern[str]
    keeps_system: bool
    remarks: tuple[Remark, ...] = ()


def chat_text(tokenizer: Tokenizer, messages: Sequence[Message], *, prompt: bool = False) -> str:
    """The messages in the model's template; ``prompt`` opens the next answer."""
    text = tokenizer.apply_chat_template(
        as_dicts(messages), tokenize=False, add_generation_prompt=prompt
    )
    assert isinstance(text, str)
    return text


def marked_text(
    tokenizer: Tokenizer, messages: Sequence[Message]
) -> tuple[str, list[tuple[int, int]]]:
    """The messages in the model's template, and the character spans it marks as generated."""
    texts, spans = render_jinja_template(
        conversations=[as_dicts(messages)],
        chat_template=tokenizer.get_chat_template(),
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    return texts[0], spans[0]


def as_dicts(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as chat templates take them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def study(tokenizer: Tokenizer) -> ChatFormat:
    """Learn the format by rendering a question and an answer; raises DataError without one."""
    template = template_of(tokenizer)
    prompt, full = _probe(tokenizer)
    system = with_system(tokenizer)
    after = full.rpartition(ANSWER)[2]
    special = special_tokens(tokenizer)
    written = _added_tokens(tokenizer, prompt + after)
    ids = frozenset(special) | frozenset(written)
    seen = full + (system or "")
    used = {text for text in special.values() if text in seen} | set(written.values())
    used |= _named_tokens(tokenizer)
    prompt_ids, full_ids, after_ids = encode(tokenizer, [prompt, full, after])
    closing = sum(i in ids for i in after_ids)
    is_true = {
        NO_END: not closing,
        OTHER_PROMPT: full_ids[: len(prompt_ids)] != prompt_ids,
        DATED: "strftime_now" in template,
    }
    return ChatFormat(
        closing=closing,
        marked=_marked(tokenizer, template, ids),
        special_ids=ids,
        control=pattern(used),
        special=pattern(set(special.values()) - used),
        keeps_system=system is None or SYSTEM in system,
        remarks=tuple(remark for remark, true in is_true.items() if true),
    )


def _probe(tokenizer: Tokenizer) -> tuple[str, str]:
    """A question that waits for its answer, and a question with one."""
    try:
        prompt = chat_text(tokenizer, PROBE[:1], prompt=True)
        full = chat_text(tokenizer, PROBE)
    except (TemplateError, TypeError) as error:
        raise DataError(
            f"The tokenizer's chat template cannot write a question and an answer: {error}.",
            remedy="Give a model with a working chat template, or mend its chat_template.jinja.",
            code="chat_template",
        ) from None
    if ANSWER not in full:
        raise DataError(
            "The tokenizer's chat template leaves out the assistant's answer.",
            remedy="Give a model with a template for finished conversations.",
            code="chat_template",
        )
    return prompt, full


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


def special_tokens(tokenizer: Tokenizer) -> dict[int, str]:
    """Every token that the tokenizer calls special, by id."""
    tokens = tokenizer.added_tokens_decoder
    special = {i: token.content for i, token in tokens.items() if token.special}
    return special | {i: decode(tokenizer, [i]) for i in tokenizer.all_special_ids}


def _added_tokens(tokenizer: Tokenizer, text: str) -> dict[int, str]:
    """Added tokens in ``text``, special or not: some models end turns with ordinary ones."""
    tokens = tokenizer.added_tokens_decoder.items()
    return {i: t.content for i, t in tokens if t.content.strip() and t.content in text}


def _named_tokens(tokenizer: Tokenizer) -> set[str]:
    names = ("bos_token", "eos_token", "pad_token")
    found = (tokenizer.special_tokens_map.get(name) for name in names)
    return {token for token in found if isinstance(token, str)}


def _marked(tokenizer: Tokenizer, template: str, special_ids: frozenset[int]) -> int | None:
    """Control tokens after the answer inside the template's marks; None if marks do not work."""
    if not GENERATION_MARK.search(template):
        return None
    text, spans = marked_text(tokenizer, PROBE)
    marked = [text[start:stop] for start, stop in spans]
    if len(marked) != 1 or ANSWER not in marked[0]:
        return None
    (after,) = encode(tokenizer, [marked[0].rpartition(ANSWER)[2]])
    return sum(i in special_ids for i in after)


def pattern(texts: Iterable[str]) -> re.Pattern[str]:
    """An expression that finds each of ``texts``, the longest first."""
    longest_first = sorted(filter(None, texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else NOTHING


def with_system(tokenizer: Tokenizer) -> str | None:
    """A question with a system message in front; None if the template refuses one."""
    try:
        return chat_text(tokenizer, [Message("system", SYSTEM), *PROBE[:1]])
    except (TemplateError, TypeError):
        return None
