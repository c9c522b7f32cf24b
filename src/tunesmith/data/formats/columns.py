"""Rows with a column for each part: pairs, prompt and completion, choices, preferences, text.

An answer in `history` is trained as well, as the tools do that these layouts come from.

completion are trained.

`gold` is the place of the right choice, counted from 0, or its text; a place in quotes is one as
long as no other choice has that text. The layout of ARC and its kin is read as well: choices as
{"text": [...], "label": ["A", ...]} with the label of the right one; where labels are numbers, a
number is one of them and no place.
"""

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.formats.chats import parse_messages
from tunesmith.data.formats.layout import (
    ANSWERS,
    TOOL_COLUMNS,
    Format,
    Parsed,
    Row,
    as_list,
    needed_text,
    number_as_text,
    opening,
    optional_text,
    parse_tools,
)
from tunesmith.data.records import kind_of
from tunesmith.data.rows import TEXT, Message


def parse_alpaca(row: Row) -> Parsed:
    """The instruction, with the input on the next line, is what the user says."""
    parsed = Parsed()
    messages = opening(row, parsed)
    asked = needed_text(row, "instruction", parsed)
    given = optional_text(row, "input", parsed)
    question = "\n".join(filter(None, (asked, given)))
    answer = needed_text(row, "output", parsed)
    parsed.messages = [*messages, Message("user", question), Message("assistant", answer)]
    parsed.tools = parse_tools(row, parsed)
    return parsed


def parse_query(row: Row) -> Parsed:
    """The query is what the user says, the response is the answer."""
    parsed = Parsed()
    messages = opening(row, parsed)
    query, response = (needed_text(row, column, parsed) for column in ("query", "response"))
    parsed.messages = [*messages, Message("user", query), Message("assistant", response)]
    parsed.tools = parse_tools(row, parsed)
    return parsed


ALPACA = Format(
    name="alpaca",
    columns={"instruction": ("task",), "output": ("response", "answer", "completion")},
    parse=parse_alpaca,
    example='{"instruction": "...", "input": "...", "output": "..."}',
    optional=("input", "history", "system", *TOOL_COLUMNS),
    synonyms={"response": "output", "context": "input"},
)
QUERY_RESPONSE = Format(
    name="query-response",
    columns={"query": ("request", "question"), "response": ("reply", "answer")},
    parse=parse_query,
    example='{"query": "...", "response": "..."}',
    optional=("history", "system", *TOOL_COLUMNS),
    synonyms={"question": "query", "answer": "response"},
    recognises=lambda row: "choices" not in row,
)


WHY = "these are preference pairs (chosen and rejected), and Tunesmith trains on answers."
UNPAIRED = (
    "this is unpaired preference data (label says whether the completion is a good one), and "
    "Tunesmith trains on answers."
)


def refusal(row: Row) -> Problem:
    """Why, and how to train on the chosen answers."""
    if isinstance(row.get("input"), dict):
        remedy = (
            "Write the messages of each input with its preferred output as one `messages` list."
        )
        return Problem("preference", WHY, remedy)
    if isinstance(row.get("chosen"), list) and not row.get("prompt"):
        flag = "messages=chosen"
    elif "prompt" in row:
        flag = "completion=chosen"
    elif near := next((name for name in ("input", "question", "instruction") if name in row), None):
        flag = f"prompt={near} --data.map completion=chosen"
    else:
        remedy = "Cut the chosen texts into prompt and completion, and train on those."
        return Problem("preference", WHY, remedy)
    return Problem("preference", WHY, f"Train on the chosen ones with --data.map {flag}.")


def unpaired(row: Row) -> Problem | None:
    """Why a prompt with a completion is not trained on where its `label` is true or false."""
    if not isinstance(row.get("label"), bool):
        return None
    return Problem("preference", UNPAIRED, "Keep the rows whose label is true, without `label`.")


def parse_preference(row: Row) -> Parsed:
    """Nothing but the refusal."""
    return Parsed(problems=[refusal(row)])


PREFERENCE = Format(
    name="preference",
    columns={"chosen": ("preferred_output",), "rejected": ("non_preferred_output",)},
    parse=parse_preference,
    example='{"prompt": "...", "chosen": "...", "rejected": "..."}',
    synonyms={"preferred_output": "chosen", "non_preferred_output": "rejected"},
    refusal=refusal,
)


def parse_prompt_completion(row: Row) -> Parsed:
    """A text prompt is one user message, a text completion one assistant message."""
    parsed = Parsed()
    prompt = parse_side(row["prompt"], parsed, column="prompt", role="user")
    completion = parse_side(row["completion"], parsed, column="completion", role="assistant")
    parsed.messages = prompt + completion
    parsed.completion_from = len(prompt)
    parsed.tools = parse_tools(row, parsed)
    if problem := unpaired(row):
        parsed.problems.append(problem)
    return parsed


def parse_side(value: object, parsed: Parsed, *, column: str, role: str) -> list[Message]:
    """One side's messages: a text is one of ``role``; what is wrong goes into ``parsed``."""
    if isinstance(value, str):
        return [Message(role, value)]
    if column in ANSWERS and (text := number_as_text(value, column, parsed)) is not None:
        return [Message(role, text)]
    if isinstance(value, list):
        return parse_messages(value, parsed, column=column)
    parsed.problem(
        "wrong_type",
        f'"{column}" must be text or a list of messages, this is {kind_of(value)}.',
        remedy="Write it as text.",
    )
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
    example='{"prompt": "...", "completion": "..."}',
    optional=TOOL_COLUMNS,
)


OTHERS = Remark(
    "choices_unused", "the right choice is trained as the answer; the others are not used"
)


def parse_multiple_choice(row: Row) -> Parsed:
    """The query is what the user says, the text of the right choice the answer."""
    parsed = Parsed(remarks=[OTHERS])
    query = needed_text(row, "query", parsed)
    texts, labels = _choices(row["choices"], parsed)
    answer = _gold(row["gold"], texts, labels, parsed) if texts else ""
    parsed.messages = [Message("user", query), Message("assistant", answer.strip())]
    return parsed


def _choices(given: object, parsed: Parsed) -> tuple[list[str], list[str]]:
    """The choices, and their labels where they have some."""
    value, labels = as_list(given), []
    if isinstance(value, dict) and "text" in value:
        value, labels = value["text"], value.get("label", [])
    texts = _texts(value, parsed)
    if texts == []:
        parsed.problem("empty", '"choices" is an empty list.', remedy="Remove the row.")
    return texts or [], _texts(labels, parsed) or []


def _texts(values: object, parsed: Parsed) -> list[str] | None:
    if not isinstance(values, list):
        what = f'"choices" must be a list of texts, this is {kind_of(values)}.'
    elif all(isinstance(value, str) for value in values):
        return values
    else:
        what = '"choices" holds other things than texts.'
    parsed.problem("wrong_type", what, remedy='Write it as ["...", "..."].')
    return None


def _gold(value: object, texts: list[str], labels: list[str], parsed: Parsed) -> str:
    """The right choice, by its label, its place or its text."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    name = str(value) if is_number or isinstance(value, str) else ""
    if name in labels and len(labels) == len(texts):
        return texts[labels.index(name)]
    is_counted = not any(label.isdecimal() for label in labels)
    by_place = {str(place): text for place, text in enumerate(texts)} if is_counted else {}
    if name in by_place and (is_number or name not in texts or by_place[name] == name):
        return by_place[name]
    if name in by_place:
        what = f'"gold" is {value!r}: the place of {by_place[name]!r:.80}, or that choice itself.'
        remedy = "Write JSON lines, where the number is a place, or give the choices labels."
    elif not is_number and name in texts:
        return name
    elif by_place:
        known = f"{len(texts)} choices (0 to {len(texts) - 1})"
        what = f'"gold" must be the place of one of {known}, not {value!r:.80}.'
        remedy = "Count the choices from 0."
    else:
        what = f'"gold" must be one of the labels, not {value!r:.80}.'
        remedy = f"Write one of {', '.join(labels):.80}."
    parsed.problem("wrong_gold", what, remedy=remedy)
    return ""


MULTIPLE_CHOICE = Format(
    name="multiple-choice",
    columns={"query": ("question",), "choices": ("options",), "gold": ("answer", "label")},
    parse=parse_multiple_choice,
    example='{"query": "...", "choices": ["...", "..."], "gold": 0}',
    synonyms={"question": "query", "answerKey": "gold", "answer": "gold", "label": "gold"},
)


def parse_text(row: Row) -> Parsed:
    """The one message of such a row has the role `text`."""
    parsed = Parsed(completion_from=0)
    parsed.messages = [Message(TEXT, needed_text(row, "text", parsed))]
    return parsed


PLAIN_TEXT = Format(
    name="text",
    columns={"text": ("content", "document", "body", "passage", "response", "output")},
    parse=parse_text,
    example='{"text": "..."}',
)
