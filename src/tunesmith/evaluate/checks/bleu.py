"""bleu: how many n-grams of the answer are the reference's, by sacrebleu?"""

from collections.abc import Sequence

from tunesmith.config.checks import BleuSettings
from tunesmith.evaluate.checks.extras import library
from tunesmith.evaluate.checks.protocol import Case, Check, Figures
from tunesmith.evaluate.checks.text import blank_reference


def bleu_check(settings: BleuSettings) -> Check:
    """Sentence BLEU as 0..1 (smoothed, of the orders that a short answer has) for each row.

    The mean of rows is no corpus BLEU: that stands beside it, with sacrebleu's signature.
    """
    metrics = library("sacrebleu.metrics", kind=settings.kind, extra="checks")
    kept = {"tokenize": settings.tokenize, "lowercase": settings.lowercase}
    of_row, of_all = metrics.BLEU(**kept, effective_order=True), metrics.BLEU(**kept)

    def score(case: Case) -> float:
        if case.reference is None:
            return 0.0
        found = of_row.sentence_score(case.answer, [case.reference]).score
        return min(1.0, float(found) / 100)

    def figures(cases: Sequence[Case]) -> Figures:
        answers, references = zip(*((c.answer, c.reference or "") for c in cases), strict=True)
        found = of_all.corpus_score(answers, [references])
        return {
            "corpus_bleu": float(found.score),
            "signature": f"BLEU|{of_all.get_signature().format(short=True)}",
        }

    return Check(
        name=settings.name or settings.kind,
        rule=score,
        fault=blank_reference,
        aggregate=figures,
    )
