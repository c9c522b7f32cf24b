"""Which way, and which method? Rules over facts of the goal, the rows and the machine.

The rules, with their sources and what was measured, are a table: `methods/choice.yaml`.
"""

import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core import yaml_text
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import bytes_text, count_text, pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.estimate.plan import MethodPlan
from tunesmith.methods import table
from tunesmith.runs.inspect_data import inspect_data, tokenizer_here
from tunesmith.runs.plan import RunPlan

MIN_ROWS = min(method.min_rows for method in table.METHODS.values())
FINE_TUNE, BOTH = "fine-tune", "both"
RENAMED = {"knowledge": "answers_are_facts"}  # of data check's codes
TRAINING = (FINE_TUNE, BOTH)  # ways that train
GO_ON = ("enough", "improve", "unchecked")  # rows that a method can be chosen for


@functools.cache
def rules() -> Mapping[str, Any]:
    """The table, as its file has it."""
    text = (files("tunesmith.methods") / "choice.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml_text.read(text)
    return found


@dataclass(frozen=True, slots=True)
class Situation:
    """What a recommendation rests on.

    ``notes``: codes of what `data check` reports, None where it could not check. ``plans``: of each
    method here. ``scores``: of the first check without training, by arm, with their lower limits,
    where they were run.
    """

    goal: str
    checks: Sequence[str] = ()
    rows: int = 0
    tokens_per_row: float = 0.0
    faults: int = 0
    notes: Collection[str] | None = None
    parameters: int = 0
    plans: Mapping[str, MethodPlan] = field(default_factory=dict)
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """One question of the three, its answer, and what that rests on."""

    question: str
    answer: str
    reason: str
    evidence: tuple[str, ...]
    measured: str | None
    source: str

    def to_json(self) -> dict[str, object]:
        """As `plan --json` prints it."""
        return {
            "question": self.question,
            "answer": self.answer,
            "reason": self.reason,
            "evidence": list(self.evidence),
            "measured": self.measured,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Advice:
    """The decisions in their order; ``method`` is None where nothing is to be trained (yet)."""

    decisions: tuple[Decision, ...]
    method: str | None
    changes: tuple[str, ...] = ()

    @property
    def way(self) -> str:
        """`fine-tune`, `retrieval`, `both` or `prompt`."""
        return self.decisions[0].answer

    def to_json(self) -> dict[str, object]:
        """`recommendation` of `plan --json`: that of the last decision, and all of them."""
        last = self.decisions[-1]
        return {
            "way": self.way,
            "method": self.method,
            "reason": last.reason,
            "evidence": list(last.evidence),
            "changes": list(self.changes),
            "decisions": [each.to_json() for each in self.decisions],
        }


def recommend(situation: Situation) -> Advice:
    """Is it fine-tuning at all; are the rows enough and fit; which method."""
    facts = facts_of(situation)
    way = _decide("ways", "Is this fine-tuning?", facts)
    if way.answer not in TRAINING:
        return Advice((way,), None)
    data = _decide("data", "Are the rows enough and fit?", facts)
    if data.answer not in GO_ON:
        return Advice((way, data), None)
    method = _decide("methods", "Which method?", facts)
    plan = situation.plans.get(method.answer)
    changes = plan.changes if plan is not None and not plan.fits else ()
    return Advice((way, data, method), method.answer, tuple(changes))


def facts_of(situation: Situation) -> dict[str, str]:
    """Each fact that holds, with the words that show why."""
    facts = dict(_of_goal(situation.goal))
    for fact, kinds in rules()["checks"].items():
        if found := [kind for kind in situation.checks if kind in kinds]:
            facts.setdefault(fact, f"the check is {found[0]}")
    facts |= dict(_of_rows(situation))
    facts |= dict(_of_machine(situation))
    facts |= dict(_of_scores(situation))
    for group, members in rules()["groups"].items():
        if found := [member for member in members if member in facts]:
            facts[group] = facts[found[0]]
    return facts


def _of_goal(goal: str) -> Iterator[tuple[str, str]]:
    folded = goal.casefold()
    for fact, words in rules()["words"].items():
        for word in words:
            start = r"\b" if word.isascii() else ""
            if re.search(start + re.escape(word), folded):
                yield fact, f"the goal says `{word}`"
                break


def _of_rows(situation: Situation) -> Iterator[tuple[str, str]]:
    sizes, counted = rules()["sizes"], pluralize(situation.rows, "row")
    if situation.faults:
        yield "faults", pluralize(situation.faults, "fault")
    if situation.notes is not None:
        yield "is_checked", f"{counted}, checked"
    for code in situation.notes or ():
        if code != "few_rows":  # which counts for the config's own method
            yield RENAMED.get(code, code), f"data check: {code}"
    if situation.rows < MIN_ROWS:
        yield "few_rows", f"{counted}, {MIN_ROWS} are the fewest of any method"
    if situation.tokens_per_row >= sizes["long_documents"]:
        yield "long_documents", f"{pluralize(round(situation.tokens_per_row), 'token')} a row"
    if situation.rows >= sizes["enough_rows_for_full"]:
        yield "rows_for_full", counted


def _of_machine(situation: Situation) -> Iterator[tuple[str, str]]:
    size = count_text(situation.parameters)
    for kind, plan in situation.plans.items():
        if plan.fits:
            yield f"fits_{kind}", f"{kind} takes {bytes_text(plan.peak_bytes)} here ({size})"


def _of_scores(situation: Situation) -> Iterator[tuple[str, str]]:
    if not situation.scores:
        return
    best = max(situation.scores, key=lambda arm: situation.scores[arm])
    score, low = situation.scores[best]
    text = f"{best}: {100 * score:.0f} % (from {100 * low:.0f} % on) without training"
    yield "prompt_was_run", text
    if low >= rules()["sizes"]["prompt_is_enough"]:
        yield "prompt_is_enough", text


def _decide(part: str, question: str, facts: Mapping[str, str]) -> Decision:
    """The first rule that holds; the last one of each part always does."""
    rule = next(rule for rule in rules()[part] if _holds(rule, facts))
    named = [*rule.get("when", ()), *rule.get("any", ())]
    evidence = dict.fromkeys(facts[fact] for fact in named if fact in facts)
    return Decision(
        question,
        rule["answer"],
        rule["reason"],
        tuple(evidence),
        rule.get("measured"),
        rule["source"],
    )


def _holds(rule: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    every = all(fact in facts for fact in rule.get("when", ()))
    some = any(fact in facts for fact in rule["any"]) if "any" in rule else True
    return every and some and not any(fact in facts for fact in rule.get("unless", ()))


def situation_of(config: RunConfig, plan: RunPlan, *, progress: Progress = SILENT) -> Situation:
    """What a config and its plan show: its rows are checked where the base's tokenizer is here."""
    faults, notes = 0, None
    rows = plan.rows
    if rows is not None and tokenizer_here(config.model) is not None:
        sides = inspect_data(config, progress=progress)
        faults = sum(side.faults.count for side in sides)
        notes = frozenset(note.code for side in sides for note in side.warnings)
    return Situation(
        goal=config.goal or "",
        checks=[check.kind for check in config.evaluate.checks],
        rows=rows.rows if rows else 0,
        tokens_per_row=rows.tokens / max(1, rows.rows) if rows else 0.0,
        faults=faults,
        notes=notes,
        parameters=plan.parameters,
        plans={each.method: each for each in plan.devices[0].methods},
    )


def require_rows(found: Advice, situation: Situation) -> None:
    """Raise UsageError where a method was to be chosen and there are no rows to learn from."""
    if found.way in TRAINING and not situation.rows:
        raise UsageError(
            f"The goal {situation.goal!r} is a behaviour, which is learned from rows, and none are "
            "named.",
            remedy="Give a CONFIG with data, or --data FILE beside the base.",
        )
