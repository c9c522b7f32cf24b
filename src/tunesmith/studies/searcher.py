"""Which setting is tried next, and which is behind: Optuna's sampler and pruner, as pure functions.

All that they know is passed in, so that a search that was killed resumes as it was
(docs/decisions/0021-search.md).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
from tunesmith.studies.search_space import Choices, Range, Space, Values, two_digits

AT_RANDOM = 4  # settings that are known before the sampler uses them
MIN_PEERS = 2  # that have been as far, before one is behind them


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """A setting and its losses so far, by step; ``is_done``: it trained to its end."""

    values: Values
    losses: Mapping[int, float]
    is_done: bool = False


def optuna() -> Any:
    """The library; raises ConfigError (code `not_installed`) without it."""
    return require("optuna", "search", ConfigError, what="A search")


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Optuna without its own messages, which are as before afterwards."""
    library = optuna()
    before = library.logging.get_verbosity()
    library.logging.set_verbosity(library.logging.ERROR)
    try:
        yield library
    finally:
        library.logging.set_verbosity(before)


def suggest(space: Space, tried: Sequence[KnownSetting], *, seed: int) -> Values:
    """The next setting, by the tree-structured Parzen estimator (arXiv 2304.11127).

    The same ``tried`` and ``seed`` give the same one.
    """
    with _quiet() as library:
        sampler = library.samplers.TPESampler(seed=seed + len(tried), n_startup_trials=AT_RANDOM)
        study = library.create_study(sampler=sampler)
        axes = {key: _distribution(library, axis) for key, axis in space.items()}
        for each in tried:
            study.add_trial(_known(library, each, space, axes))
        found = study.ask(axes).params
    return {key: _value(space[key], found[key]) for key in space}


def is_behind(losses: Mapping[int, float], peers: Sequence[Mapping[int, float]]) -> bool:
    """Whether the best loss so far is above the median of what all had at the last step here.

    ``peers``: the losses of all that are known, its own included.
    """
    if not any(map(math.isfinite, losses.values())):
        return True
    with _quiet() as library:
        pruner = library.pruners.MedianPruner(n_startup_trials=0, n_min_trials=MIN_PEERS)
        study = library.create_study(pruner=pruner)
        states = library.trial.TrialState
        for each in peers:
            if finite := {step: loss for step, loss in each.items() if math.isfinite(loss)}:
                value = min(finite.values())
                study.add_trial(library.trial.create_trial(value=value, intermediate_values=finite))
        own = library.trial.create_trial(state=states.RUNNING, intermediate_values=dict(losses))
        return bool(study.pruner.prune(study, own))


def _distribution(library: Any, axis: Range | Choices) -> Any:
    """Choices are known by their places: those in an order are near to each other."""
    of = library.distributions
    if isinstance(axis, Range):
        return of.FloatDistribution(axis.low, axis.high, log=True)
    places = range(len(axis.values))
    if all(isinstance(each, int | float) for each in axis.values):
        return of.IntDistribution(0, places[-1])
    return of.CategoricalDistribution(tuple(places))


def _value(axis: Range | Choices, found: Any) -> object:
    if isinstance(axis, Choices):
        return axis.values[int(found)]
    return min(axis.high, max(axis.low, two_digits(found)))


def _known(library: Any, each: KnownSetting, space: Space, axes: Mapping[str, Any]) -> Any:
    """A trial of Optuna's. One that is still running counts by how far it came, as a stopped one:
    what it has so far is known. Without a loss it is avoided, and not counted.
    """
    states = library.trial.TrialState
    losses = {step: loss for step, loss in each.losses.items() if math.isfinite(loss)}
    is_done = each.is_done and bool(losses)
    params = {
        key: axis.values.index(each.values[key]) if isinstance(axis, Choices) else each.values[key]
        for key, axis in space.items()
    }
    return library.trial.create_trial(
        state=states.COMPLETE if is_done else states.PRUNED if losses else states.RUNNING,
        value=min(losses.values()) if is_done else None,
        params=params,
        distributions=dict(axes),
        intermediate_values=losses,
    )
