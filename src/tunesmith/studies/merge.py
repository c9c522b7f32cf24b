"""`adapters merge`: adapters become one, by a given method or by the one that keeps their tasks."""

import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.adapters import combine_rules, combined, sources
from tunesmith.adapters.combined import Combined, Fit
from tunesmith.adapters.sources import require_alike
from tunesmith.config.methods import needs_four_bit
from tunesmith.core import files
from tunesmith.core.errors import AdapterError, UsageError
from tunesmith.core.numbers import percent, pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.evaluation.intervals import Interval
from tunesmith.methods import table
from tunesmith.runs.evaluate import warn_other_base
from tunesmith.runs.locate import adapter_folders
from tunesmith.runs.result import open_for
from tunesmith.studies.candidates import (
    LINEAR,
    Candidate,
    MergeRecipe,
    WeightedBlend,
    automatic,
    balanced,
    make_all,
    recipes_of,
)
from tunesmith.studies.tasks import ALONE, Keeping, Runs, TaskScores, read_task, runs_of, try_all

ROWS = 100  # held-out rows of each adapter that are asked
EXACT = ("linear", "knots")  # methods whose result fits the ranks of all adapters together
# ||D - s B A|| / ||D|| from which a cut may cost answers more than a tenth of a nat a token; below
# it none did: docs/combine.md, "What the error costs".
LARGE_ERROR = 0.25
MAX_DROP = 10.0  # points that the worst adapter's score may lose


@dataclass(frozen=True, slots=True)
class Named:
    """Adapters as a user names them, their folders, and what they are as a blend."""

    words: Sequence[str]
    folders: Mapping[str, Path]
    blend: WeightedBlend

    def side_by_side(self) -> str:
        """The command that lets them answer without being merged."""
        asked = [word for each in self.words for word in ("--adapter", each)]
        return shlex.join(["tunesmith", "chat", *asked])


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried: each candidate, and every task's scores under all of them."""

    candidates: Sequence[Candidate]
    scores: Sequence[TaskScores]

    def worst(self, name: str) -> tuple[TaskScores, Interval]:
        """The task that a candidate costs most, and what it loses there."""
        task = max(self.scores, key=lambda each: each.drops[name].mean)
        return task, task.drops[name]

    def best(self) -> Candidate:
        """The candidate whose worst drop is smallest; of equal ones that with the smaller mean
        drop, then the first.
        """

        def cost(candidate: Candidate) -> tuple[float, float]:
            drops = [each.drops[candidate.recipe.name].mean for each in self.scores]
            return max(drops), sum(drops)

        return min(self.candidates, key=cost)

    def to_json(self) -> dict[str, object]:
        """The candidates with their worst drops, and the scores."""
        tried = []
        for each in self.candidates:
            task, drop = self.worst(each.recipe.name)
            worst = {"adapter": task.task, "mean": drop.mean, "low": drop.low, "high": drop.high}
            tried.append({**each.to_json(), "worst_drop": worst})
        return {"tried": tried, "scores": [each.to_json() for each in self.scores]}


@dataclass(frozen=True, slots=True)
class Merged:
    """The adapter that several became, how, and what was tried where a choice was made."""

    out: Path
    named: Named
    candidate: Candidate
    trial: Trial | None = None

    @property
    def advice(self) -> str | None:
        """What a large error means and what to do; None where it is small, or was measured."""
        made, recipe = self.candidate.made, self.candidate.recipe
        error, rank = made.errors.overall, max(made.ranks.values())
        if error < LARGE_ERROR or self.trial is not None:
            return None
        whole = self.named.blend.rank
        if recipe.name in EXACT:
            more = f"`--rank {whole}` stores all of it"
        else:
            more = (
                f"`--rank {2 * rank}` stores more, and `--method {EXACT[0]}` or `{EXACT[1]}` fit "
                f"rank {whole} without a loss"
            )
        return (
            f"An error of {percent(error)} is large: rank {rank} holds {percent(1 - error**2)} of "
            f"what `{recipe.name}` makes of the adapters (of its squares), and skills may suffer, "
            f"that of the adapter with the smaller changes first. {more}; `--auto` measures what "
            "every method costs each skill."
        )

    def to_json(self) -> dict[str, object]:
        """The documented keys; ``largest_difference`` is the error of the layer that loses most."""
        made, found = self.candidate.made, self.candidate.to_json()
        counted = self.candidate.recipe.weights or self.named.blend.weights
        weights = zip(self.named.folders, counted, strict=True)
        return {
            "out": str(self.out),
            "kind": table.COMBINED_KIND,
            "bytes": made.bytes,
            "largest_difference": max(made.errors.layers.values()),
            "error": made.errors.overall,
            "advice": self.advice,
            "name": found["name"],
            "method": found["method"],
            "rank": found["rank"],
            "adapters": [
                {"name": name, "folder": str(self.named.folders[name]), "weight": weight}
                for name, weight in weights
            ],
            **(self.trial.to_json() if self.trial else {"tried": [], "scores": []}),
        }


class NothingKeepsAll(AdapterError):
    """Every candidate costs an adapter more than is allowed; ``trial`` has the figures."""

    code = "conflict"

    def __init__(self, message: str, *, remedy: str, trial: Trial) -> None:
        super().__init__(message, remedy=remedy)
        self.trial = trial


def named(
    words: Sequence[str], weights: Sequence[float] = (), *, seed: int = 0, force: bool = False
) -> Named:
    """The adapters of these folders or runs, each of weight 1 unless weights are given.

    ``force``: bases of which only the names differ are one, and changed files are meant.

    Raises AdapterError for what is no LoRA to be added up and for different bases, UsageError
    for another number of weights.
    """
    if weights and len(weights) != len(words):
        raise UsageError(
            f"{pluralize(len(words), 'adapter')} and {pluralize(len(weights), 'weight')} are "
            "given.",
            remedy="Give a weight for each adapter, as in --weights 1,0.5.",
        )
    folders = adapter_folders(words)
    read = {name: sources.read(path, trusted=force) for name, path in folders.items()}
    require_alike(list(read.values()), trust_bases=force)
    return Named(
        words, folders, WeightedBlend(read, list(weights) or [1.0] * len(words), seed, force)
    )


def combine(
    adapters: Named,
    out: Path,
    *,
    kind: str,
    density: float | None = None,
    rank: int | None = None,
    progress: Progress = SILENT,
) -> Merged:
    """Write the combination by one method to ``out``, cut to ``rank`` (None: that of all together).

    Raises AdapterError for a folder that is there already, UsageError for an unknown method.
    """
    blend = adapters.blend
    recipe = MergeRecipe(
        kind, combine_rules.made(kind, density), blend.rank if rank is None else rank
    )
    fit = Fit(rank=recipe.rank, seed=blend.seed)
    phase = progress.quiet_phase(f"combining by {kind}, layers")
    made = combined.save(out, blend.combination(recipe.method), fit, phase=phase)
    return Merged(out, adapters, Candidate(recipe, made))


def combine_best(  # noqa: PLR0913  # what is tried, on how much, and what is allowed
    adapters: Named,
    out: Path,
    *,
    densities: Sequence[float] = (),
    ranks: Sequence[int] = (),
    rows: int = ROWS,
    max_drop: float = MAX_DROP,
    progress: Progress = SILENT,
) -> Merged:
    """Write the combination that costs the worst adapter least to ``out``.

    Each method is tried, with ``densities`` and ``ranks`` where they are given, and scored by the
    first check of each adapter's run on at most ``rows`` held-out rows. Raises NothingKeepsAll
    where that costs more than ``max_drop`` points, AdapterError for an adapter without a run to
    ask; then nothing is written. A cancel writes nothing either, and the answers stay.
    """
    files.require_new(out)
    if len(adapters.folders) < 2:
        raise UsageError(
            "One adapter is named: there is nothing to choose.", remedy="Name another one."
        )
    runs = runs_of(adapters.folders)
    require_measurable(runs)
    recipes = automatic(adapters.blend)
    if densities or ranks:
        recipes = recipes_of(adapters.blend, densities=densities or (None,), ranks=ranks)
    with tempfile.TemporaryDirectory(prefix="tunesmith-combining-") as scratch:
        trial = tried(adapters, runs, recipes, Path(scratch), rows=rows, progress=progress)
        _require_scores(trial)
        best = trial.best()
        _require_kept(trial, best, max_drop, adapters)
        written = _written(out, best, trial)
    return Merged(out, adapters, replace(best, made=written), trial)


def require_measurable(runs: Runs) -> None:
    """Raise AdapterError where an adapter has no held-out rows and check to be scored by."""
    if runs.left_out:
        reasons = "; ".join(f"{name}: {why}" for name, why in runs.left_out.items())
        raise AdapterError(
            f"What a combination costs cannot be measured: {reasons}.",
            remedy="Name adapters in their runs (runs/NAME), with checks and held-out rows; or "
            "choose a method yourself: --method ties.",
            code="unmeasured",
        )


def tried(
    adapters: Named,
    runs: Runs,
    recipes: Sequence[MergeRecipe],
    scratch: Path,
    *,
    rows: int,
    progress: Progress,
) -> Trial:
    """Make every candidate below ``scratch``, and let all of them answer beside one base."""
    loaded = open_for(next(iter(runs.configs.values())), progress=progress)
    for note in (*loaded.base.notes, *_mixed_bases(runs)):
        progress.notice("base", note)
    for path in adapters.folders.values():
        warn_other_base(path, loaded, progress)
    tasks = []
    for name, config in runs.configs.items():
        progress.phase(f"reading the rows of {name}")
        task = read_task(name, config, loaded, limit=rows, progress=progress)
        if isinstance(task, str):
            raise AdapterError(f"{name} cannot be measured: {task}.", code="unmeasured")
        tasks.append(task)
    keeping = Keeping(loaded, tasks, adapters.folders)
    candidates = _candidates(adapters, recipes, keeping, scratch, progress)
    folders = {each.recipe.name: each.made.folder for each in candidates}
    return Trial(candidates, try_all(loaded, tasks, adapters.folders, folders, progress))


def _candidates(
    adapters: Named,
    recipes: Sequence[MergeRecipe],
    keeping: Keeping,
    scratch: Path,
    progress: Progress,
) -> list[Candidate]:
    """Every recipe's adapter, with its loss on each task; weights that lose less are one more."""
    more = None
    if any(recipe.name == LINEAR for recipe in recipes):
        more = balanced(adapters.blend, keeping, scratch, progress)
    made = make_all(adapters.blend, [*recipes, *([more] if more else [])], scratch, progress)
    return [replace(each, lost=keeping.lost(each.made.folder)) for each in made]


def _mixed_bases(runs: Runs) -> Iterator[str]:
    """That some adapters answer over another number format of the base than they learned over."""
    is_four_bit = [needs_four_bit(config.method.kind) for config in runs.configs.values()]
    if len(set(is_four_bit)) > 1:
        here = "4-bit" if is_four_bit[0] else "16-bit or wider"
        yield f"some were trained over a 4-bit base, some were not: all answer over a {here} one"


def _require_scores(trial: Trial) -> None:
    bare = [
        each.task
        for each in trial.scores
        if any(candidate.recipe.name not in each.drops for candidate in trial.candidates)
    ]
    if bare:
        raise AdapterError(
            f"Fewer than two held-out rows of {', '.join(bare)} have a score.",
            remedy="Hold more rows out, or let the first check of the run score them.",
            code="unmeasured",
        )


def _require_kept(trial: Trial, best: Candidate, max_drop: float, adapters: Named) -> None:
    task, drop = trial.worst(best.recipe.name)
    if 100 * drop.mean <= max_drop:
        return
    allow = ALLOW.format(points=-(-100 * drop.mean // 1))
    raise NothingKeepsAll(
        f"No combination keeps every adapter's skill: the best of {len(trial.candidates)}, "
        f"`{best.recipe.name}`, costs {fall_text(task, best.recipe.name)}; {max_drop:g} points are "
        "allowed. Nothing is written.",
        remedy=f"Serve them side by side, which keeps all of them whole: "
        f"{adapters.side_by_side()}. Or allow more: {allow}.",
        trial=trial,
    )


ALLOW = "--max-drop {points:.0f}"


def fall_text(task: TaskScores, name: str) -> str:
    """`intents 23 points (91 to 68 %; 95 % interval of the drop 14..31)`."""
    drop, alone, after = task.drops[name], task.arms[ALONE], task.arms[name]
    return (
        f"{task.task} {100 * drop.mean:.0f} points ({100 * alone.mean:.0f} to "
        f"{100 * after.mean:.0f} %; 95 % interval of the drop "
        f"{100 * drop.low:.0f}..{100 * drop.high:.0f})"
    )


def _written(out: Path, best: Candidate, trial: Trial) -> Combined:
    """The candidate's folder, as it was measured, at ``out``."""
    costs = "; ".join(fall_text(task, best.recipe.name) for task in trial.scores)
    remark = f"Chosen from {len(trial.candidates)} recipes, by what it costs: {costs}."
    return combined.copy(best.made, out, remark=remark)
