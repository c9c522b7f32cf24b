"""Which rows are nearly the same as an earlier one: question and answer both."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality import minhash
from tunesmith.data.quality.clusters import Clusters, equal_pairs, repeated
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.near import ODD, SHORT, NearTexts, near_pairs, short_pairs
from tunesmith.data.quality.text import Bare, Seen, bare, digest, fold

FEWEST_WORDS_ASKED, FEWEST_WORDS_ANSWERED = 3, 8
BINS_OF_AN_ANSWER = 32  # answers are compared only where whole rows are alike
MESSAGE = "nearly the same row stands further up (case, punctuation, a word in short texts)"


class NearDuplicates:
    """Rows whose questions differ in a trifle and whose answers differ in no more.

    A short question may have another word under the same answer, and a short answer under the same
    question. Long rows are compared as a whole, and then their answers alone.
    """

    def __init__(self) -> None:
        self._rows = NearTexts(fewest=FEWEST_WORDS_ASKED)
        self._answers = NearTexts(fewest=FEWEST_WORDS_ANSWERED, bins=BINS_OF_AN_ANSWER)
        self._asked = array("Q")
        self._first: NDArray[np.int64] | None = None  # of each row's cluster

    def observe(self, row: Seen) -> None:
        """Keep the row's numbers."""
        asks = row.bare_question != row.bare_answer
        both = Bare(f"{row.bare_question} {row.bare_answer}") if asks else row.bare_answer
        self._rows.add(row.bare_question, salt=row.answer_key, whole=both)
        self._answers.add(row.bare_answer, salt=row.question_key)
        self._asked.append(asked_of_a_text(row.question))

    def findings(self, out: NDArray[np.bool_] | None = None) -> Iterator[Finding]:
        """The rows that are nearly there already, or wholly, those aside that are ``out``."""
        if self._first is None or len(self._first) < self._rows.count:
            clusters = Clusters(self._rows.count)
            clusters.join(self._agreeing())
            self._first = clusters.first()
        again = repeated(self._first, out)
        if len(again):
            yield Finding("near_duplicates", MESSAGE, again)

    def _agreeing(self) -> Iterator[NDArray[np.int64]]:
        """Pairs of rows that are nearly the same, and their answers too."""
        answers = self._answers.fingerprints()
        keys, asked = answers.whole, np.array(self._asked, dtype=np.uint64)
        place = np.full(len(keys), -1, dtype=np.int64)
        place[answers.long] = np.arange(len(answers.long))
        rows = self._rows.fingerprints()
        for pairs in near_pairs(rows, second=asked * ODD + keys):
            a, b = pairs[asked[pairs[:, 0]] == asked[pairs[:, 1]]].T
            same = keys[a] == keys[b]
            long = np.flatnonzero(~same & (place[a] >= 0) & (place[b] >= 0))
            first, other = (answers.signatures[place[side[long]]] for side in (a, b))
            same[long] = minhash.similarity(first, other) >= minhash.NEAR
            yield np.stack([a[same], b[same]], axis=1)
        again = np.zeros(len(keys), dtype=bool)
        again[equal_pairs(rows.whole)[:, 1]] = True
        yield from short_pairs(answers, without=again)


def asked_of_a_text(question: str) -> int:
    """What is asked of a long text in the question, as a number; 0 where there is none.

    Many questions of one passage are nearly the same in all but the short line that matters.
    """
    lines = [line for line in question.split("\n") if line.strip()]
    short = [line for line in lines if line.count(" ") < SHORT]
    if not short or len(short) == len(lines):
        return 0
    return digest(*(bare(fold(line)) for line in short))
