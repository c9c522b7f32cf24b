"""`recommend`: is it fine-tuning, are the rows enough, which method; each with its evidence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.api.compare import STOPPING
from tunesmith.api.settings import config_of, nested, plain
from tunesmith.api.show import Outcome, line, print_facts
from tunesmith.api.work import OnRunEvent, working_on_runs
from tunesmith.core.errors import UsageError
from tunesmith.core.language import localized

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.run import RunConfig
    from tunesmith.core.progress import Progress
    from tunesmith.runs.plan import RunPlan
    from tunesmith.studies.recommendation import Advice, Decision

WAYS = {
    "retrieval": "retrieval: `tunesmith rag index DIR --store S`",
    "prompt": "an instruction or examples, no training",
    "both": "retrieval and fine-tuning",
    "fine-tune": "fine-tuning",
}


@dataclass(frozen=True, slots=True)
class Recommendation(Outcome):
    """What is recommended, and the decisions that led there."""

    found: "Advice"

    @property
    def way(self) -> str:
        """`fine-tune`, `retrieval`, `both` or `prompt`."""
        return self.found.way

    @property
    def method(self) -> str | None:
        """The method; None where nothing is to be trained, or not yet."""
        return self.found.method

    def show(self, console: "Console") -> None:
        """The answer, then each question with its reason, evidence and source."""
        title = WAYS[self.way] if self.method is None else self.method
        line(console, f"Recommended: {title}", style="bold")
        for each in self.found.decisions:
            line(console, each.question)
            print_facts(console, _facts(each))
        if self.found.changes:
            line(console, f"{self.method} would fit with: {'; or '.join(self.found.changes)}")


def _facts(decision: "Decision") -> Iterator[tuple[str, str]]:
    yield "answer", decision.answer
    yield "reason", decision.reason
    if decision.evidence:
        yield "evidence", "; ".join(map(localized, decision.evidence))
    if decision.measured:
        yield "measured", decision.measured
    yield "source", decision.source


def recommend(
    config: object,
    *,
    goal: str | None = None,
    probe_minutes: float | None = None,
    settings: Mapping[str, object] | None = None,
    on_event: OnRunEvent | None = None,
    progress: bool | None = None,
) -> Recommendation:
    """Which way a ``goal`` is reached with these rows on this machine, and why.

    ``config``: a run's config (a YAML file, a mapping or a RunConfig); its own `goal` counts where
    none is given. Rules decide, a table with sources (`methods/choice.yaml`). With
    ``probe_minutes`` an instruction and examples are run on held-out rows, and the candidates
    trained together for about so long: measurement decides then.

    Raises UsageError without a goal, or where rows are needed and none are named.

    >>> ts.recommend("tunesmith.yaml", goal="Answer in our tone").method  # doctest: +SKIP
    """
    values = plain({**(settings or {}), **({"goal": goal} if goal else {})})
    assert isinstance(values, dict)
    made = config_of(nested(values), config)
    require_goal(made)
    with working_on_runs(
        STOPPING, resume="Start it again.", on_event=on_event, progress=progress
    ) as work:
        from tunesmith.config.methods import default_methods
        from tunesmith.estimate.machine import here
        from tunesmith.runs.plan import plan_run

        together = work.progress_of("together")
        own = here(made.device, progress=together)
        methods = default_methods() | {made.method.kind: made.method}
        found = plan_run(made, methods, [own])
        if probe_minutes is None:
            return recommended(made, found, together)
        from tunesmith.runs.own_folder import own_folder
        from tunesmith.studies.probe import probe
        from tunesmith.studies.recommendation import situation_of

        situation = situation_of(made, found, progress=together)
        with own_folder(made.out, "probe") as out:
            chosen = probe(made, situation, out, work.progress_of, minutes=probe_minutes)
    return Recommendation(chosen)


def require_goal(config: "RunConfig") -> None:
    """Raise UsageError for a config without a goal."""
    if not (config.goal or "").strip():
        raise UsageError(
            "A recommendation rests on a goal, and none is named.",
            remedy='Give --goal "Answer with the customer\'s intent", or `goal:` in the config.',
        )


def recommended(config: "RunConfig", plan: "RunPlan", progress: "Progress") -> Recommendation:
    """What the rules say of a config whose plan is made; UsageError where rows are missing."""
    from tunesmith.studies.recommendation import recommend as decide
    from tunesmith.studies.recommendation import require_rows, situation_of

    situation = situation_of(config, plan, progress=progress)
    found = decide(situation)
    require_rows(found, situation)
    return Recommendation(found)
