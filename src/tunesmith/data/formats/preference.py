"""Preference pairs, {"chosen": ..., "rejected": ...}: recognised, and refused with the way out."""

from tunesmith.data.faults import Problem
from tunesmith.data.formats.layout import Format, Parsed, Row

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


def parse(row: Row) -> Parsed:
    """Nothing but the refusal."""
    return Parsed(problems=[refusal(row)])


PREFERENCE = Format(
    name="preference",
    columns={"chosen": ("preferred_output",), "rejected": ("non_preferred_output",)},
    parse=parse,
    example='{"prompt": "...", "chosen": "...", "rejected": "..."}',
    synonyms={"preferred_output": "chosen", "non_preferred_output": "rejected"},
    refusal=refusal,
)
