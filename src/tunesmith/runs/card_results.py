"""What a run's card says of its evaluation: scores, what it forgot, and what it is not for.

The same scores are in the card's head as a `model-index`, which hubs read.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from tunesmith.core.numbers import limits_text, percent, signed
from tunesmith.evaluation.comparison import TUNED
from tunesmith.runs.evaluation_files import REPORT
from tunesmith.runs.history import Document, Records

PERPLEXITY = "perplexity"
TASK = "text-generation"
HELD_OUT = "held-out-rows"  # the type of a data set that is on no hub
DIGITS = 4
PERSONAL_DATA = "personal_data"  # the code of what a check of the data finds


def result_section(evaluation: Document) -> str:
    """The verdict, and every check's score in every arm with its interval."""
    verdict, arms = evaluation.get("verdict") or {}, evaluation.get("arms") or {}
    if not verdict:
        return "## Result\n\nNot evaluated: whether it does what it is for was not measured."
    lines = ["## Result", "", f"**Did it work?** {verdict.get('text', '')}"]
    checks = list(dict.fromkeys(name for arm in arms.values() for name in arm["checks"]))
    if checks:
        cells = [
            [name, *(_score(arm["checks"].get(name)) for arm in arms.values())] for name in checks
        ]
        lines += ["", *table_lines(["check", *arms], cells)]
        lines += ["", "Scores on held-out rows, with 95 % intervals."]
    return "\n".join(lines)


def _score(check: Document | None) -> str:
    if not check or check.get("score") is None:
        return "-"
    interval = ""
    if check.get("low") is not None and check.get("high") is not None:
        interval = f" ({limits_text(check['low'], check['high'])})"
    return f"{percent(check['score'])}{interval}"


def forgetting_section(evaluation: Document) -> str:
    """Each probe's change against the base, and what is allowed."""
    findings = evaluation.get("forgetting")
    if not findings:
        return "## What it forgot\n\nNot measured."
    cells = []
    for each in findings:
        unit = "%" if each["measure"] == PERPLEXITY else "points"
        change, low, high = (signed(100 * each[key]) for key in ("difference", "low", "high"))
        changed = f"{change} {unit} ({low} to {high})"
        allowed = f"{100 * each['margin']:g} {unit}"
        cells.append([each["probe"], each["measure"], changed, allowed, each["outcome"]])
    head = ["probe", "measure", "change (95 % interval)", "allowed", "outcome"]
    return "\n".join(["## What it forgot", "", *table_lines(head, cells)])


def personal_data(records: Records) -> list[str]:
    """What the check of the data found in the rows that were trained on: kinds, and in how many."""
    return records.notices_of(PERSONAL_DATA)


def not_for_section(records: Records, languages: Sequence[str]) -> str:
    """What the evidence does not cover, or speaks against."""
    lines = [f"- {line}" for line in _not_for(records, languages)]
    return "\n".join(["## What it must not be used for", "", *lines])


def _not_for(records: Records, languages: Sequence[str]) -> Iterator[str]:
    evaluation = records.evaluation
    answer = (evaluation.get("verdict") or {}).get("answer")
    if answer != "yes":
        why = {"no": "it did not work", "cannot-tell": "whether it works is not clear"}
        reason = why.get(str(answer), "whether it works was not measured")
        yield f"Its own purpose, before a further evaluation: {reason}."
    yield "Requests of another kind than the rows that it was trained on."
    spoken = ", ".join(languages)
    yield f"Languages other than {spoken}." if spoken else "Languages other than its rows'."
    findings = evaluation.get("forgetting") or ()
    lost = [str(each["probe"]) for each in findings if each.get("outcome") == "forgotten"]
    if lost:
        yield f"What it forgot of its base: {', '.join(dict.fromkeys(lost))}."
    if personal_data(records):
        yield (
            "Answers to people who must not see what is in its rows: it may repeat the personal "
            "data or keys that were found in them."
        )
    yield "Decisions about people, or where a wrong answer does harm, unless a person reviews each."
    yield "What the licences of its base and its data exclude."


def model_index(records: Records, datasets: Sequence[str]) -> list[dict[str, Any]]:
    """The tuned model's scores in the hub's form; empty without an evaluation.

    Scores are shares from 0 to 1; `args` has the 95 % interval, the number of rows, and the base's
    score on the same rows.
    """
    arms = records.evaluation.get("arms") or {}
    checks = (arms.get(TUNED) or {}).get("checks") or {}
    scored = {name: each for name, each in checks.items() if each.get("score") is not None}
    base = (arms.get("base") or {}).get("checks") or {}
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=datasets[0] if datasets else HELD_OUT,
            dataset_name=_rows_name(records),
            metric_type=_kind_of(records, name),
            metric_name=name,
            metric_value=round(each["score"], DIGITS),
            metric_args=_interval(each, base.get(name) or {}),
        )
        for name, each in scored.items()
    ]
    name = records.path.resolve().name
    return eval_results_to_model_index(name, results) if results else []


def _interval(check: Document, base: Document) -> dict[str, object]:
    values = {"low": check.get("low"), "high": check.get("high"), "rows": check.get("n")}
    values["base"] = base.get("score")
    return {
        key: round(value, DIGITS) if isinstance(value, float) else value
        for key, value in values.items()
        if value is not None
    }


def other_file(records: Records) -> str | None:
    """The file that was evaluated, where that is none of the run's own."""
    asked = (records.evaluation.get("about") or {}).get("data")
    own = (records.config.get("data") or {}).get("eval")
    train = records.environment.get("data") or {}
    is_other = isinstance(asked, str) and asked != own and asked not in train
    return Path(str(asked)).name if is_other else None


def _rows_name(records: Records) -> str:
    """`held.jsonl`, or `train.jsonl, held out`: files without their folders."""
    if (other := other_file(records)) is not None:
        return other
    data = records.config.get("data") or {}
    if isinstance(data.get("eval"), str):
        return Path(data["eval"]).name
    names = ", ".join(Path(path).name for path in records.environment.get("data") or {})
    return f"{names or 'rows'}, held out"


def _kind_of(records: Records, name: str) -> str:
    """The kind of the check of this name, which is its kind unless it has one of its own."""
    checks = (records.config.get("evaluate") or {}).get("checks") or ()
    named = {
        str(each.get("name") or each.get("kind")): each
        for each in checks
        if isinstance(each, Mapping)
    }
    return str((named.get(name) or {}).get("kind") or name)


def with_report_section(card: str) -> str:
    """The card, with a line on the page that lies beside it, unless it has one."""
    if f"]({REPORT})" in card:
        return card
    return (
        f"{card.rstrip()}\n\n## Report\n\n[{REPORT}]({REPORT}) is the evaluation: every score, and "
        "answers of base and adapter side by side. Download it and open it in a browser; it loads "
        "nothing.\n"
    )


def table_lines(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A table in Markdown; a bar in a cell would end it."""
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |"
