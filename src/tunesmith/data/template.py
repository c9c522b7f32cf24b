"""A conversation in the model's chat template: ids, loss weights, and what the template omits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

import numpy as np

from tunesmith.data.chat_format import OTHER_PROMPT, ChatFormat, inserted_system_prompt, study
from tunesmith.data.chat_text import (
    CLOSE,
    TEMPLATE_ERRORS,
    chat_text,
    encode_marked,
    given,
)
from tunesmith.data.examples import Unrenderable, answer_example, locate, whole_example
from tunesmith.data.faults import READ_AS_STRUCTURE, Fault, Note, Parsed, refuse
from tunesmith.data.left_out import ignored, left_out, require_written
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
ANSWERS_APART = Note(
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
            notes = row_notes(conversation, chat_format, inserted) if examples else []
            if rendering.document == "answer":
                notes = [note for note in notes if note is not OTHER_PROMPT]
            rows, more, faulty = _rows(conversation, examples, own or ids, chat_format)
            place = conversation.file, conversation.line
            faults = tuple(problem.at(*place) for problem in (*problems, *faulty))
            if lacks_end:
                faults, lacks_end = (NO_END.at(conversation.file, None), *faults), False
            noticed = tuple(dict.fromkeys((*notes, *more)))
            yield Parsed(tuple(rows), conversation.line, faults, noticed)


def _examples(
    tokenizer: Tokenizer, conversation: Conversation, chat_format: ChatFormat, rendering: Rendering
) -> tuple[list[Example], dict[str, list[int]], list[Fault]]:
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
        what = f"the model's chat template refuses this conversation: {error}."
        remedy = "Change what it names (instructions can go into the first user message), or use a "
        remedy += "model whose template takes it."
        return [], {}, [Fault("refused_by_template", what, remedy)]


def _has_control(
    messages: Sequence[Message], tools: Sequence[Tool], chat_format: ChatFormat
) -> bool:
    texts = "\n".join(chain(*map(texts_of, messages), texts_in(tools)))
    return chat_format.control.search(texts) is not None


def _rows(
    conversation: Conversation,
    examples: Sequence[Example],
    ids: Mapping[str, list[int]],
    chat_format: ChatFormat,
) -> tuple[list[TokenRow], list[Note], list[Fault]]:
    """The examples as tokens, what was noticed, and what keeps others from being trained on."""
    rows, notes, problems = [], list[Note](), list[Fault]()
    for example in examples:
        try:
            spans = locate(example, ids, chat_format=chat_format)
        except Unrenderable as error:
            problems.append(error.problem)
            continue
        lacking, more = left_out(conversation, example)
        problems += lacking
        notes += [*example.notes, *more]
        if not lacking:
            whole = np.array(ids[example.full], dtype=np.int32)
            weights = np.zeros(len(whole), dtype=np.float32)
            for cut, (start, stop) in zip(example.cuts, spans, strict=True):
                weights[start:stop] = conversation.messages[cut.message].weight
            weights[:1] = 0
            rows.append(TokenRow(whole, weights, conversation.file, conversation.line))
    return rows, [*notes, *([ANSWERS_APART] if len(examples) > 1 else [])], problems


def render_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    *,
    chat_format: ChatFormat | None = None,
    whole: bool = False,
) -> list[int]:
    """The ids that ask the model for the next answer, as training saw them before one.

    Control tokens inside a message are read as ordinary text, so that no message can pass for
    another role's. Who asks often gives what ``study`` found, which takes longer than a prompt.
    With ``whole`` it raises DataError where the template leaves a part out.
    """
    chat_format = chat_format or study(tokenizer)
    if whole:
        require_written(messages, tools, chat_format)
    has_control = _has_control(messages, tools, chat_format)
    marking = chat_format.control if has_control else None
    chat = given(messages, tools, dialect=chat_format.tools.dialect, marking=marking)
    text = chat_text(tokenizer, chat, prompt=True)
    if whole:
        require_written(messages, tools, chat_format, text)
    return encode_marked(tokenizer, text) if has_control else encode(tokenizer, [text])[0]


NO_END = Fault(
    "end_not_trained",
    "the chat template ends an answer without an end-of-turn token, so none is trained and the "
    "model would never stop.",
    "Write {{ eos_token }} behind the assistant's content in the model's chat_template.jinja.",
)


def unfit(
    conversation: Conversation, chat_format: ChatFormat, *, control_tokens: bool
) -> list[Fault]:
    """Every problem of a row with this template; ``control_tokens``: report those in it too."""
    problems = list(_control_tokens(conversation, chat_format)) if control_tokens else []
    problems += ignored(conversation, chat_format)
    if not conversation.supervised:
        what = "no assistant message is trained, so there is nothing to learn."
        remedy = "Add an answer, give one a weight above 0, or remove the row."
        problems.append(Fault("nothing_supervised", what, remedy))
    return problems


def _control_tokens(conversation: Conversation, chat_format: ChatFormat) -> Iterator[Fault]:
    search = chat_format.control.search
    for number, message in enumerate(conversation.messages, start=1):
        if found := search("\n".join(texts_of(message))):
            what = f"message {number} ({message.role}) contains the control token `{found[0]}`."
            yield Fault("control_tokens", what, READ_AS_STRUCTURE)
    if found := search("\n".join(texts_in(conversation.tools))):
        what = f"the tools contain the control token `{found[0]}`."
        yield Fault("control_tokens", what, READ_AS_STRUCTURE)


ENDS_WITHOUT_ANSWER = Note(
    "ends_without_answer",
    "the conversation ends without an answer; what comes after the last one is not used",
)


def row_notes(
    conversation: Conversation, chat_format: ChatFormat, inserted: str | None
) -> list[Note]:
    """What is true of a row in this format; ``inserted`` is the template's own system prompt."""
    messages = conversation.messages
    notes = list(chat_format.notes)
    if inserted and messages[0].role != "system":
        what = f"the chat template inserts this system prompt where a row has none: {inserted!r}"
        notes.append(Note("inserted_system_prompt", what))
    answers = (messages[i] for i in conversation.supervised)
    if chat_format.empty_thinking and any(
        not answer.thinking and CLOSE not in answer.content for answer in answers
    ):
        what = "the chat template writes an empty thinking block in front of an answer without any"
        block = f"and it is trained as a part of the answer: {chat_format.empty_thinking!r}"
        notes.append(Note("empty_thinking", f"{what}, {block}"))
    if messages[-1].role != "assistant":
        notes.append(ENDS_WITHOUT_ANSWER)
    texts = "\n".join(text for message in messages for text in texts_of(message))
    for token in sorted(set(chat_format.special.findall(texts))):
        what = f"the tokenizer reads `{token}` in a message as one special token"
        notes.append(Note("special_tokens", what))
    return notes
