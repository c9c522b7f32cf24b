"""How long does one request take, asked alone: to its first token, and to the end of its answer?"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.engine.forward import Engine
from tunesmith.generate.decoder import Decoder, Prompt
from tunesmith.workflows.answer_cache import Said
from tunesmith.workflows.arms import Arm

STEPS = 8  # tokens of an answer that are timed; one token takes about as long as the next

Now = Callable[[], float]
GoOn = Callable[[int, int], bool]  # told what is done, of how much; False stops


@dataclass(frozen=True, slots=True)
class Timed:
    """Medians of single requests; ``seconds_per_answer`` is that of an arm's mean answer, and
    ``quartiles`` are what it would be at the lower and the upper quartiles of its parts.
    """

    seconds_to_first_token: float
    seconds_per_answer: float
    quartiles: tuple[float, float]


def time_arms(
    engine: Engine,
    arms: Mapping[str, Arm],
    said: Mapping[str, Sequence[Said]],
    *,
    rows: int,
    go_on: GoOn = lambda _done, _total: True,
    now: Now = time.perf_counter,
) -> dict[str, Timed] | None:
    """Ask a few rows one request at a time, nothing kept from one to the next.

    Arms take turns, so that a busy moment of the machine meets all of them; each arm's first
    request warms up and does not count. None where ``go_on`` says no before the end.
    """
    first: dict[str, list[float]] = {name: [] for name in arms}
    steps: dict[str, list[float]] = {name: [] for name in arms}
    places = _spread(min((len(arm.prompts) for arm in arms.values()), default=0), rows)
    asked = [(name, place) for place in [*places[:1], *places] for name in arms]
    for count, (name, place) in enumerate(asked, start=1):
        prompt, ids = arms[name].prompts[place], said[name][place].ids
        to_first, *others = _request(engine, prompt, ids, now)
        if count > len(arms):
            first[name].append(to_first)
            steps[name] += others
        if not go_on(count, len(asked)) and count < len(asked):
            return None
    return {name: _timed(first[name], steps[name], said[name]) for name in arms if first[name]}


def _request(engine: Engine, prompt: Prompt, ids: Sequence[int], now: Now) -> Iterator[float]:
    """Seconds until the first token is known, then of each further one."""
    room = engine.prefix_length(prompt.adapter) + len(prompt.ids) + STEPS
    start = now()
    decoder = Decoder(engine, slots=1, capacity=room)
    int(decoder.read({0: prompt}).argmax())
    yield now() - start
    for token in ids[:STEPS]:
        start = now()
        int(decoder.step({0: token}).argmax())
        yield now() - start


def _timed(first: Sequence[float], steps: Sequence[float], said: Sequence[Said]) -> Timed:
    """An answer of n tokens that ended by itself takes n steps behind the first token."""
    made = [len(each.ids) - (each.ended == "length") for each in said]
    length = max(0.0, sum(made) / len(made))
    (low, to_first, high), each = _quartiles(first), _quartiles(steps or [0.0])
    at_low, at_median, at_high = (step * length for step in each)
    return Timed(to_first, to_first + at_median, (low + at_low, high + at_high))


def _quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    return low, median, high


def _spread(count: int, rows: int) -> list[int]:
    """Evenly spread places."""
    most = min(count, rows)
    return [i * count // most for i in range(most)]
