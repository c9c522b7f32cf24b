"""What do requests cost, and after how many of them is the training paid for?"""

import math
from dataclasses import dataclass

from tunesmith.config.evaluate import PriceSettings

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

    def cost(self, prices: PriceSettings) -> float | None:
        """Of a million such requests; None without prices."""
        if prices.prompt is None or prices.completion is None:
            return None
        return self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion


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
