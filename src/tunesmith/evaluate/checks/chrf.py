"""chrf: how many character n-grams do answer and reference share, by sacrebleu?"""

from collections.abc import Sequence

from tunesmith.config.checks import ChrfSettings
from tunesmith.evaluate.checks.extras import library
from tunesmith.evaluate.checks.protocol import Case, Check, Figures
from tunesmith.evaluate.checks.text import blank_reference


def chrf_check(settings: ChrfSettings) -> Check:
    """chrF of each row as 0..1; chrF of all rows together, with sacrebleu's signature, beside."""
    metrics = library("sacrebleu.metrics", kind=settings.kind, extra="checks")
    metric = metrics.CHRF(word_order=settings.word_order, lowercase=settings.lowercase)

    def score(case: Case) -> float:
        if case.reference is None:
            return 0.0
        return min(1.0, float(metric.sentence_score(case.answer, [case.reference]).score) / 100)

    def figures(cases: Sequence[Case]) -> Figures:
        answers, references = zip(*((c.answer, c.reference or "") for c in cases), strict=True)
        return {
            "corpus_chrf": float(metric.corpus_score(answers, [references]).score),
            "signature": f"chrF|{metric.get_signature().format(short=True)}",
        }

    return Check(
        name=settings.name or settings.kind,
        rule=score,
        fault=blank_reference,
        aggregate=figures,
    )
