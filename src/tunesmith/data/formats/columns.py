"""Rows with a column for each part: pairs, prompt and completion, choices, preferences, text."""

import functools
from collections.abc import Sequence
from string import ascii_uppercase

from tunesmith.data.faults import Fault, RowNotes
from tunesmith.data.formats.chats import parse_messages
from tunesmith.data.formats.layout import (
    ANSWERS,
    OPENING,
    TOOL_COLUMNS,
    Format,
    Row,
    as_list,
    needed_text,
    note_if_missing,
    number_as_text,
    opening,
    optional_text,
)
from tunesmith.data.rows import TEXT, Conversation, Message, kind_of


def parse_pair(row: Row, notes: RowNotes, *, asked: Sequence[str], answer: str) -> Conversation:
    """What is ``asked``, a line for each column that the row has, and the answer to it.

    Both follow the `history`, whose answers are trained as well, as in the tools that these
    layouts come from.
    """
    messages = opening(row, notes)
    needed, *optional = asked
    parts = [needed_text(row, needed, notes), *(optional_text(row, o, notes) for o in optional)]
    said = needed_text(row, answer, notes)
    question = Message("user", "\n".join(filter(None, parts)))
    return Conversation((*messages, question, Message("assistant", said)))


ALPACA = Format(
    name="alpaca",
    columns={"instruction": ("task",), "output": ("response", "answer", "completion")},
    parse=functools.partial(parse_pair, asked=("instruction", "input"), answer="output"),
    optional=("input", *OPENING, *TOOL_COLUMNS),
    synonyms={"response": "output", "context": "input"},
)
QUERY_RESPONSE = Format(
    name="query-response",
    columns={"query": ("request", "question"), "response": ("reply", "answer")},
    parse=functools.partial(parse_pair, asked=("query",), answer="response"),
    optional=(*OPENING, *TOOL_COLUMNS),
    synonyms={"question": "query", "answer": "response"},
    recognizes=lambda row: (
        row.get("choices") is None and not _is_chosen(row.get("options"), row.get("response"))
    ),
)


def _is_chosen(choices: object, answer: object) -> bool:
    """Whether an answer is one of a question's choices, and no text of its own beside them."""
    choices = as_list(choices)
    if isinstance(choices, dict):
        choices = [*choices, *(choices.get("text") or choices.values())]
    if not isinstance(choices, list) or not choices:
        return False
    return not isinstance(answer, str) or len(answer.strip()) <= MAX_LABEL or answer in choices


MAX_LABEL = 2  # letters of a label or place of a choice
WHY = "these are preference pairs (chosen and rejected), and Tunesmith trains on answers."
UNPAIRED = (
    "this is unpaired preference data (label says whether the completion is a good one), and "
    "Tunesmith trains on answers."
)


def refusal(row: Row) -> Fault:
    """Why, and how to train on the chosen answers."""
    if isinstance(row.get("input"), dict):
        what = "Write the messages of each input with its preferred output"
        return Fault("preference", WHY, f"{what} as one `messages` list.")
    chosen = row.get("chosen")
    if isinstance(chosen, list) and (not row.get("prompt") or any(map(_is_asked, chosen))):
        flag = "messages=chosen"
    elif "prompt" in row:
        flag = "completion=chosen"
    elif near := next((name for name in ("input", "question", "instruction") if name in row), None):
        flag = f"prompt={near} --data.map completion=chosen"
    else:
        remedy = "Cut the chosen texts into prompt and completion, and train on those."
        return Fault("preference", WHY, remedy)
    return Fault("preference", WHY, f"Train on the chosen ones with --data.map {flag}.")


def _is_asked(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "user"


def parse_preference(row: Row, notes: RowNotes) -> Conversation:
    """Nothing but the refusal."""
    notes.problems.append(refusal(row))
    return Conversation(())


PREFERENCE = Format(
    name="preference",
    columns={"chosen": ("preferred_output",), "rejected": ("non_preferred_output",)},
    parse=parse_preference,
    synonyms={"preferred_output": "chosen", "non_preferred_output": "rejected"},
)


def parse_prompt_completion(row: Row, notes: RowNotes) -> Conversation:
    """A text prompt is one user message, a text completion one assistant message.

    The answers in the completion are trained, those of the `history` are not.
    """
    before = opening(row, notes) if _opens_here(row) else []
    prompt = parse_side(row["prompt"], notes, column="prompt", role="user")
    completion = parse_side(row["completion"], notes, column="completion", role="assistant")
    if isinstance(row.get("label"), bool):
        remedy = "Keep the rows whose label is true, without `label`."
        notes.problem("preference", UNPAIRED, remedy=remedy)
    asked = (*before, *prompt)
    return Conversation((*asked, *completion), completion_from=len(asked))


def _opens_here(row: Row) -> bool:
    """Whether system prompt and history are those of the row, and not the prompt's own messages."""
    prompt, history = row["prompt"], as_list(row.get("history"))
    own = isinstance(prompt, list) and any(
        isinstance(each, dict) and each.get("role") == "system" for each in prompt[:1]
    )
    return not own and (not history or isinstance(history, list))


def parse_side(value: object, notes: RowNotes, *, column: str, role: str) -> list[Message]:
    """One side's messages: a text is one of ``role``; what is wrong goes into ``notes``."""
    if isinstance(value, str):
        return [Message(role, value)]
    if column in ANSWERS and (text := number_as_text(value, column, notes)) is not None:
        return [Message(role, text)]
    if isinstance(value, list):
        return parse_messages(value, notes, column=column)
    if note_if_missing(value, notes.called(column), notes):
        return []
    what = f"{notes.called(column)} must be text or a list of messages, this is {kind_of(value)}."
    notes.problem("wrong_type", what, remedy="Write it as text.")
    return []


PROMPT_COMPLETION = Format(
    name="prompt-completion",
    columns={
        "prompt": ("question", "query", "instruction", "input", "text", "q", "source", "context"),
        "completion": (
            *("answer", "a", "response", "output", "target", "reply"),
            *("continuation", "summary", "translation", "label"),
        ),
    },
    parse=parse_prompt_completion,
    optional=(*OPENING, *TOOL_COLUMNS),
)


def parse_multiple_choice(row: Row, notes: RowNotes) -> Conversation:
    """The query is what the user says, the text of the right choice the answer.

    `gold` is the place of the right choice, counted from 0 or as a letter from A, or its text; a
    place in quotes is one as long as no other choice has that text. Choices with labels are read as
    well, {"text": [...], "label": ["A", ...]} as in ARC or {"A": ..., ...}, with the label of the
    right one; where labels are numbers, a number is one of them and no place.
    """
    what = "the right choice is trained as the answer; the others are not used"
    notes.note("choices_unused", what)
    query = needed_text(row, "query", notes)
    texts, labels = _choices(row["choices"], notes)
    answer = _gold(row["gold"], texts, labels, notes) if texts else ""
    return Conversation((Message("user", query), Message("assistant", answer.strip())))


def _choices(given: object, notes: RowNotes) -> tuple[list[str], list[str]]:
    """The choices, and their labels where they have some."""
    value, labels = as_list(given), []
    if isinstance(value, dict):
        by_label = (list(value.values()), list(value))
        value, labels = (value["text"], value.get("label", [])) if "text" in value else by_label
    texts = _texts(value, notes)
    if texts == []:
        notes.problem(
            "empty", f"{notes.called('choices')} is an empty list.", remedy="Remove the row."
        )
    return texts or [], _texts(labels, notes) or []


def _texts(values: object, notes: RowNotes) -> list[str] | None:
    if not isinstance(values, list):
        what = f"{notes.called('choices')} must be a list of texts, this is {kind_of(values)}."
    elif all(isinstance(value, str) for value in values):
        return values
    else:
        what = f"{notes.called('choices')} holds other things than texts."
    notes.problem("wrong_type", what, remedy='Write it as ["...", "..."].')
    return None


def _gold(value: object, texts: list[str], labels: list[str], notes: RowNotes) -> str:
    """The right choice, by its label, its place or its text."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    name = str(value) if is_number or isinstance(value, str) else ""
    if name in labels and len(labels) == len(texts):
        return texts[labels.index(name)]
    is_counted = not any(label.isdecimal() for label in labels)
    by_place = {str(place): text for place, text in enumerate(texts)} if is_counted else {}
    by_letter = {} if labels else dict(zip(ascii_uppercase, texts, strict=False))
    if name in by_place and (is_number or name not in texts or by_place[name] == name):
        return by_place[name]
    if name in by_letter and name not in texts:
        return by_letter[name]
    if name in by_place:
        what = f"{notes.called('gold')} is {value!r}: the place of {by_place[name]!r:.80}, "
        what += "or that choice itself."
        remedy = "Write JSON lines, where the number is a place, or give the choices labels."
    elif not is_number and name in texts:
        return name
    elif by_place:
        known = f"{len(texts)} choices (0 to {len(texts) - 1})"
        what = f"{notes.called('gold')} must be the place of one of {known}, not {value!r:.80}."
        remedy = "Count the choices from 0."
    else:
        what = f"{notes.called('gold')} must be one of the labels, not {value!r:.80}."
        remedy = f"Write one of {', '.join(labels):.80}."
    notes.problem("wrong_gold", what, remedy=remedy)
    return ""


def _is_answered_freely(row: Row) -> bool:
    """Whether the answer is a text beside choices that are none, or of which it is none."""
    gold, given = row.get("gold"), as_list(row.get("choices"))
    is_text = isinstance(gold, str) and len(gold.strip()) > MAX_LABEL
    return is_text and not isinstance(given, dict) and not _is_chosen(given, gold)


MULTIPLE_CHOICE = Format(
    name="multiple-choice",
    columns={"query": ("question",), "choices": ("options",), "gold": ("answer", "label")},
    parse=parse_multiple_choice,
    recognizes=lambda row: not _is_answered_freely(row),
    synonyms={
        **{"question": "query", "options": "choices"},
        **{"answerKey": "gold", "answer": "gold", "label": "gold"},
    },
)


def parse_text(row: Row, notes: RowNotes) -> Conversation:
    """The one message of such a row has the role `text`."""
    return Conversation((Message(TEXT, needed_text(row, "text", notes)),), completion_from=0)


PLAIN_TEXT = Format(
    name="text",
    columns={"text": ("content", "document", "body", "passage", "response", "output")},
    parse=parse_text,
)
