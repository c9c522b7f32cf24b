"""What does a request take: seconds, tokens and money, and when is training repaid?"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.config.endpoint import TokenPrices
from tunesmith.config.evaluate import PriceSettings
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.engine.forward import Engine
from tunesmith.evaluation.answering import CachedAnswer
from tunesmith.evaluation.answers import spread
from tunesmith.evaluation.arms import Arm
from tunesmith.generation.decoder import Decoder, Prompt

HOUR, MILLION = 3600.0, 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """A mean request of an arm; ``prompt_tokens`` include virtual ones, which are read as well.

    ``seconds`` are those of one that is asked alone, between its ``quartiles``; None where they
    were not measured.
    """

    prompt_tokens: float
    completion_tokens: float
    seconds: float | None = None
    quartiles: tuple[float, float] | None = None

    def cost(self, prices: TokenPrices | PriceSettings) -> float | None:
        """Of a million such requests; None without prices."""
        if prices.prompt is None or prices.completion is None:
            return None
        return self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion


def request_of(arm: Arm, answered: Sequence[CachedAnswer], timed: "Timed | None") -> Request:
    """An arm's mean request; virtual tokens are read as others are."""
    return Request(
        arm.prompt_tokens + arm.virtual_tokens,
        completion_tokens=sum(len(each.ids) for each in answered) / len(answered),
        seconds=timed.seconds_per_answer if timed else None,
        quartiles=timed.quartiles if timed else None,
    )


def arm_costs(
    arm: Arm, answered: Sequence[CachedAnswer], timed: "Timed | None", prices: PriceSettings
) -> dict[str, object]:
    """What an arm's requests take; ``cut`` counts answers that ended at their longest."""
    request = request_of(arm, answered, timed)
    return {
        "prompt_tokens": arm.prompt_tokens,
        "virtual_tokens": arm.virtual_tokens,
        "completion_tokens": request.completion_tokens,
        "cut": sum(each.ended == "length" for each in answered),
        "seconds_to_first_token": timed.seconds_to_first_token if timed else None,
        "seconds_per_answer": request.seconds,
        "cost_per_million_requests": request.cost(prices),
    }


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The tuned arm's requests against another's, and the training that they must repay.

    ``requests_by_time``: after so many the seconds that they save are those of the training;
    ``requests_by_cost`` the same of money. None: never, or not known. ``seconds_saved`` lie from
    ``seconds_saved_low`` to ``_high`` by the quartiles of both arms' requests; where 0 lies
    between them, neither is surely faster, and no time is repaid.
    """

    against: str
    training_seconds: float | None
    seconds_saved: float | None
    seconds_saved_low: float | None
    seconds_saved_high: float | None
    requests_by_time: int | None
    saved_per_million: float | None
    training_cost: float | None
    requests_by_cost: int | None


def break_even(
    tuned: Request,
    other: Request,
    *,
    against: str,
    prices: PriceSettings,
    training_seconds: float | None,
) -> BreakEven:
    """When the training has paid for itself, if the other arm were the alternative."""
    seconds = low = high = None
    if tuned.seconds is not None and other.seconds is not None:
        seconds = low = high = other.seconds - tuned.seconds
        if tuned.quartiles and other.quartiles:
            low, high = (
                theirs - mine
                for theirs, mine in zip(other.quartiles, reversed(tuned.quartiles), strict=True)
            )
    before, now = other.cost(prices), tuned.cost(prices)
    saved = None if before is None or now is None else before - now
    cost = None
    if prices.training_hour is not None and training_seconds is not None:
        cost = prices.training_hour * training_seconds / HOUR
    return BreakEven(
        against,
        training_seconds=training_seconds,
        seconds_saved=seconds,
        seconds_saved_low=low,
        seconds_saved_high=high,
        requests_by_time=_repaid(training_seconds, seconds if low and low > 0 else None),
        saved_per_million=saved,
        training_cost=cost,
        requests_by_cost=_repaid(cost, None if saved is None else saved / MILLION),
    )


def _repaid(spent: float | None, saved: float | None) -> int | None:
    """After how many requests ``spent`` is repaid by what each one saves."""
    if spent is None or saved is None or saved <= 0:
        return None
    return math.ceil(spent / saved)


STEPS = 8  # tokens of an answer that are timed; one token takes about as long as the next

Now = Callable[[], float]


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
    said: Mapping[str, Sequence[CachedAnswer]],
    *,
    rows: int,
    phase: PhaseProgress = UNSEEN,
    now: Now = time.perf_counter,
) -> dict[str, Timed]:
    """Ask a few rows one request at a time, nothing kept from one to the next.

    Arms take turns, so that a busy moment of the machine meets all of them; each arm's first
    request warms up and does not count.
    """
    first: dict[str, list[float]] = {name: [] for name in arms}
    steps: dict[str, list[float]] = {name: [] for name in arms}
    count = min((len(arm.prompts) for arm in arms.values()), default=0)
    places = list(spread(range(count), rows))
    asked = [(name, place) for place in [*places[:1], *places] for name in arms]
    for count, (name, place) in enumerate(asked, start=1):
        prompt, ids = arms[name].prompts[place], said[name][place].ids
        to_first, *others = _request(engine, prompt, ids, now)
        if count > len(arms):
            first[name].append(to_first)
            steps[name] += others
        phase.at(count, len(asked))
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


def _timed(first: Sequence[float], steps: Sequence[float], said: Sequence[CachedAnswer]) -> Timed:
    """An answer of n tokens that ended by itself takes n steps after the first token."""
    made = [len(each.ids) - (each.ended == "length") for each in said]
    length = max(0.0, sum(made) / len(made))
    (low, to_first, high), each = _quartiles(first), _quartiles(steps or [0.0])
    at_low, at_median, at_high = (step * length for step in each)
    return Timed(to_first, to_first + at_median, (low + at_low, high + at_high))


def _quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    return low, median, high
