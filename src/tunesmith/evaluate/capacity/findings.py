"""What is to be said of how an adapter uses its rank?"""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.evaluate.capacity.floor import MATTERS, FloorFall
from tunesmith.evaluate.capacity.use import MOST_ENERGY, RankUse
from tunesmith.evaluate.findings import Finding, findings_text
from tunesmith.evaluate.words import told, words_in
from tunesmith.words import DEFAULT

FULL = 0.95
"""Effective rank as a share of R above which no direction is spare. Factors of random numbers
reach 0.97 (R = 64) to 0.998 (R = 4), 20 rows seen 50 times at R = 16 reach 0.64."""

SPARE = 0.25
"""Share of the rank at or under which 99 % of the energy lie for a hint. Ordinary runs at R = 16
need 12 directions and more, so that half the rank would be chance, and a quarter is not."""

LEAST_SPARE_RANK = 8
"""Of smaller ranks a quarter is one direction, and nothing is saved."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Rank use of a run, the comparison's falls of loss where there is one, and what they say."""

    use: RankUse
    falls: tuple[FloorFall, ...]
    findings: tuple[Finding, ...]

    def text(self, *, language: str = DEFAULT) -> str:
        """In plain words."""
        return findings_text("capacity", self.findings, words_in(language))

    def to_json(self) -> dict[str, object]:
        """The part `capacity` of the evaluate document."""
        return {
            **self.use.to_json(),
            "loss_against_rank": [each.to_json() for each in self.falls],
            "findings": [each.to_json() for each in self.findings],
            **told(lambda language: self.text(language=language)),
        }


def judge_capacity(use: RankUse, falls: Sequence[FloorFall] = ()) -> Capacity:
    """Findings: `untrained`, `spare-rank`, `full-rank`, and of a comparison `rank-too-low` or
    `rank-enough`. A flat spectrum alone is no harm: it says that more may help, not that it does.
    """
    return Capacity(use, tuple(falls), (*_of_use(use), *falls_findings(use.rank, falls)))


def _of_use(use: RankUse) -> list[Finding]:
    if not use.trained:
        return [Finding("untrained", harm=True)]
    longest, needed = max(len(each.values) for each in use.layers), use.rank_for()
    if use.rank > 1 and use.effective_share >= FULL:
        return [Finding("full-rank", {"rank": use.rank, "used_share": use.effective_share})]
    if longest >= LEAST_SPARE_RANK and needed <= SPARE * longest:
        values = {"rank": use.rank, "needed": needed, "energy_share": MOST_ENERGY}
        return [Finding("spare-rank", values)]
    return []


def falls_findings(rank: int, falls: Sequence[FloorFall]) -> list[Finding]:
    """What a comparison of ranks says to a run of this rank."""
    mattering = [each for each in falls if each.matters]
    if mattering:
        last = mattering[-1]
        values = {
            "rank": last.rank,
            "larger": last.larger,
            "fall_share": last.fall,
            "low_share": last.low,
            "high_share": last.high,
        }
        return [Finding("rank-too-low", values, harm=rank <= last.rank)]
    if falls and all(each.high < MATTERS for each in falls):
        return [Finding("rank-enough", {"rank": falls[0].rank, "larger": falls[-1].larger})]
    return []
