"""Did a run work? One HTML file that loads nothing: verdict, plots, answers, how to do it again."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.language import DEFAULT, localized
from tunesmith.core.numbers import bytes_text, clock
from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.findings import part_of, share_text, text_in, words_in
from tunesmith.evaluation.plain_verdict import plain_text
from tunesmith.methods import table
from tunesmith.report.answers import GROUPS, first_answers, shown_answers
from tunesmith.report.page import PHRASES, Section, page
from tunesmith.report.score_charts import (
    ORDER,
    arm_label,
    arms_plots,
    confusion_plots,
    consistency_plots,
    degeneration_plots,
    request_plots,
)
from tunesmith.report.training_charts import forgetting_plots, learning_plot, spectrum_plot
from tunesmith.runs.history import Records


def cut_notes(evaluation: Mapping[str, Any], words: Phrases, *, tuned: bool) -> Iterator[str]:
    """Answers that were cut at the token limit: of the tuned arm, or of the others."""
    for arm, values in (evaluation.get("arms") or {}).items():
        if (cut := values.get("cut")) and (arm == TUNED) == tuned:
            yield words.phrase(
                "arms.cut", cut, arm=arm_label(arm, words), of=evaluation.get("rows")
            )


def result_notes(evaluation: Mapping[str, Any], words: Phrases) -> Iterator[str]:
    """Rows that were changed, the tuned model's answers that were cut, arms that were left out."""
    if changed := evaluation.get("changed_rows"):
        yield localized(str(changed), words.language)
    for caveat in evaluation.get("caveats") or ():
        if caveat["code"] != UNREAD:  # which is said with the verdict
            yield localized(str(caveat["text"]), words.language)
    yield from cut_notes(evaluation, words, tuned=True)
    for arm, why in (evaluation.get("left_out") or {}).items():
        said = localized(str(why), words.language)
        yield words.phrase("arms.left-out", arm=arm_label(arm, words), why=said)


def cost_notes(evaluation: Mapping[str, Any], words: Phrases) -> Iterator[str]:
    """After how many requests the training is repaid, in time and in money."""
    cost = evaluation.get("cost") or {}
    against = arm_label(str(cost.get("against")), words)
    saved, spent = cost.get("seconds_saved"), cost.get("training_seconds")
    low, high = cost.get("seconds_saved_low"), cost.get("seconds_saved_high")
    if low is not None and high is not None and low <= 0 <= high:
        limits = {"low": f"{-low * 1000:,.0f}", "high": f"{high * 1000:,.0f}"}
        yield words.phrase("costs.alike", against=against, **limits)
    elif saved is not None and spent is not None:
        key = "costs.faster" if saved > 0 else "costs.slower"
        yield words.phrase(key, against=against, ms=f"{abs(saved) * 1000:,.0f}")
        if requests := cost.get("requests_by_time"):
            yield words.phrase("costs.repaid-time", requests, time=clock(spent))
    if (money := cost.get("saved_per_million")) is not None:
        key = "costs.less" if money >= 0 else "costs.more"
        yield words.phrase(key, against=against, money=f"{abs(money):,.2f}")
        if requests := cost.get("requests_by_cost"):
            yield words.phrase("costs.repaid-cost", requests, money=f"{cost['training_cost']:,.2f}")


UNREAD = "language_fit"  # that the base hardly reads the rows' language
PARTS = ("skill", "elsewhere")  # of the verdict
FINDINGS = ("knowledge", "overfitting", "capacity")


def run_page(records: Records, *, language: str = DEFAULT) -> str:
    """The page of one run, evaluated or not. Raises ValueError for an unknown language."""
    words, evaluation = Phrases(PHRASES, language), records.evaluation
    verdict = evaluation.get("verdict") or {}
    rows = list(shown_answers(records.answers))
    groups = Counter(row.group for row in rows if row.group)
    short = _without_folders(records)
    return page(
        "run.html.jinja",
        words,
        title=words.phrase("page-title", run=records.path.resolve().name),
        goal=records.config.get("goal"),
        answer=verdict.get("answer", "none"),
        plain=plain_text(evaluation, words_in(language)),
        verdict=text_in(verdict, language) or _not_evaluated(records, words),
        parts=[t for part in PARTS if (t := text_in(verdict.get(part), language))],
        first=first_answers(rows),
        finding=_finding(evaluation, language),
        beside=list(_beside(evaluation, words)),
        unread=[localized(each, language) for each in records.notices_of(UNREAD) if evaluation],
        facts=[(name, short(value)) for name, value in _facts(records, words)],
        sections=[s for s in _sections(records, words) if s.has_content],
        rows=rows,
        all_rows=len(records.answers),
        printed=sum(row.is_printed for row in rows),
        arms=ORDER,
        groups=[(key, groups[key]) for key in GROUPS if groups[key]],
        commands="\n".join(
            f"{command}  # {words.phrase(f'repeat.{what}')}" for what, command in _commands(records)
        ),
        notices=[short(localized(notice, language)) for notice in records.notices],
        config=short(records.config_text),
        environment=short(json.dumps(records.environment, indent=2, ensure_ascii=False)),
    )


def _without_folders(records: Records) -> Callable[[str], str]:
    """Absolute paths of a run in a text by their names alone, where each has its own: a page is
    sent to others, and folders are of a machine.
    """
    paths = set(_absolute_paths([records.config, records.environment]))
    count = Counter(Path(path).name for path in paths)
    names = {path: name for path in paths if count[name := Path(path).name] == 1 and name}
    longest = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, longest))})(?!\w)")
    return lambda text: pattern.sub(lambda found: names[found[0]], text) if names else text


def _absolute_paths(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _absolute_paths([*value, *value.values()])
    elif isinstance(value, list):
        for each in value:
            yield from _absolute_paths(each)
    elif isinstance(value, str) and Path(value).is_absolute():
        yield value


def _finding(evaluation: Mapping[str, Any], language: str) -> str:
    """That answers are degenerate, where clearly more are than of the data's own."""
    part = evaluation.get("degeneration") or {}
    return text_in(part, language) if part.get("found") else ""


def _beside(evaluation: Mapping[str, Any], words: Phrases) -> Iterator[str]:
    """How far it is from hosted models, and whether it is better than an earlier run."""
    if evaluation.get("hosted") and plain_text(evaluation, words_in(words.language)):
        for each in evaluation["hosted"].values():  # the exact verdict has them too
            yield text_in(each, words.language)
    if against := evaluation.get("against"):
        said = text_in(against, words.language)
        yield words.phrase("against", run=against["run"], text=said)
        yield from (localized(note, words.language) for note in against.get("notes") or ())


def is_unfinished(records: Records) -> bool:
    """Whether a run has begun and not ended: it was stopped, or it is still running."""
    ended = records.summary and records.summary.get("reason") != "stopped"
    return bool(records.events) and not records.evaluation and not ended


def unfinished(records: Records, command: str, words: Phrases) -> str:
    """How far a run is, and the command that resumes it."""
    planned = next((e for e in records.events if e.get("event") == "planned"), {})
    done = records.metrics[-1]["step"] if records.metrics else 0
    return words.phrase("unfinished", done, of=planned.get("steps", "?"), command=command)


def _not_evaluated(records: Records, words: Phrases) -> str:
    if not is_unfinished(records):
        return words.phrase("not-evaluated")
    return unfinished(records, _resuming(records), words)


def _resuming(records: Records) -> str:
    return f"tunesmith train --resume {shlex.quote(str(records.path))}"


def _sections(records: Records, words: Phrases) -> Iterator[Section]:
    evaluation, language = records.evaluation, words.language
    learning, spectrum = learning_plot(records, words), spectrum_plot(evaluation, words)
    notes = list(result_notes(evaluation, words))
    plots = [*arms_plots(evaluation, words), *degeneration_plots(evaluation, words)]
    others = list(cut_notes(evaluation, words, tuned=False))
    yield Section("result", [*plots, *confusion_plots(evaluation, words)], notes, others)
    scale = text_in(part_of(evaluation, "scale"), language)
    plots = list(forgetting_plots(evaluation, words))
    yield Section("forgetting", plots, folded=[scale] if scale else [])
    texts = [text] if (text := text_in(evaluation.get("consistency"), language)) else []
    plots = list(consistency_plots(evaluation, words))
    yield Section("consistency", plots, folded=texts)
    costs = list(cost_notes(evaluation, words))
    yield Section("requests", list(request_plots(evaluation, words)), costs)
    yield Section("learning", [learning] if learning else [])
    findings = (text_in(part_of(evaluation, part), language) for part in FINDINGS)
    yield Section("risks", [spectrum] if spectrum else [], [text for text in findings if text])


def _facts(records: Records, words: Phrases) -> Iterator[tuple[str, str]]:
    config, summary = records.config, records.summary
    planned = next((e for e in records.events if e.get("event") == "planned"), {})
    train = (config.get("data") or {}).get("train")
    sources = [train] if isinstance(train, str) else train or []
    names = [source if isinstance(source, str) else source.get("path", "") for source in sources]
    if kind := (config.get("method") or {}).get("kind"):  # none of a base alone
        yield words.phrase("fact.method"), str(kind)
    yield words.phrase("fact.base"), str(config.get("model"))
    if names:
        yield words.phrase("fact.data"), ", ".join(names)
    if asked := (records.evaluation.get("about") or {}).get("data"):
        held = str(asked)
        if isinstance(asked, float):
            share = share_text(asked, words_in(words.language))
            held = words.phrase("fact.held", share=share)
        yield words.phrase("fact.asked"), held
    if "steps" in summary:
        yield words.phrase("fact.steps"), f"{summary['steps']:,}"
    if "seconds" in summary:
        key = "fact.time" if records.evaluation else "fact.time-alone"
        yield words.phrase(key), clock(summary["seconds"])
    if summary.get("peak_bytes"):
        yield words.phrase("fact.peak"), bytes_text(summary["peak_bytes"], on_page=True)
    if planned.get("trainable_parameters"):
        yield words.phrase("fact.trained"), f"{planned['trainable_parameters']:,}"


def _commands(records: Records) -> Iterator[tuple[str, str]]:
    """What can be typed next, and what it is for: chat, export, evaluate again, train again."""
    run = shlex.quote(str(records.path))
    if is_unfinished(records):
        yield "resume", _resuming(records)
        return
    if records.summary.get("adapter"):
        yield "chat", f"tunesmith chat {run}"
        kind = (records.config.get("method") or {}).get("kind")
        if (method := table.row(kind)) is not None and method.exports:
            to = method.exports[0]  # for whom it is written where nothing is known
            out = shlex.quote(f"{records.path.resolve().name}-{to}")
            yield "export", f"tunesmith adapters export {run} --to {to} --out {out}"
    if not (records.path / "config.yaml").is_file():  # an evaluation that was written elsewhere
        return
    yield "evaluate", f"tunesmith evaluate {run}"
    yield "train", f"tunesmith train {run}/config.yaml --out NEW_FOLDER"
