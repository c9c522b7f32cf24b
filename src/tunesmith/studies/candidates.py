"""Which combinations of adapters are tried, and which weights lose least of every task?

An adapter with large outputs on other tasks drowns another at equal weights. So one weight
after another is lowered, the one and to the share that help most, as long as any does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.adapters import combine_rules, combined
from tunesmith.adapters.combine_rules import MergeMethod
from tunesmith.adapters.combined import Combination, Combined, Fit
from tunesmith.adapters.sources import AdapterSource
from tunesmith.core.progress import Progress
from tunesmith.studies.tasks import Keeping

# Beside its own, a density that methods which keep few entries are also tried with.
MORE_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class MergeRecipe:
    """A method and the rank at most; ``name`` is what sets it apart from the others.

    ``weights``: other ones than those of the blend.
    """

    name: str
    method: MergeMethod
    rank: int
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class WeightedBlend:
    """Adapters by name, what each counts, and the seed of what is drawn.

    ``trusted``: bases of which only the names differ are one.
    """

    sources: Mapping[str, AdapterSource]
    weights: Sequence[float]
    seed: int = 0
    trusted: bool = False

    def combination(
        self, method: MergeMethod, weights: Sequence[float] | None = None
    ) -> Combination:
        """Of these weights or its own; raises AdapterError for adapters of different bases,
        ConfigError for odd weights.
        """
        sources, used = list(self.sources.values()), weights or self.weights
        return Combination(sources, used, method, self.seed, self.trusted)

    @property
    def rank(self) -> int:
        """That of the adapters together, which the linear combination fits into."""
        return sum(
            max(shape.rank for shape in source.shapes.values()) for source in self.sources.values()
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe, and the adapter that it makes, in a folder of its own; ``lost`` nats a token of
    each task's held-out answers.
    """

    recipe: MergeRecipe
    made: Combined
    lost: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """``error``: ||D - s B A|| / ||D||, what the rank and the number format lose."""
        return {
            "name": self.recipe.name,
            "method": combine_rules.described(self.recipe.method),
            "rank": max(self.made.ranks.values()),
            "bytes": self.made.bytes,
            "error": self.made.errors.overall,
            "weights": list(self.recipe.weights) if self.recipe.weights else None,
            "lost": dict(self.lost),
        }


def recipes_of(
    blend: WeightedBlend,
    *,
    kinds: Sequence[str] = combine_rules.METHODS,
    densities: Sequence[float | None] = (None,),
    ranks: Sequence[int] = (),
) -> list[MergeRecipe]:
    """Every kind with every density that it takes and every rank; none of them twice.

    A density None is the method's own. Raises UsageError for a kind that there is not.
    """
    found: dict[tuple[MergeMethod, int], MergeRecipe] = {}
    for kind in kinds:
        for density in densities if takes_density(kind) else (None,):
            for rank in ranks or (blend.rank,):
                method = combine_rules.made(kind, density)
                name = kind if density is None else f"{kind} {density:g}"
                name = f"{name}, rank {rank}" if len(ranks) > 1 else name
                found.setdefault((method, rank), MergeRecipe(name, method, rank))
    return list(found.values())


def automatic(blend: WeightedBlend) -> list[MergeRecipe]:
    """What is tried where nothing is asked for: every method, and those that keep few entries
    also with more of them.
    """
    tried = recipes_of(blend)
    few = [
        kind
        for kind in combine_rules.METHODS
        if (density := combine_rules.density_of(combine_rules.made(kind))) is not None
        and density < MORE_KEPT
    ]
    return [*tried, *recipes_of(blend, kinds=few, densities=(MORE_KEPT,))]


def takes_density(kind: str) -> bool:
    """Whether a kind of method chooses among entries."""
    return combine_rules.density_of(combine_rules.made(kind)) is not None


def make_all(
    blend: WeightedBlend, recipes: Sequence[MergeRecipe], scratch: Path, progress: Progress
) -> list[Candidate]:
    """Every recipe's adapter below ``scratch``."""
    phase, made = progress.quiet_phase("combining", len(recipes)), []
    for number, recipe in enumerate(phase.over(recipes)):
        combination = blend.combination(recipe.method, recipe.weights)
        fit = Fit(rank=recipe.rank, seed=blend.seed)
        made.append(Candidate(recipe, combined.save(scratch / f"{number}", combination, fit)))
    return made


SHARES = (0.8, 0.6, 0.4)  # of the weight that is given
PASSES = 2  # weights that are lowered at most
WORTH = 0.01  # nats a token: a smaller gain is none
LINEAR = "linear"


def balanced(
    blend: WeightedBlend, keeping: Keeping, scratch: Path, progress: Progress
) -> MergeRecipe | None:
    """The linear recipe with the weights by which the task that loses most loses least; None
    where those that are given do.
    """
    phase = progress.quiet_phase(
        "weighing the adapters", 1 + PASSES * len(blend.weights) * len(SHARES)
    )
    known: dict[tuple[float, ...], float] = {}

    def lost(weights: tuple[float, ...]) -> float:
        """By the task that loses most; each combination is made and read once."""
        if weights not in known:
            phase.at(len(known))
            made = combined.save(
                scratch / f"weights-{len(known)}",
                blend.combination(combine_rules.made(LINEAR), weights),
                Fit(rank=blend.rank, seed=blend.seed),
            )
            known[weights] = max(keeping.lost(made.folder).values())
        return known[weights]

    given = best = tuple(blend.weights)
    for _ in range(PASSES):
        better = min(_lowered(best, given), key=lost)
        if lost(better) > lost(best) - WORTH:
            break
        best = better
    if best == given:
        return None
    name = f"{LINEAR} {', '.join(f'{weight:g}' for weight in best)}"
    return MergeRecipe(name, combine_rules.made(LINEAR), blend.rank, best)


def _lowered(weights: tuple[float, ...], given: tuple[float, ...]) -> list[tuple[float, ...]]:
    """These weights with one of them at a share of what was given."""
    return [
        (*weights[:place], share * given[place], *weights[place + 1 :])
        for place in range(len(weights))
        for share in SHARES
    ]
