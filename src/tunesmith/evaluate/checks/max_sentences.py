"""max_sentences: does the answer have so many sentences at most?"""

import sentencex

from tunesmith.config.checks import MaxSentencesSettings
from tunesmith.evaluate.checks.protocol import Check


def count_sentences(text: str, *, language: str) -> int:
    """Sentences that hold a letter or digit; one ends at its mark or at the end of its line."""
    return sum(
        any(map(str.isalnum, sentence))
        for line in text.splitlines()
        for sentence in sentencex.segment(language, line)
    )


def max_sentences_check(settings: MaxSentencesSettings) -> Check:
    """1.0 where the answer has no more sentences."""

    def count(text: str) -> int:
        return count_sentences(text, language=settings.language)

    return Check(
        name=settings.name or settings.kind,
        rule=lambda case: float(count(case.answer) <= settings.sentences),
        aggregate=lambda cases: {
            "mean_sentences": sum(count(case.answer) for case in cases) / len(cases)
        },
    )
