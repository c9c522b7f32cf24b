"""How much of its rank does an attached adapter use?"""

from collections.abc import Sequence

from tunesmith.engine.forward import Engine
from tunesmith.evaluate.capacity.findings import Capacity, judge_capacity
from tunesmith.evaluate.capacity.floor import FloorFall
from tunesmith.evaluate.capacity.spectrum import spectra
from tunesmith.evaluate.capacity.use import rank_use


def capacity_of(engine: Engine, adapter: str, falls: Sequence[FloorFall] = ()) -> Capacity | None:
    """The part `capacity` of an evaluation; None for a method without low-rank terms.

    ``falls`` are those of `loss_falls`, where runs of several ranks are compared. Raises
    ValueError where factors are no numbers.
    """
    values = spectra(engine, adapter)
    if not values:
        return None
    ranks = {name: engine.linears[name].terms[adapter].rank for name in values}
    return judge_capacity(rank_use(values, ranks), falls)
