"""A conversation in the model's chat template: ids, and the loss weight of predicting each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from tunesmith.data.chat_format import OTHER_PROMPT, ChatFormat, inserted_system_prompt, study
from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, encode_marked, given
from tunesmith.data.examples import Unrenderable, answer_example, locate, whole_example
from tunesmith.data.faults import Parsed, Problem, Remark, refuse
from tunesmith.data.fit import NO_END, is_plain, left_out, row_remarks, unfit
from tunesmith.data.rows import (
    Conversation,
    Example,
    Message,
    TokenRow,
    Tool,
    texts_in,
    texts_of,
)
from tunesmith.data.tokenizer import Tokenizer, encode

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
Documents = Parsed[tuple[TokenRow, ...]]  # what a conversation became


def render(
    tokenizer: Tokenizer, conversation: Conversation, rendering: Rendering = ROWS
) -> TokenRow:
    """The conversation as the model will see it in training; raises FaultyData if it cannot."""
    (outcome,) = render_each(tokenizer, [conversation], study(tokenizer), rendering)
    refuse(outcome.faults)
    assert outcome.value
    return outcome.value[0]


def render_each(
    tokenizer: Tokenizer,
    conversations: Iterable[Conversation],
    chat_format: ChatFormat,
    rendering: Rendering = ROWS,
) -> Iterator[Documents]:
    """The documents of every conversation in order, in batches; a faulty one does not raise."""
    source = iter(conversations)
    inserted = inserted_system_prompt(tokenizer)
    lacks_end = not chat_format.closing  # true of every row, and reported once
    while some := list(islice(source, ROWS_AT_ONCE)):
        made = [_examples(tokenizer, each, chat_format, rendering) for each in some]
        texts = {
            text: 0 for examples, own, _ in made if not own for e in examples for text in e.texts()
        }
        ids = dict(zip(texts, encode(tokenizer, list(texts)), strict=True))
        for conversation, (examples, own, problems) in zip(some, made, strict=True):
            remarks = row_remarks(conversation, chat_format, inserted) if examples else []
            if rendering.document == "answer":
                remarks = [remark for remark in remarks if remark is not OTHER_PROMPT]
            rows, more, faulty = _rows(conversation, examples, own or ids, chat_format)
            place = conversation.file, conversation.line
            faults = tuple(problem.at(*place) for problem in (*problems, *faulty))
            if lacks_end:
                faults, lacks_end = (NO_END.at(conversation.file, None), *faults), False
            noticed = tuple(dict.fromkeys((*remarks, *more)))
            yield Parsed(tuple(rows), conversation.line, faults, noticed)


def _examples(
    tokenizer: Tokenizer, conversation: Conversation, chat_format: ChatFormat, rendering: Rendering
) -> tuple[list[Example], dict[str, list[int]], list[Problem]]:
    """A conversation's documents as text; none where the template cannot take it, and why.

    Of texts in which control tokens are read as plain text the ids are given too.
    """
    has_control = _has_control(conversation.messages, conversation.tools, chat_format)
    is_refused = has_control and rendering.control_tokens == "refuse"
    problems = unfit(conversation, chat_format, control_tokens=is_refused)
    if problems or not chat_format.closing:
        return [], {}, problems
    try:
        chat = given(
            conversation.messages,
            conversation.tools,
            dialect=chat_format.tools.dialect,
            marking=chat_format.control if has_control else None,
        )
        if rendering.document == "row":
            examples = [whole_example(tokenizer, conversation, chat, chat_format)]
        else:
            examples = [
                answer_example(tokenizer, i, chat, chat_format) for i in conversation.supervised
            ]
        texts = (text for each in examples for text in each.texts() if has_control)
        return examples, {text: encode_marked(tokenizer, text) for text in texts}, []
    except Unrenderable as error:
        return [], {}, [error.problem]
    except TEMPLATE_ERRORS as error:
        return [], {}, [_refused(error)]


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


def _rows(
    conversation: Conversation,
    examples: Sequence[Example],
    ids: Mapping[str, list[int]],
    chat_format: ChatFormat,
) -> tuple[list[TokenRow], list[Remark], list[Problem]]:
    """The examples as tokens, what was noticed, and what keeps others from being trained on."""
    rows, remarks, problems = [], list[Remark](), list[Problem]()
    for example in examples:
        try:
            spans = locate(example, ids, chat_format=chat_format)
        except Unrenderable as error:
            problems.append(error.problem)
            continue
        lacking, more = _left_out(conversation, example)
        problems += lacking
        remarks += [*example.remarks, *more]
        if not lacking:
            rows.append(_row(conversation, example, ids[example.full], spans))
    return rows, [*remarks, *([ANSWERS_APART] if len(examples) > 1 else [])], problems


def _left_out(conversation: Conversation, example: Example) -> tuple[list[Problem], list[Remark]]:
    if is_plain(conversation):
        return [], []
    trained = [cut.message for cut in example.cuts]
    until = len(conversation.messages) if example.whole else trained[-1] + 1
    return left_out(conversation, example.full, until=until, trained=trained)


def _row(
    conversation: Conversation,
    example: Example,
    ids: Sequence[int],
    spans: Sequence[tuple[int, int]],
) -> TokenRow:
    weights = np.zeros(len(ids), dtype=np.float32)
    for cut, (start, stop) in zip(example.cuts, spans, strict=True):
        weights[start:stop] = conversation.messages[cut.message].weight
    weights[:1] = 0
    whole = np.array(ids, dtype=np.int32)
    return TokenRow(whole, weights, conversation.file, conversation.line)


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
    chat = given(messages, tools, dialect=chat_format.tools.dialect, marking=marking)
    text = chat_text(tokenizer, chat, prompt=True)
    return encode_marked(tokenizer, text) if has_control else encode(tokenizer, [text])[0]
