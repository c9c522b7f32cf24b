"""Which combinations of adapters are tried, each written as the adapter that it would be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """A method and the rank at most; ``name`` says what sets it apart from the other ways."""

    name: str
    method: Method
    rank: int


@dataclass(frozen=True, slots=True)
class Blend:
    """Adapters by name, what each counts, and the seed of what is drawn."""

    sources: Mapping[str, Source]
    weights: Sequence[float]
    seed: int = 0

    def combination(self, method: Method) -> Combination:
        """Raises AdapterError for adapters of different bases, ConfigError for odd weights."""
        return Combination(list(self.sources.values()), self.weights, method, self.seed)

    @property
    def rank(self) -> int:
        """That of the adapters together, which the linear combination fits into."""
        return sum(
            max(shape.rank for shape in source.shapes.values()) for source in self.sources.values()
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way, and the adapter that it makes, in a folder of its own."""

    way: Way
    made: Combined

    def to_json(self) -> dict[str, object]:
        """``error``: ||D - s B A|| / ||D||, what the rank and the number format lose."""
        return {
            "name": self.way.name,
            "method": table.described(self.way.method),
            "rank": max(self.made.ranks.values()),
            "bytes": self.made.bytes,
            "error": self.made.errors.overall,
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
        for method in _settings(kind, densities):
            for rank in ranks or (blend.rank,):
                name = _name(kind, method, rank if len(ranks) > 1 else None)
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


def _settings(kind: str, densities: Sequence[float | None]) -> Iterator[Method]:
    """A kind with its densities; one that keeps every entry comes as it is."""
    if table.density_of(table.made(kind)) is None:
        yield table.made(kind)
        return
    yield from (table.made(kind, density) for density in densities)


def _name(kind: str, method: Method, rank: int | None) -> str:
    """`linear`, `ties 0.2`, `ties 0.2, rank 16`."""
    density = table.density_of(method)
    told = kind if density is None else f"{kind} {density:g}"
    return told if rank is None else f"{told}, rank {rank}"


def make_all(blend: Blend, ways: Sequence[Way], scratch: Path, course: Course) -> list[Candidate]:
    """Every way's adapter below ``scratch``; KeyboardInterrupt where the course says stop."""
    clock, made = Clock(course), []
    for number, way in enumerate(ways):
        clock.at("combining", number, len(ways))
        combination = blend.combination(way.method)
        fit = Fit(rank=way.rank, seed=blend.seed)
        made.append(Candidate(way, folder.save(scratch / f"{number}", combination, fit)))
    return made
