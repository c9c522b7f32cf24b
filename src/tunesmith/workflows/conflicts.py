"""`adapters conflicts`: what clashes between adapters, in their weights and in their answers."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.adapters.conflicts import Conflict, Conflicts, conflicts
from tunesmith.adapters.depth import depth_of, kind_of
from tunesmith.errors import TunesmithError
from tunesmith.train.events import Notice
from tunesmith.workflows.candidates import ways_of
from tunesmith.workflows.combine import ROWS, Named, Trial, require_measurable, tried
from tunesmith.workflows.conflict_words import Verdict, judged
from tunesmith.workflows.course import QUIET, Clock, Course
from tunesmith.workflows.tasks import Runs, runs_of


@dataclass(frozen=True, slots=True)
class Pair:
    """Two adapters by name, and what clashes between their weights."""

    a: str
    b: str
    found: Conflicts

    def to_json(self) -> dict[str, object]:
        """The documented keys: measures of all layers together, and of each one."""
        layers = [
            {"layer": name, "depth": depth_of(name), "kind": kind_of(name), **measures_of(each)}
            for name, each in self.found.layers.items()
        ]
        return {
            "a": self.a,
            "b": self.b,
            **measures_of(self.found.overall),
            "only_a": list(self.found.only_first),
            "only_b": list(self.found.only_second),
            "layers": layers,
        }


def measures_of(conflict: Conflict) -> dict[str, float]:
    """All measures by the names that they have in a document."""
    return {
        "cosine": conflict.cosine,
        "sign_conflict": conflict.sign_conflict,
        "subspace_overlap": conflict.subspace_overlap,
        "input_overlap": conflict.input_overlap,
        "output_overlap": conflict.output_overlap,
        "chance_overlap": conflict.chance,
        "norm_ratio": conflict.norm_ratio,
    }


@dataclass(frozen=True, slots=True)
class Found:
    """Every pair of the adapters, what merging costs where that was measured, and the verdict."""

    adapters: Named
    pairs: Sequence[Pair]
    trial: Trial | None
    verdict: Verdict
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The documented keys; ``left_out``: adapters whose task was not measured, and why."""
        return {
            "pairs": [pair.to_json() for pair in self.pairs],
            "verdict": self.verdict.to_json(),
            **(self.trial.to_json() if self.trial else {"tried": [], "scores": []}),
            "left_out": self.left_out,
            "side_by_side": self.adapters.side_by_side(),
        }


def find_conflicts(
    adapters: Named, *, scores: bool | None = None, rows: int = ROWS, course: Course = QUIET
) -> Found:
    """Measure every pair, and what each method of combining all of them costs each one's task.

    ``scores``: whether answers are measured, which takes the base and time; None: where an
    adapter comes from a run with checks and held-out rows, and a failure is only told. Raises
    AdapterError for adapters that share no layer, and what cannot be measured where it must be.
    """
    clock = Clock(course)
    couples = list(itertools.combinations(adapters.blend.sources.items(), 2))
    pairs = []
    for number, ((a, first), (b, second)) in enumerate(couples):
        clock.at("comparing weights", number, len(couples))
        clash = conflicts(first, second, trust_bases=adapters.blend.trusted)
        pairs.append(Pair(a, b, clash))
    runs = runs_of(adapters.folders) if scores is not False else Runs({}, {})
    if scores:
        require_measurable(runs)
    trial, left_out = None, dict(runs.left_out)
    if runs.configs:
        try:
            trial = _trial(adapters, runs, rows, course)
        except TunesmithError as error:
            if scores:
                raise
            course.emit(Notice("unmeasured", f"what merging costs was not measured: {error}"))
            left_out |= dict.fromkeys(runs.configs, str(error))
    found = {(pair.a, pair.b): pair.found for pair in pairs}
    return Found(adapters, pairs, trial, judged(found, trial), left_out)


def _trial(adapters: Named, runs: Runs, rows: int, course: Course) -> Trial:
    with tempfile.TemporaryDirectory(prefix="tunesmith-combining-") as scratch:
        ways = ways_of(adapters.blend)
        return tried(adapters, runs, ways, Path(scratch), rows=rows, course=course)
