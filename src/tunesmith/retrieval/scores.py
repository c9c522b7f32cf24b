"""How good is a ranking (recall, nDCG), and how right and faithful is an answer?"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from tunesmith.retrieval.passage import UNSPACED, terms
from tunesmith.retrieval.prompt import CITATION, HANGUL, REFUSALS, Citations, CitedSource


def recall_at(k: int, ranking: Sequence[str], relevant: Collection[str]) -> float:
    """The share of what is relevant among the first ``k``."""
    return len(set(ranking[:k]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """1 / the rank of the first that is relevant, 0 where none is."""
    return next((1 / rank for rank, each in enumerate(ranking, 1) if each in relevant), 0.0)


def ndcg_at(k: int, ranking: Sequence[str], relevant: Collection[str]) -> float:
    """Discounted gain over that of the best order: sum of 1 / log2(1 + rank), all gains 1.

    Jaervelin and Kekaelaeinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    ranks = (rank for rank, each in enumerate(ranking[:k], 1) if each in relevant)
    return _gain(ranks) / _gain(range(1, min(k, len(relevant)) + 1))


def _gain(ranks: Iterable[int]) -> float:
    return sum(1 / math.log2(1 + rank) for rank in ranks)


ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


class _Marks(dict[int, int | str]):
    """What becomes of a character: ASCII's marks leave as in SQuAD, others like their kind.

    Quotes and hyphens lie within words (`it’s`); dashes, and the marks of scripts that have no
    blanks, part them.
    """

    def __missing__(self, code: int) -> int | str:
        category = unicodedata.category(chr(code))
        within = category in ("Pi", "Pf") or chr(code) in "\N{HYPHEN}\N{NON-BREAKING HYPHEN}"
        self[code] = code if category[0] != "P" else "" if within else " "
        return self[code]


MARKS = _Marks({ord(mark): "" for mark in string.punctuation})


def words_of(text: str) -> list[str]:
    """The words that are compared: SQuAD's official normalization, citations left out before it.

    Lower case, without punctuation, without articles (Rajpurkar et al. 2016, evaluate-v1.1.py);
    marks beyond ASCII, which that keeps, are punctuation too.
    """
    text = CITATION.sub(" ", text).lower().translate(MARKS)
    return ARTICLES.sub(" ", text).split()


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1 where the answer is one of the right ones, after normalization."""
    return float(any(words_of(answer) == words_of(each) for each in right))


def f1(answer: str, right: Sequence[str]) -> float:
    """The best F1 of the answer's words with those of a right answer, as SQuAD 1.1 has it.

    In Hangul, Han and kana each character is a word, as in KorQuAD and CMRC.
    """
    return max((_f1(_units(answer), _units(each)) for each in right), default=0.0)


def _units(text: str) -> list[str]:
    return UNSPACED.sub(lambda run: f" {' '.join(run[0])} ", " ".join(words_of(text))).split()


def _f1(given: list[str], wanted: list[str]) -> float:
    shared = sum((Counter(given) & Counter(wanted)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(given), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def says(text: str, answer: str) -> bool:
    """Whether the text contains the answer's words, one after the other.

    A particle may follow a Korean word; Han and kana may lie between others.
    """
    wanted, said = " ".join(words_of(answer)), f" {' '.join(words_of(text))} "
    places = re.finditer(f"(?={re.escape(wanted)})", said) if wanted else ()
    return any(
        _parted(said[at - 1], wanted[0], follows=False)
        and _parted(wanted[-1], said[at + len(wanted)], follows=True)
        for at in (place.start() for place in places)
    )


def _parted(left: str, right: str, *, follows: bool) -> bool:
    """Whether a word may end between two characters; ``follows``: what comes then may be any."""
    if " " in (left, right):
        return True
    if left.isnumeric() and right.isnumeric():
        return False
    if not follows and HANGUL.match(left) and HANGUL.match(right):
        return False
    return bool(UNSPACED.match(left) or UNSPACED.match(right))


def share_in(answer: str, texts: Sequence[str]) -> float:
    """The share of the answer's words that are in one of the texts; 0 for no words.

    In Hangul, Han and kana pairs of characters are compared, as the search by words does.
    """
    words = _terms(answer)
    known = {word for text in texts for word in (*_terms(text), *_units(text))}
    return sum(word in known for word in words) / len(words) if words else 0.0


def _terms(text: str) -> list[str]:
    return terms(" ".join(words_of(text))).split()


def faithfulness(answer: str, sources: Sequence[CitedSource], cited: Collection[int]) -> float:
    """The share of the answer's words that are in the sources it cites; without any, 0."""
    return share_in(answer, [source.text for source in sources if source.number in cited])


def citation_precision(citations: Citations, right: Collection[int]) -> float | None:
    """The share of the cited numbers that are right sources; None where nothing is cited."""
    count = len(citations.cited) + len(citations.unknown)
    return sum(number in right for number in citations.cited) / count if count else None


def refuses(answer: str) -> bool:
    """Whether it says that the documents do not say, in any language."""
    return any(refusal.rstrip(".") in answer for refusal in REFUSALS.values())
