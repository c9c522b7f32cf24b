"""A conversation in the model's chat template: ids, and the loss weight of predicting each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.answers import Draft, Unrenderable, draft, locate
from tunesmith.data.chat_format import ChatFormat, as_dicts, chat_text, study
from tunesmith.data.faults import Fault, Problem, Remark, refuse
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.system_prompt import inserted_system_prompt
from tunesmith.data.tokenizer import Tokenizer, encode

__all__ = ["Rendered", "TokenRow", "inserted_system_prompt", "render", "render_each"]
__all__ += ["render_prompt"]

ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class TokenRow:
    """A rendered conversation of T tokens.

    ``ids`` int32 [T]; ``weights`` float32 [T] is the loss weight of predicting that token: 0 where
    nothing is supervised, and always 0 for the first.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation's row, or the faults that kept it from becoming one; what was noticed."""

    conversation: Conversation
    row: TokenRow | None
    faults: tuple[Fault, ...] = ()
    remarks: tuple[Remark, ...] = ()


def render(tokenizer: Tokenizer, conversation: Conversation) -> TokenRow:
    """The conversation as the model will see it in training; raises FaultyData if it cannot."""
    (rendered,) = render_each(tokenizer, [conversation], study(tokenizer))
    refuse(rendered.faults)
    assert rendered.row is not None
    return rendered.row


def render_each(
    tokenizer: Tokenizer, conversations: Iterable[Conversation], chat_format: ChatFormat
) -> Iterator[Rendered]:
    """Every conversation in order, rendered in batches; a faulty one does not raise."""
    source = iter(conversations)
    while some := list(islice(source, ROWS_AT_ONCE)):
        drafts = [_draft(tokenizer, conversation, chat_format) for conversation in some]
        texts = list(dict.fromkeys(t for each, _ in drafts if each for t in each.texts()))
        ids = dict(zip(texts, encode(tokenizer, texts), strict=True))
        for conversation, (each, problems) in zip(some, drafts, strict=True):
            row = None
            if each:
                try:
                    spans = locate(tokenizer, each, ids, chat_format=chat_format)
                    row = _row(conversation, each, ids, spans)
                except Unrenderable as error:
                    problems = [error.problem]
            faults = (problem.at(conversation.file, conversation.line) for problem in problems)
            yield Rendered(conversation, row, tuple(faults))


def _draft(
    tokenizer: Tokenizer, conversation: Conversation, chat_format: ChatFormat
) -> tuple[Draft | None, list[Problem]]:
    problems = list(_control_tokens(conversation.messages, chat_format))
    if not conversation.supervised:
        what = "no assistant message is trained, so there is nothing to learn."
        remedy = "Add an answer, give one a weight above 0, or remove the row."
        problems.append(Problem("nothing_supervised", what, remedy))
    if problems:
        return None, problems
    try:
        return draft(tokenizer, conversation, chat_format), []
    except Unrenderable as error:
        return None, [error.problem]


def _control_tokens(messages: Sequence[Message], chat_format: ChatFormat) -> Iterator[Problem]:
    for number, message in enumerate(messages, start=1):
        found = chat_format.control.search(message.content)
        if found:
            yield Problem(
                "control_tokens",
                f"message {number} ({message.role}) contains the control token `{found[0]}`.",
                "Remove it, or write it in another way: the model would read it as the structure "
                "of the conversation.",
            )


def _row(
    conversation: Conversation,
    draft: Draft,
    ids: Mapping[str, list[int]],
    spans: Sequence[tuple[int, int]],
) -> TokenRow:
    full = np.array(ids[draft.full], dtype=np.int32)
    weights = np.zeros(len(full), dtype=np.float32)
    for cut, (start, stop) in zip(draft.cuts, spans, strict=True):
        weights[start:stop] = conversation.messages[cut.message].weight
    weights[:1] = 0
    return TokenRow(full, weights, conversation.file, conversation.line)


def render_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids that ask the model for the next answer, as training saw them before one.

    Control tokens inside a message are read as ordinary text, so that no message can pass for
    another role's.
    """
    chat_format = study(tokenizer)
    if any(chat_format.control.search(message.content) for message in messages):
        ids = tokenizer.apply_chat_template(
            as_dicts(messages),
            tokenize=True,
            return_dict=False,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
        )
        assert isinstance(ids, list)
        return ids
    (ids,) = encode(tokenizer, [chat_text(tokenizer, messages, prompt=True)])
    return ids
