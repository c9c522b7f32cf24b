"""What is said beside the plots of scores and costs: answers that were cut, when it is repaid."""

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.report.numbers import clock
from tunesmith.words import Words


def result_notes(evaluation: Mapping[str, Any], words: Words) -> Iterator[str]:
    """Answers that ended at the most tokens allowed, and arms that were left out."""
    for arm, values in (evaluation.get("arms") or {}).items():
        if cut := values.get("cut"):
            yield words.say("arms.cut", cut, arm=_arm(arm, words), of=evaluation.get("rows"))
    for arm, why in (evaluation.get("left_out") or {}).items():
        yield words.say("arms.left-out", arm=_arm(arm, words), why=why)


def cost_notes(evaluation: Mapping[str, Any], words: Words) -> Iterator[str]:
    """After how many requests the training is repaid, in time and in money."""
    cost = evaluation.get("cost") or {}
    against = _arm(str(cost.get("against")), words)
    saved, spent = cost.get("seconds_saved"), cost.get("training_seconds")
    low, high = cost.get("seconds_saved_low"), cost.get("seconds_saved_high")
    if low is not None and high is not None and low <= 0 <= high:
        limits = {"low": f"{-low * 1000:,.0f}", "high": f"{high * 1000:,.0f}"}
        yield words.say("costs.alike", against=against, **limits)
    elif saved is not None and spent is not None:
        key = "costs.faster" if saved > 0 else "costs.slower"
        yield words.say(key, against=against, ms=f"{abs(saved) * 1000:,.0f}")
        if requests := cost.get("requests_by_time"):
            yield words.say("costs.repaid-time", requests, time=clock(spent))
    if (money := cost.get("saved_per_million")) is not None:
        key = "costs.less" if money >= 0 else "costs.more"
        yield words.say(key, against=against, money=f"{abs(money):,.2f}")
        if requests := cost.get("requests_by_cost"):
            yield words.say("costs.repaid-cost", requests, money=f"{cost['training_cost']:,.2f}")


def _arm(name: str, words: Words) -> str:
    return words.say(f"arm.{name}") if words.has(f"arm.{name}") else name
