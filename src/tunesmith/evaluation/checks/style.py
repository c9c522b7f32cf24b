"""style: is the answer more like the data's own answers than like the base's?"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tunesmith.config.checks import StyleSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
from tunesmith.core.numbers import pluralize
from tunesmith.evaluation.checks.check import Check, Figures, trimmed, unscored
from tunesmith.evaluation.intervals import wilson_limits

FOLDS = 5
MIN = 20  # distinct answers of each side
MIN_ACCURACY = 0.65  # below it a single answer's class says next to nothing
LEVEL = 0.95
LONGEST_GRAM = 3
FEATURES = 1 << 16


def style_check(settings: StyleSettings) -> Check:
    """1.0 where the classifier takes the answer for one of the data's; `fit` trains it.

    Logistic regression on hashed character n-grams, both sides weighing the same. Each text is
    scored by a classifier that has not seen it: the folds go by the text itself, so the answers
    it was trained on, the base's above all, may be scored too. Where it cannot tell the two
    apart, no answer gets a score.
    """
    for module in ("sklearn.linear_model", "sklearn.feature_extraction.text"):
        require(module, "checks", ConfigError, what=f"The check `{settings.kind}`")
    unfitted = unscored("it has not been fitted: it learns from the data's and the base's answers")
    return replace(unfitted, fit=lambda own, base: _fitted(_texts(own), _texts(base)))


def _texts(answers: Sequence[str]) -> list[str]:
    """The distinct answers, sorted, so that their own order is nothing."""
    return sorted({text for answer in answers if (text := trimmed(answer))})


def _fitted(own: Sequence[str], base: Sequence[str]) -> Check:
    lacking = [
        f"{len(texts):,} of {whose}"
        for whose, texts in (("the data's", own), ("the base's", base))
        if len(texts) < MIN
    ]
    if lacking:
        return unscored(
            f"it needs {pluralize(MIN, 'different answer')} of each; {', '.join(lacking)}"
        )
    is_own = cross_fitted(own, base)
    own_right = sum(map(is_own, own)) / len(own)
    base_right = sum(not is_own(text) for text in base) / len(base)
    accuracy = (own_right + base_right) / 2
    n = min(len(own), len(base))
    low, _ = wilson_limits(accuracy * n, n, level=LEVEL)
    figures: Figures = {
        "accuracy": accuracy,
        "own_answers_pass": own_right,
        "base_answers_pass": 1 - base_right,
        "learned_from": {"own": len(own), "base": len(base)},
    }
    if accuracy < MIN_ACCURACY or low <= 0.5:
        return unscored(
            f"it cannot tell the data's answers from the base's: it is right in "
            f"{100 * accuracy:.0f} % of answers that it has not seen, where guessing gives 50 %",
            figures,
        )
    return Check(
        rule=lambda case: float(is_own(trimmed(case.answer))),
        aggregate=lambda _cases: figures,
        takes_references=False,
    )


def cross_fitted(own: Sequence[str], base: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text is one of ``own`` rather than of ``base``, by a model that has not seen it."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    grams = HashingVectorizer(
        analyzer="char", ngram_range=(1, LONGEST_GRAM), n_features=FEATURES, alternate_sign=False
    )
    texts = [*own, *base]
    features = grams.transform(texts)  # [n, FEATURES]
    labels = np.array([True] * len(own) + [False] * len(base))
    folds = np.array([_fold(text) for text in texts])
    models: list[Any] = []
    for fold in range(FOLDS):
        kept = folds != fold
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
        models.append(model.fit(features[kept], labels[kept]))

    def is_own(text: str) -> bool:
        return bool(models[_fold(text)].predict(grams.transform([text]))[0])

    return is_own


def _fold(text: str) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest[:8], 16) % FOLDS
