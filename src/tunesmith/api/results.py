"""What is printed when a run or an evaluation has ended: scores, costs, answers, next steps."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.adapters.folder import CONFIG, read_config
from tunesmith.api.show import Document, line, print_table, sanitize, show_next, show_notes
from tunesmith.core.language import current_language, localized
from tunesmith.core.numbers import bytes_text, duration, milliseconds, money, percent, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.evaluated import AnswerRows
    from tunesmith.runs.summary import RunSummary


# Keys of the document.
MEASURES = ("degeneration", "consistency", "knowledge", "overfitting", "capacity")
COSTS = (
    ("prompt", "prompt_tokens"),
    ("answer", "completion_tokens"),
    ("first token", "seconds_to_first_token"),
    ("whole answer", "seconds_per_answer"),
    ("per million", "cost_per_million_requests"),
)


def show_evaluation(evaluation: Document, console: "Console") -> None:
    """The evaluate document for people; nothing for an empty one."""
    from tunesmith.evaluation.findings import words_in
    from tunesmith.evaluation.plain_verdict import plain_text

    verdict = evaluation.get("verdict") or {}
    if verdict.get("goal"):
        line(console, verdict["goal"], style="bold")
    if plain := plain_text(evaluation, words_in(current_language())):
        line(console, plain)
    if text := text_in(verdict):
        line(console, text)
    if against := evaluation.get("against"):
        line(console, f"against {against['run']}: {text_in(against)}")
        show_notes(console, [localized(note) for note in against.get("notes") or ()])
    if _is_degenerate(evaluation):
        line(console, text_in(evaluation["degeneration"]))
    if arms := evaluation.get("arms"):
        degenerate = (evaluation.get("degeneration") or {}).get("arms") or {}
        titles, rows = _table(arms, degenerate)
        beside = [title for title, _ in reversed(COSTS)]
        print_table(console, titles, rows=rows, numbers=titles[1:], beside=[*beside, "degenerate"])
    for text in evaluation_lines(evaluation):
        line(console, text)


def text_in(part: Document | None) -> str:
    """The text of a part of an evaluate document, in the user's language where it has that."""
    from tunesmith.evaluation import findings

    return findings.text_in(part, current_language())


def _is_degenerate(evaluation: Document) -> bool:
    """Whether clearly more answers are degenerate than of the data's own."""
    return bool((evaluation.get("degeneration") or {}).get("found"))


def _table(
    arms: Mapping[str, Document], degenerate: Mapping[str, Document]
) -> tuple[tuple[str, ...], list[list[str]]]:
    """A line for each arm: what passes, what is degenerate, and what a request takes."""
    checks = dict.fromkeys(name for each in arms.values() for name in each["checks"])
    costs = [(t, k) for t, k in COSTS if any(each.get(k) is not None for each in arms.values())]
    rows = []
    for name, each in arms.items():
        scores = [score_cell(each["checks"].get(check, {})) for check in checks]
        if degenerate:
            scores.append(score_cell(degenerate.get(name, {}).get("any", {})))
        rows.append(
            [localized(name), *map(localized, scores), *(_cost_cell(each, key) for _, key in costs)]
        )
    beside = ("degenerate",) if degenerate else ()
    return ("arm", *checks, *beside, *(title for title, _ in costs)), rows


def _cost_cell(arm: Document, key: str) -> str:
    value = arm.get(key)
    if value is None:
        return "-"
    if key.startswith("seconds"):
        return milliseconds(value)
    if key == "cost_per_million_requests":
        return money(value)
    virtual = arm.get("virtual_tokens") if key == "prompt_tokens" else 0
    return f"{value:,.0f}{f' + {virtual:,} virtual' if virtual else ''}"


def evaluation_lines(evaluation: Document) -> Iterator[str]:
    """What follows the table: remarks of checks, differences, arms left out, break-even."""
    from tunesmith.evaluation.findings import part_of

    arms = evaluation.get("arms") or {}
    if arms:
        rows = evaluation.get("rows")
        held_out = "" if rows is None else f"{pluralize(rows, 'held-out row')}, "
        has_costs = any("prompt_tokens" in each for each in arms.values())
        tokens = "; prompt and answer in tokens" if has_costs else ""
        yield f"{held_out}with 95 % intervals{tokens}."
    for name, by_arm in (evaluation.get("differences") or {}).items():
        if texts := [f"{difference_text(each)} against {arm}" for arm, each in by_arm.items()]:
            yield f"check {name}, tuned: {'; '.join(texts)}"
    yield from _figure_lines(arms)
    for arm, values in arms.items():
        for name, check in values["checks"].items():
            yield from (f"check {name}, {arm}: {text}" for text in _remarks(check))
        if cut := values.get("cut"):
            yield f"{arm}: {pluralize(cut, 'answer')} cut at the largest number of tokens allowed"
    for arm, why in (evaluation.get("left_out") or {}).items():
        yield f"{arm} left out: {why}"
    yield from cost_lines(evaluation.get("cost") or {})
    shown = {"degeneration"} if _is_degenerate(evaluation) else set()  # next to the verdict
    parts = (part_of(evaluation, part) for part in MEASURES if part not in shown)
    yield from filter(None, map(text_in, parts))
    if report := evaluation.get("report"):
        yield f"report: {report}"


def cost_lines(cost: Document) -> Iterator[str]:
    """After how many requests the training is repaid, in time and in money."""
    against, saved = cost.get("against"), cost.get("seconds_saved")
    low, high = cost.get("seconds_saved_low"), cost.get("seconds_saved_high")
    if low is not None and high is not None and low <= 0 <= high:
        yield (
            f"against {against} a request takes about as long: {milliseconds(-low)} slower to "
            f"{milliseconds(high)} faster, by the quartiles of a few requests"
        )
    elif saved is not None and (training := cost.get("training_seconds")) is not None:
        repaid = ""
        if (requests := cost.get("requests_by_time")) is not None:
            repaid = (
                f": the {duration(training)} of training are repaid after {requests:,} requests"
            )
        speed = "faster" if saved > 0 else "slower"
        yield f"against {against} a request is {milliseconds(abs(saved))} {speed}{repaid}"
    if (saved_money := cost.get("saved_per_million")) is not None:
        requests, spent = cost.get("requests_by_cost"), cost.get("training_cost")
        repaid = ""
        if requests is not None and spent is not None:
            repaid = f": training for {money(spent)} is repaid after {requests:,} requests"
        word = "less" if saved_money >= 0 else "more"
        yield f"against {against} a million requests cost {money(abs(saved_money))} {word}{repaid}"


def _figure_lines(arms: Mapping[str, Document]) -> Iterator[str]:
    """Each figure that is one number, of all arms: `check label, macro f1: base 0.1, tuned 0.9`."""
    found: dict[str, list[str]] = {}
    for arm, values in arms.items():
        for name, check in values["checks"].items():
            for figure, value in (check.get("figures") or {}).items():
                if isinstance(value, int | float):
                    text = f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
                    title = f"check {name}, {figure.replace('_', ' ')}"
                    found.setdefault(title, []).append(f"{localized(arm)} {text}")
    yield from (f"{title}: {', '.join(texts)}" for title, texts in found.items())


def _remarks(check: Document) -> Iterator[str]:
    """Why rows have no score, and how many answers are empty."""
    if check.get("note"):
        yield check["note"]
    if (empty := check.get("empty")) is not None:
        yield pluralize(empty, "empty answer")


def score_cell(score: Document) -> str:
    """`84 % (71..92)`, with the rows where they are fewer than asked."""
    if score.get("score") is None:
        return "no score"
    return f"{percent(score['score'])} ({100 * score['low']:.0f}..{100 * score['high']:.0f})"


def difference_text(difference: Document) -> str:
    """`+43 points (+31..+54)`, from the mean and limits of a difference."""
    mean, low, high = (_points(difference.get(key)) for key in ("mean", "low", "high"))
    return f"{mean} points ({low}..{high})"


def _points(share: float | None) -> str:
    return f"{100 * (math.nan if share is None else share):+.0f}"


SHOWN_ANSWERS, LONGEST_LINE = 3, 300
TUNED = "tuned"  # the arm whose answers are those after training
_REASONS = {
    "done": "Done",
    "stopped": "Stopped as you asked; everything is saved",
    "evaluation": "Stopped as you asked, during the evaluation; everything is saved",
    "early": "Ended early: later checkpoints were no better",
}


def show_result(summary: "RunSummary", console: "Console", *, warnings: Sequence[str]) -> None:
    """The closing lines of a run; ``warnings`` were shown before and are shown again."""
    if summary.evaluation:
        show_evaluation(summary.evaluation, console)
        console.print()
    for text in result_lines(summary):
        line(console, text)
    show_answers(summary.answers, console)
    show_notes(console, warnings)
    show_next(console, next_commands(summary))


def show_answers(answers: "AnswerRows | None", console: "Console") -> None:
    """Some held-out questions with every arm's answer."""
    if answers is None:
        return
    line(console, "\nHeld-out questions, before and after", style="bold")
    for row in islice(answers.rows(), SHOWN_ANSWERS):
        labelled("question", str(row["question"]), console=console)
        said = row["answers"]
        assert isinstance(said, Mapping)
        for arm, text in said.items():
            labelled(arm, str(text), style="green" if arm == TUNED else "red", console=console)
        labelled("expected", str(row["reference"]), style="dim", console=console)
        console.print()


NAME_CELLS = 10  # of a terminal: a Korean syllable takes two


def labelled(name: str, text: str, *, console: "Console", style: str = "") -> None:
    """One line, a long text shortened: its start says enough."""
    from rich.cells import cell_len

    words = " ".join(sanitize(text).split())
    shown = words if len(words) <= LONGEST_LINE else f"{words[: LONGEST_LINE - 3]}..."
    title = localized(name)
    console.print(f"  {title}{' ' * max(0, NAME_CELLS - cell_len(title))} ", end="")
    console.print(shown, style=style, soft_wrap=True)


def cost_text(summary: "RunSummary") -> str:
    """Steps and tokens, the speed of the training, and the time and memory of all of it."""
    rate = summary.tokens_per_second
    speed = "" if rate is None else f" at {rate:,.0f} tokens/s"
    all_of_it = " with the evaluation" if _was_trained(summary) else ""
    return (
        f"{pluralize(summary.steps, 'step')}, {pluralize(summary.tokens, 'token')}{speed}; "
        f"{duration(summary.seconds)}{all_of_it}; at most {bytes_text(summary.peak_bytes)}"
    )


def _was_trained(summary: "RunSummary") -> bool:
    """Whether training ended by itself: a stop came in the evaluation, if at all."""
    return summary.reason != "stopped" or summary.adapter is not None


def result_lines(summary: "RunSummary") -> Iterator[str]:
    """How it ended, what it cost, what it reached, and where it is."""
    stopped = summary.reason == "stopped"
    reason = "evaluation" if stopped and _was_trained(summary) else summary.reason
    yield f"{_REASONS.get(reason, reason)}."
    yield cost_text(summary)
    held_out = "" if summary.eval_loss is None else f", held-out loss {summary.eval_loss:.3f}"
    yield f"training loss {summary.train_loss:.3f}{held_out}"
    if not summary.evaluation and not stopped:
        yield "no held-out answers were checked: loss only (`tunesmith init DATA` proposes rules)"
        yield f"report: {summary.report}"
    yield f"run: {summary.run}"
    if summary.adapter is not None:
        yield f"adapter: {summary.adapter}"


def next_commands(summary: "RunSummary") -> list[str]:
    """What can be typed now: resume if it was stopped, talk to the result, ask more where too few
    rows were asked.
    """
    run = shlex.quote(summary.run)
    resume = [f"tunesmith train --resume {run}"] if summary.reason == "stopped" else []
    chat = [f"tunesmith chat {run}"] if summary.adapter is not None else []
    return [
        *resume,
        *chat,
        *_more_rows(summary, run),
        *_export(summary, run),
        f"tunesmith runs show {run}",
    ]


def _more_rows(summary: "RunSummary", run: str) -> Iterator[str]:
    """How more held-out rows are asked, where so few were that the verdict is open."""
    evaluation: Document = summary.evaluation or {}
    verdict = evaluation.get("verdict") or {}
    if "too-few-rows" in (verdict.get("reasons") or ()) and summary.adapter is not None:
        yield f"tunesmith evaluate {run} --data NEW-ROWS.jsonl"


def _export(summary: "RunSummary", run: str) -> Iterator[str]:
    """How the adapter is handed over: LoRA as one model with its base, others beside it."""
    if summary.adapter is None or not Path(summary.adapter, CONFIG).is_file():
        return
    to = "merged" if "r" in read_config(Path(summary.adapter)) else "peft"
    out = shlex.quote(f"{Path(summary.run).name}-{to}")
    yield f"tunesmith adapters export {run} --to {to} --out {out}"
