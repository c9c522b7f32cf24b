"""Which combinations of adapters are tried, each written as the adapter that it would be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.adapters.combine import folder, table
from tunesmith.adapters.combine.combination import Combination
from tunesmith.adapters.combine.factor import Fit
from tunesmith.adapters.combine.folder import Combined
from tunesmith.adapters.combine.method import Method
from tunesmith.adapters.sources import Source
from tunesmith.workflows.course import Clock, Course

# Beside its own, a density that methods which keep few entries are also tried with.
MORE_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class Way:
    """A method and the rank at most; ``name`` says what sets it apart from the other ways.

    ``weights``: other ones than those of the blend.
    """

    name: str
    method: Method
    rank: int
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Blend:
    """Adapters by name, what each counts, and the seed of what is drawn.

    ``trusted``: bases of which only the names differ are one.
    """

    sources: Mapping[str, Source]
    weights: Sequence[float]
    seed: int = 0
    trusted: bool = False

    def combination(self, method: Method, weights: Sequence[float] | None = None) -> Combination:
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
    """A way, and the adapter that it makes, in a folder of its own; ``lost`` nats a token of
    each task's held-out answers.
    """

    way: Way
    made: Combined
    lost: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """``error``: ||D - s B A|| / ||D||, what the rank and the number format lose."""
        return {
            "name": self.way.name,
            "method": table.described(self.way.method),
            "rank": max(self.made.ranks.values()),
            "bytes": self.made.bytes,
            "error": self.made.errors.overall,
            "weights": list(self.way.weights) if self.way.weights else None,
            "lost": dict(self.lost),
        }


def ways_of(
    blend: Blend,
    *,
    kinds: Sequence[str] = tuple(table.METHODS),
    densities: Sequence[float | None] = (None,),
    ranks: Sequence[int] = (),
) -> list[Way]:
    """Every kind with every density that it takes and every rank; none of them twice.

    A density None is the method's own. Raises UsageError for a kind that there is not.
    """
    found: dict[tuple[Method, int], Way] = {}
    for kind in kinds:
        for density in densities if takes_density(kind) else (None,):
            for rank in ranks or (blend.rank,):
                method = table.made(kind, density)
                name = kind if density is None else f"{kind} {density:g}"
                name = f"{name}, rank {rank}" if len(ranks) > 1 else name
                found.setdefault((method, rank), Way(name, method, rank))
    return list(found.values())


def automatic(blend: Blend) -> list[Way]:
    """What is tried where nothing is asked for: every method, and those that keep few entries
    also with more of them.
    """
    tried = ways_of(blend)
    few = [
        kind
        for kind in table.METHODS
        if (density := table.density_of(table.made(kind))) is not None and density < MORE_KEPT
    ]
    return [*tried, *ways_of(blend, kinds=few, densities=(MORE_KEPT,))]


def takes_density(kind: str) -> bool:
    """Whether a kind of method chooses among entries."""
    return table.density_of(table.made(kind)) is not None


def make_all(blend: Blend, ways: Sequence[Way], scratch: Path, course: Course) -> list[Candidate]:
    """Every way's adapter below ``scratch``; KeyboardInterrupt where the course says stop."""
    clock, made = Clock(course), []
    for number, way in enumerate(ways):
        clock.at("combining", number, len(ways))
        combination = blend.combination(way.method, way.weights)
        fit = Fit(rank=way.rank, seed=blend.seed)
        made.append(Candidate(way, folder.save(scratch / f"{number}", combination, fit)))
    return made
