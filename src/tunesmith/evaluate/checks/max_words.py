"""max_words: does the answer have so many words at most?"""

import re

from tunesmith.config.checks import MaxWordsSettings
from tunesmith.evaluate.checks.protocol import Check

# Han characters and kana: text in them has no spaces between words.
SPACELESS = re.compile(
    "([\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af])"
)


def count_words(text: str) -> int:
    """Pieces between white space that hold a letter or digit; each Han character or kana is one."""
    pieces = SPACELESS.sub(r" \1 ", text).split()
    return sum(any(map(str.isalnum, piece)) for piece in pieces)


def max_words_check(settings: MaxWordsSettings) -> Check:
    """1.0 where the answer has no more words."""
    return Check(
        name=settings.name or settings.kind,
        rule=lambda case: float(count_words(case.answer) <= settings.words),
        aggregate=lambda cases: {
            "mean_words": sum(count_words(case.answer) for case in cases) / len(cases)
        },
    )
