"""Does a larger rank pay? Runs of a comparison that differ in nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from tunesmith.config import RunConfig
from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.capacity import FloorFall, RankPoint, falls_findings, loss_falls
from tunesmith.evaluation.findings import Described, Finding, findings_text

APART = ("rank", "alpha")


@dataclass(frozen=True, slots=True)
class RanksCompared(Described):
    """Runs from the lowest rank to the highest, and how their training losses fall."""

    runs: tuple[str, ...]
    falls: tuple[FloorFall, ...]
    findings: tuple[Finding, ...]

    def describe(self, words: Phrases) -> str:
        """The findings in words; nothing without any."""
        return findings_text("capacity", self.findings, words) if self.findings else ""

    def values(self) -> Mapping[str, object]:
        """One entry of a comparison's `loss_against_rank`."""
        return {
            "runs": list(self.runs),
            "falls": [asdict(each) for each in self.falls],
            "findings": [each.to_json() for each in self.findings],
        }


def compare_ranks(
    runs: Sequence[tuple[str, RunConfig]], losses: Mapping[str, Sequence[float]]
) -> Iterator[RanksCompared]:
    """Each set of two ranks or more whose runs lost this on the same training rows, by name."""
    alike: dict[str, dict[int, str]] = {}
    for name, config in runs:
        rank = getattr(config.method, "rank", None)
        if rank is not None and name in losses:
            alike.setdefault(_key(config), {}).setdefault(rank, name)
    for names in alike.values():
        if len(names) > 1:
            ranks = sorted(names)
            falls = loss_falls(
                [RankPoint(rank, losses[names[rank]]) for rank in ranks],
                seed=0,
            )
            found = falls_findings(ranks[0], falls)
            yield RanksCompared(tuple(names[rank] for rank in ranks), falls, tuple(found))


def _key(config: RunConfig) -> str:
    """All that such runs have in common: everything but their place, rank and alpha."""
    values = config.model_dump(mode="json", exclude={"out"})
    method = {key: value for key, value in values["method"].items() if key not in APART}
    return json.dumps({**values, "method": method})
