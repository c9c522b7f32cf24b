"""What is told of over-tuning: the measures, the findings, the best checkpoint, and plain words."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.evaluate.findings import Finding, finding_text, findings_text
from tunesmith.evaluate.overtuning.checkpoints import Choice
from tunesmith.evaluate.overtuning.diagnose import diagnose
from tunesmith.evaluate.overtuning.evidence import Evidence
from tunesmith.evaluate.words import told, words_in
from tunesmith.words import DEFAULT, Words


@dataclass(frozen=True, slots=True)
class Overtuning:
    """A run's evidence with what it says; ``choice`` where checkpoints were measured."""

    evidence: Evidence
    findings: tuple[Finding, ...]
    choice: Choice | None = None

    def text(self, *, language: str = DEFAULT) -> str:
        """In plain words."""
        words = words_in(language)
        said = [findings_text("overtuning", self.findings, words)]
        if self.choice is not None:
            said.append(choice_text(self.choice, words))
        return " ".join(said)

    def to_json(self) -> dict[str, object]:
        """The part `overtuning` of the evaluate document."""
        return dict(self._parts())

    def _parts(self) -> Iterator[tuple[str, object]]:
        e = self.evidence
        yield "rows", e.rows
        yield "passes", e.passes
        yield "losses", e.gap.to_json() if e.gap else None
        yield "held_out_losses", [{"step": step, "loss": loss} for step, loss in e.curves.held]
        yield "verbatim", e.verbatim.to_json() if e.verbatim else None
        yield "diversity", e.diversity.to_json() if e.diversity else None
        yield "warnings", [each.to_json() for each in e.warned.values()]
        yield "checkpoint", self.choice.to_json() if self.choice else None
        yield "findings", [each.to_json() for each in self.findings]
        yield from told(lambda language: self.text(language=language)).items()


def judge_overtuning(evidence: Evidence, choice: Choice | None = None) -> Overtuning:
    """Diagnosed, with the choice of a checkpoint beside it."""
    return Overtuning(evidence, diagnose(evidence), choice)


def choice_text(choice: Choice, words: Words) -> str:
    """Why this checkpoint."""
    best, last, highest = choice.best, choice.last, choice.highest
    kind = "share" if choice.unit == "share" else "nats"
    told = kind if best.forgotten is not None else "loss"  # which alone was measured
    sign = 1 if choice.unit == "share" else -1  # a loss is told as it is
    values = {
        "step": best.step,
        "last": last.step,
        "highest": highest.step,
        f"score_{kind}": sign * best.score,
        f"forgotten_{kind}": best.lost,
        f"last_score_{kind}": sign * last.score,
        f"last_forgotten_{kind}": last.lost,
        f"highest_score_{kind}": sign * highest.score,
        f"highest_forgotten_{kind}": highest.lost,
    }
    return finding_text(f"overtuning.checkpoint-{told}", Finding(choice.reason, values), words)
