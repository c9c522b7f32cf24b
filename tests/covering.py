"""Pairs of a family and a variant, chosen so that each trait of one meets each of the other."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import product

from pydantic import BaseModel

from tests.families import TRAITS, fits

SIZES = {"rank", "alpha", "tokens"}  # of which one value is as good as another


def covering(
    ones: Mapping[str, Collection[str]],
    others: Mapping[str, Collection[str]],
    *,
    meet: Callable[[str, str], bool] = lambda one, other: True,
) -> list[tuple[str, str]]:
    """Few pairs in which every name occurs, and every trait of one with every trait of another.

    A fault shows in one name alone, or where a trait of a family meets one of a variant: fused
    layers with a pattern of ranks, a tied head with new weights. A second pair with the same two
    traits asks the same question again, so that the whole product costs much and finds nothing
    more. A trait that only one family has meets every trait of the variants there. The choice is
    greedy, the same in every process, and prefers names that were chosen seldom. ``meet`` says
    which names can be a pair.
    """
    asks = {
        (one, other): {*product(ones[one], others[other]), ("one", one), ("other", other)}
        for one, other in product(ones, others)
        if meet(one, other)
    }
    open_, used, chosen = set().union(*asks.values()), Counter(), []
    while open_:
        best = max(asks, key=lambda pair: (len(asks[pair] & open_), -sum(used[n] for n in pair)))
        chosen.append(best)
        used.update(best)
        open_ -= asks.pop(best)
    return sorted(chosen, key=lambda pair: (list(ones).index(pair[0]), list(others).index(pair[1])))


def pairs(
    families: Iterable[str],
    variants: Mapping[str, BaseModel],
    *,
    only: Collection[str] | None = None,
) -> list[tuple[str, str]]:
    """A covering of families and settings of methods, for ``("family", "variant")``.

    A method is only for families that have what it trains.
    ``only`` are the traits of families that the variants can meet in what is tested, where not all.
    """
    return covering(
        family_traits(families, only=only),
        {name: traits(settings) for name, settings in variants.items()},
        meet=lambda family, variant: fits(family, variants[variant]),
    )


def family_traits(
    families: Iterable[str], *, only: Collection[str] | None = None
) -> dict[str, list[str]]:
    """The traits of some families."""
    return {
        family: [trait for trait in TRAITS[family] if only is None or trait in only]
        for family in families
    }


def traits(settings: BaseModel) -> list[str]:
    """What is not as it is by default, by its key, and by its value where that is a word."""
    changed = settings.model_dump(exclude_defaults=True, exclude={*SIZES, "kind"})
    named = [f"{key}={value}" if isinstance(value, str) else key for key, value in changed.items()]
    return [f"kind={settings.kind}", *named]
