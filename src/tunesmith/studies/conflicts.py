"""What clashes between adapters, in their weights and in their answers, and in plain words?"""

import itertools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tunesmith.adapters.conflicts import Conflict, Conflicts, bands, conflicts, depth_of, kind_of
from tunesmith.core.errors import TunesmithError
from tunesmith.core.phrases import capitalized
from tunesmith.core.progress import SILENT, Progress
from tunesmith.studies.candidates import LINEAR, Candidate, recipes_of
from tunesmith.studies.merge import MAX_DROP, ROWS, Named, Trial, require_measurable, tried
from tunesmith.studies.tasks import ALONE, Runs, TaskScores, runs_of

# Nats a token of any task's held-out answers: a combination that loses no more may well fit
# (docs/combine.md).
MAX_LOST = 0.1
# The cosine, of either sign, from which two adapters work in the same places: a tenth of each lies
# along the other. Unlike tasks have less, two formats of one question more (docs/combine.md).
MEETING = 0.1
MAX_LAYERS = 1000  # blocks of a model: each is looked at by itself


@dataclass(frozen=True, slots=True)
class ConflictVerdict:
    """``answer``: `fits` where a combination keeps every skill, `clash` where none does, by the
    scores; ``expected``: which of them held-out answers let expect that were only read.
    `cannot-tell` where that was not measured.
    """

    answer: str
    expected: str
    text: str


def assess_conflicts(
    found: Mapping[tuple[str, str], Conflicts], trial: Trial | None
) -> ConflictVerdict:
    """Of every pair by its names, and of what was measured."""
    several = len(found) > 1
    weights = [_weights_text(pair, each, named=several) for pair, each in found.items()]
    if trial is None:
        rest = (
            "What it costs their answers was not measured: weights alone do not show it; "
            "serving them side by side keeps all of them whole."
        )
        return ConflictVerdict("cannot-tell", "cannot-tell", " ".join([*weights, rest]))
    _, drop = trial.worst(trial.best().recipe.name)
    answer = "clash" if 100 * drop.mean > MAX_DROP else "fits"
    return ConflictVerdict(
        answer, _expected(trial), " ".join([*weights, *_measured(trial, answer)])
    )


def _expected(trial: Trial) -> str:
    """By the combination that loses least of the task that loses most."""
    kept = _loses_least(trial)
    if kept is None:
        return "cannot-tell"
    return "fits" if max(kept.lost.values()) <= MAX_LOST else "clash"


def _loses_least(trial: Trial) -> Candidate | None:
    """The candidate by which the task that loses most loses least, where that was read."""
    read = [each for each in trial.candidates if each.lost]
    return min(read, key=lambda each: max(each.lost.values()), default=None)


def _weights_text(pair: tuple[str, str], found: Conflicts, *, named: bool) -> str:
    """`Layers 11-19 pull in opposite directions (cosine down to -0.31).`"""
    overall = found.overall
    opposed = list(_opposed(found))
    if math.isnan(overall.cosine):
        text = "one of them changes nothing, so that nothing clashes"
    elif opposed:
        least = min(cosine for _, cosine in opposed)
        names = ", ".join(name for name, _ in opposed)
        text = f"layers {names} pull in opposite directions (cosine down to {least:.2f})"
    else:
        is_near = abs(overall.cosine) >= MEETING
        meet = "they work in the same places" if is_near else "they hardly meet"
        text = (
            f"{meet} (cosine {overall.cosine:+.2f}; {100 * overall.output_overlap:.0f} % of their "
            f"outputs shared, {100 * overall.chance:.0f} % by chance)"
        )
    return f"{pair[0]} and {pair[1]}: {text}." if named else f"{capitalized(text)}."


def _opposed(found: Conflicts) -> Iterator[tuple[str, float]]:
    """Neighbouring blocks that oppose, by their names, with the least cosine of a block."""
    blocks = bands(list(found.layers), limit=MAX_LAYERS)
    cosines = [(block.name, found.together(block.layers).cosine) for block in blocks]
    for opposes, run in itertools.groupby(cosines, key=lambda each: each[1] <= -MEETING):
        if opposes:
            names, values = zip(*run, strict=True)
            name = names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}"
            yield name, min(values)


def _measured(trial: Trial, answer: str) -> Iterator[str]:
    """What a linear merge costs, the recipe that costs least, and that nothing is lost unmerged."""
    if (kept := _loses_least(trial)) is not None:
        lost = ", ".join(f"{name} {nats:.2f}" for name, nats in kept.lost.items())
        yield (
            f"By the likelihood of held-out answers `{kept.recipe.name}` loses least: {lost} "
            "(nats a token)."
        )
    falls = ", ".join(_fall(task, LINEAR) for task in trial.scores)
    yield f"After a linear merge {falls}."
    best = trial.best().recipe.name
    if trial.worst(best)[1].mean < trial.worst(LINEAR)[1].mean:
        keeps = ", ".join(_kept(task, best) for task in trial.scores)
        yield f"`{best}` costs least: {keeps}."
    if answer == "clash":
        yield "Serving them side by side keeps all of them whole."


def _fall(task: TaskScores, name: str) -> str:
    alone, after = task.arms[ALONE].mean, task.arms[name].mean
    drop = task.drops[name]
    verb = "falls" if drop.low > 0 else "rises" if drop.high < 0 else "goes"
    return f"{task.task} {verb} from {100 * alone:.0f} to {100 * after:.0f} %"


def _kept(task: TaskScores, name: str) -> str:
    return f"{task.task} {100 * task.arms[name].mean:.0f} %"


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
class ConflictReport:
    """Every pair of the adapters, what merging costs where that was measured, and the verdict."""

    adapters: Named
    pairs: Sequence[Pair]
    trial: Trial | None
    verdict: ConflictVerdict
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The documented keys; ``left_out``: adapters whose task was not measured, and why."""
        return {
            "pairs": [pair.to_json() for pair in self.pairs],
            "verdict": asdict(self.verdict),
            **(self.trial.to_json() if self.trial else {"tried": [], "scores": []}),
            "left_out": self.left_out,
            "side_by_side": self.adapters.side_by_side(),
        }


def find_conflicts(
    adapters: Named, *, scores: bool | None = None, rows: int = ROWS, progress: Progress = SILENT
) -> ConflictReport:
    """Measure every pair, and what each method of combining all of them costs each one's task.

    ``scores``: whether answers are measured, which takes the base and time; None: where an
    adapter comes from a run with checks and held-out rows, and a failure is only reported. Raises
    AdapterError for adapters that share no layer, and what cannot be measured where it must be.
    """
    couples = list(itertools.combinations(adapters.blend.sources.items(), 2))
    pairs = []
    phase = progress.quiet_phase("comparing weights", len(couples))
    for (a, first), (b, second) in phase.over(couples):
        clash = conflicts(first, second, trust_bases=adapters.blend.trusted)
        pairs.append(Pair(a, b, clash))
    runs = runs_of(adapters.folders) if scores is not False else Runs({}, {})
    if scores:
        require_measurable(runs)
    trial, left_out = None, dict(runs.left_out)
    if runs.configs:
        try:
            trial = _trial(adapters, runs, rows, progress)
        except TunesmithError as error:
            if scores:
                raise
            progress.notice("unmeasured", f"what merging costs was not measured: {error}")
            left_out |= dict.fromkeys(runs.configs, str(error))
    found = {(pair.a, pair.b): pair.found for pair in pairs}
    return ConflictReport(adapters, pairs, trial, assess_conflicts(found, trial), left_out)


def _trial(adapters: Named, runs: Runs, rows: int, progress: Progress) -> Trial:
    with tempfile.TemporaryDirectory(prefix="tunesmith-combining-") as scratch:
        recipes = recipes_of(adapters.blend)
        return tried(adapters, runs, recipes, Path(scratch), rows=rows, progress=progress)
