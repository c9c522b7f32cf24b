"""At which share of its strength does a result stand, and what does that cost and save?"""

from dataclasses import asdict, dataclass

from tunesmith.evaluate.findings import Finding, Value, finding_text
from tunesmith.evaluate.forgetting.findings import Measure
from tunesmith.evaluate.words import told, words_in
from tunesmith.words import DEFAULT


@dataclass(frozen=True, slots=True)
class Strength:
    """The ``share`` that stands, and the largest one within the margins, ``tried`` (None: none is).

    ``probe`` is what full strength forgot beyond its margin: its ``measure`` differs from the
    base's by ``full``, and by ``now`` at the share that was tried, as in a
    `forgetting.findings.Finding`. ``full_score`` and ``score`` are those of the first check there.
    """

    share: float
    tried: float | None
    probe: str
    measure: Measure
    full: float
    now: float | None = None
    full_score: float | None = None
    score: float | None = None

    def text(self, *, language: str = DEFAULT) -> str:
        """In plain words."""
        values: dict[str, Value] = {"probe": self.probe}
        if self.now is None or self.tried is None:
            return finding_text("strength", Finding("none", values), words_in(language))
        unit = "points" if self.measure == "accuracy" else "share"
        values |= {f"full_{unit}": self.full, f"now_{unit}": self.now}
        assert self.full_score is not None
        assert self.score is not None
        values |= {"at_share": self.tried, "full_score_share": self.full_score}
        values["score_share"] = self.score
        code = f"weakened-{self.measure}" if self.share < 1 else f"full-{self.measure}"
        return finding_text("strength", Finding(code, values), words_in(language))

    def to_json(self) -> dict[str, object]:
        """As it stands in an evaluation."""
        return {**asdict(self), **told(lambda language: self.text(language=language))}
