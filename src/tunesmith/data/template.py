"""A conversation in the model's chat template: ids, and the loss weight of predicting each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.chat_format import OTHER_PROMPT, ChatFormat, inserted_system_prompt, study
from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, encode_marked, given
from tunesmith.data.examples import Draft, Unrenderable, answer_draft, draft, locate
from tunesmith.data.faults import Fault, Problem, Remark, refuse
from tunesmith.data.fit import NO_END, is_plain, left_out, row_remarks, unfit
from tunesmith.data.rows import Conversation, Message, Tool, texts_in, texts_of
from tunesmith.data.tokenizer import Tokenizer, encode

__all__ = ["Rendered", "Rendering", "TokenRow", "inserted_system_prompt", "render", "render_each"]
__all__ += ["render_prompt"]

ROWS_AT_ONCE = 256
ANSWERS_APART = Remark(
    "answers_apart",
    "each trained answer is a document of its own, behind the prompt that is served for it",
)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What becomes a document (a whole row, or each trained answer behind the prompt that is
    served for it), and what happens to control tokens inside messages.
    """

    document: Literal["row", "answer"] = "row"
    control_tokens: Literal["refuse", "text"] = "refuse"


ROWS = Rendering()


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
    """A document of a conversation, or the faults that kept it from becoming one.

    ``remarks`` are true of the whole row: its first document alone has them.
    """

    conversation: Conversation
    row: TokenRow | None
    faults: tuple[Fault, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(slots=True)
class _Drafted:
    """A conversation's documents as text; with any problem in it there are none.

    ``ids`` are those of texts in which control tokens are read as plain text.
    """

    conversation: Conversation
    drafts: list[Draft] = field(default_factory=list)
    ids: dict[str, list[int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def render(
    tokenizer: Tokenizer, conversation: Conversation, rendering: Rendering = ROWS
) -> TokenRow:
    """The conversation as the model will see it in training; raises FaultyData if it cannot."""
    first, *_ = render_each(tokenizer, [conversation], study(tokenizer), rendering)
    refuse(first.faults)
    assert first.row is not None
    return first.row


def render_each(
    tokenizer: Tokenizer,
    conversations: Iterable[Conversation],
    chat_format: ChatFormat,
    rendering: Rendering = ROWS,
) -> Iterator[Rendered]:
    """The documents of every conversation in order, in batches; a faulty one does not raise."""
    source = iter(conversations)
    inserted = inserted_system_prompt(tokenizer)
    lacks_end = not chat_format.closing  # true of every row, and told once
    while some := list(islice(source, ROWS_AT_ONCE)):
        drafted = [_drafted(tokenizer, each, chat_format, rendering) for each in some]
        plain = [each for each in drafted if not each.ids]
        texts = {text: 0 for each in plain for draft in each.drafts for text in draft.texts()}
        ids = dict(zip(texts, encode(tokenizer, list(texts)), strict=True))
        for each in drafted:
            each.remarks += row_remarks(each.conversation, chat_format, inserted)
            if rendering.document == "answer":
                each.remarks = [r for r in each.remarks if r is not OTHER_PROMPT]
            for rendered in _rendered(each, each.ids or ids, chat_format):
                yield _without_end(rendered) if lacks_end else rendered
                lacks_end = False


def _drafted(
    tokenizer: Tokenizer, conversation: Conversation, chat_format: ChatFormat, rendering: Rendering
) -> _Drafted:
    """A conversation's documents; none where the template cannot take it."""
    has_control = _has_control(conversation.messages, conversation.tools, chat_format)
    told = has_control and rendering.control_tokens == "refuse"
    problems = unfit(conversation, chat_format, control_tokens=told)
    drafted = _Drafted(conversation, problems=problems)
    if problems or not chat_format.closing:
        return drafted
    try:
        chat = given(
            conversation.messages,
            conversation.tools,
            dialect=chat_format.dialect,
            marking=chat_format.control if has_control else None,
        )
        if rendering.document == "row":
            drafted.drafts.append(draft(tokenizer, conversation, chat, chat_format))
        for i in conversation.supervised if rendering.document == "answer" else ():
            drafted.drafts.append(answer_draft(tokenizer, i, chat, chat_format))
        if has_control:
            texts = (text for each in drafted.drafts for text in each.texts())
            drafted.ids = {text: encode_marked(tokenizer, text) for text in texts}
    except Unrenderable as error:
        problems.append(error.problem)
    except TEMPLATE_ERRORS as error:
        problems.append(_refused(error))
    return drafted


def _has_control(
    messages: Sequence[Message], tools: Sequence[Tool], chat_format: ChatFormat
) -> bool:
    texts = "\n".join(text for message in messages for text in texts_of(message))
    if chat_format.control.search(texts):
        return True
    return any(chat_format.control.search(text) for text in texts_in(tools))


def _refused(error: Exception) -> Problem:
    return Problem(
        "refused_by_template",
        f"the model's chat template refuses this conversation: {error}.",
        "Change what it names (instructions can go into the first user message), or use a model "
        "whose template takes it.",
    )


def _rendered(
    drafted: _Drafted, ids: Mapping[str, list[int]], chat_format: ChatFormat
) -> Iterator[Rendered]:
    conversation, remarks = drafted.conversation, drafted.remarks
    place = conversation.file, conversation.line
    if drafted.problems or not drafted.drafts:
        faults = tuple(problem.at(*place) for problem in drafted.problems)
        yield Rendered(conversation, None, faults)
        return
    rendered = []
    for each in drafted.drafts:
        row, problems = None, []
        try:
            spans = locate(each, ids, chat_format=chat_format)
            row = _row(conversation, each, ids, spans)
        except Unrenderable as error:
            problems = [error.problem]
        else:
            problems, more = _left_out(conversation, each)
            remarks += [*each.remarks, *more]
        faults = tuple(problem.at(*place) for problem in problems)
        rendered.append(Rendered(conversation, None if faults else row, faults))
    first, *others = rendered
    remarks += [ANSWERS_APART] if others else []
    yield replace(first, remarks=tuple(dict.fromkeys(remarks)))
    yield from others


def _without_end(rendered: Rendered) -> Rendered:
    """The same with the fault of its whole file: the template ends no answer."""
    fault = NO_END.at(rendered.conversation.file, None)
    return replace(rendered, faults=(fault, *rendered.faults))


def _left_out(conversation: Conversation, draft: Draft) -> tuple[list[Problem], list[Remark]]:
    if is_plain(conversation):
        return [], []
    trained = [cut.message for cut in draft.cuts]
    until = len(conversation.messages) if draft.whole else trained[-1] + 1
    return left_out(conversation, draft.full, until=until, trained=trained)


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


def render_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    *,
    chat_format: ChatFormat | None = None,
) -> list[int]:
    """The ids that ask the model for the next answer, as training saw them before one.

    Control tokens inside a message are read as ordinary text, so that no message can pass for
    another role's. Who asks often gives what ``study`` found, which takes longer than a prompt.
    """
    chat_format = chat_format or study(tokenizer)
    has_control = _has_control(messages, tools, chat_format)
    marking = chat_format.control if has_control else None
    chat = given(messages, tools, dialect=chat_format.dialect, marking=marking)
    text = chat_text(tokenizer, chat, prompt=True)
    return encode_marked(tokenizer, text) if has_control else encode(tokenizer, [text])[0]
