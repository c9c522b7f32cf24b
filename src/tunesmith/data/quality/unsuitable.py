"""Do rows hold what fine-tuning should not teach: personal data and keys, or facts.

A pattern only proposes; check digits and numbering plans decide. What is found is never repeated.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from tunesmith.core.numbers import percent
from tunesmith.data.quality.distribution import Sample, Sampled
from tunesmith.data.quality.text import DataFinding, Seen
from tunesmith.data.rows import Message, texts_of

MAX_CHARACTERS = 100_000  # of a message that are looked at
_RESERVED = re.compile(r"[@.](example(\.(com|net|org))?|test|invalid|localhost)$", re.I)
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_CENTURY = {1: 1900, 2: 1900, 3: 2000, 4: 2000, 5: 1900, 6: 1900, 7: 2000, 8: 2000}
# Numbers given out since then have no check digit.
_WITHOUT_CHECK = date(2020, 10, 1)
_DIGITS = re.compile(r"[0-9][0-9 ().-]{7,}[0-9]")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: every text of it contains one of the ``hints`` (None: many digits)."""

    name: str
    pattern: re.Pattern[str]
    is_one: Callable[[str], bool] = lambda _: True
    hints: re.Pattern[str] | None = None


def masked(found: str) -> str:
    """Enough to find it by, and too little to use it."""
    return f"{found[:2]}… ({len(found)} characters)"


def _is_mail(found: str) -> bool:
    return not _RESERVED.search(found)


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812)."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])) % 10 == 0


def _is_card(found: str) -> bool:
    digits = re.sub(r"\D", "", found)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 2 and luhn(digits)


def is_resident_number(found: str) -> bool:
    """A Korean resident number (or a foreigner's): a day of birth, and a check digit if old."""
    digits = [int(c) for c in found if c.isdigit()]
    if len(digits) != 13 or digits[6] not in _CENTURY:
        return False
    year, month, day = (10 * digits[i] + digits[i + 1] for i in (0, 2, 4))
    try:
        born = date(_CENTURY[digits[6]] + year, month, day)
    except ValueError:
        return False
    if born >= _WITHOUT_CHECK:
        return "-" in found
    total = sum(w * d for w, d in zip(_RRN_WEIGHTS, digits, strict=False))
    wanted = (11 - total % 11) % 10
    foreign = digits[6] >= 5
    return digits[12] in ({wanted, (wanted + 2) % 10} if foreign else {wanted})


def _is_phone(found: str) -> bool:
    from phonenumbers import NumberParseException, is_valid_number, parse

    regions: tuple[str | None, ...] = (None,) if found.startswith("+") else ("KR", "US")
    for region in regions:
        try:
            if is_valid_number(parse(found, region)):
                return True
        except NumberParseException:
            continue
    return False


_KEYS = (
    r"sk-(?:proj-|ant-|live-|or-)?[\w-]{20,}|sk_live_\w{20,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|gh[pousr]_\w{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|AIza[\w-]{35}|hf_[A-Za-z]{30,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
)
_KEY_HINTS = re.compile("sk[-_]|A[KS]IA|gh[pousr]_|github_pat_|glpat-|xox|AIza|hf_|eyJ|-----B")
KINDS = (
    Kind(
        "e-mail addresses",
        # Lengths of RFC 5321; nothing begins inside a run, or long runs take quadratic time.
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}"
        ),
        _is_mail,
        re.compile("@"),
    ),
    Kind("keys or tokens", re.compile(rf"(?<![A-Za-z0-9_-])(?:{_KEYS})"), hints=_KEY_HINTS),
    Kind(
        "Korean resident numbers",
        re.compile(r"(?<![\d-])(?<!\d[.,])\d{6}[ -]?[1-8]\d{6}(?![\d-])"),
        is_resident_number,
    ),
    Kind(
        "card numbers",
        re.compile(
            r"(?<![\d-])(?<!\d[.,])(?:[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}"
            r"|3[47]\d{2}([ -]?)\d{6}\2\d{5})(?![\d-])"
        ),
        _is_card,
    ),
    Kind(
        "phone numbers",
        re.compile(
            r"(?<![A-Za-z0-9_.+-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,4}\d{2,4}"
            r"|\(?0\d{1,2}\)?[ .-]\d{3,4}[ .-]\d{4}|01[016789]\d{7,8}"
            r"|(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4})(?![A-Za-z0-9_-])"
        ),
        _is_phone,
    ),
)


class PersonalData:
    """Rows in which each kind is found."""

    def __init__(self) -> None:
        self._count = 0
        self._rows: dict[str, array[int]] = {}
        self._first: dict[str, str] = {}

    def observe(self, row: Seen) -> None:
        """Look through the row's messages."""
        for message in row.conversation.messages:
            for name, found in _found(message):
                rows = self._rows.setdefault(name, array("L"))
                if not rows or rows[-1] != self._count:
                    rows.append(self._count)
                self._first.setdefault(name, masked(found))
        self._count += 1

    def findings(self) -> Iterator[DataFinding]:
        """The rows of each kind, with the beginning of the first one."""
        for kind in KINDS:
            if kind.name in self._rows:
                what = f"{kind.name} in the text, such as {self._first[kind.name]}"
                yield DataFinding("personal_data", what, np.array(self._rows[kind.name], np.int64))


def _found(message: Message) -> Iterator[tuple[str, str]]:
    """What is in any text of a message: thinking and the arguments of calls are trained as well."""
    for text in texts_of(message):
        yield from find_personal_data(text[:MAX_CHARACTERS])


def find_personal_data(text: str) -> Iterator[tuple[str, str]]:
    """The kinds in a text, each with the first that was found; a number is of one kind only."""
    has_digits = _DIGITS.search(text) is not None
    taken: list[tuple[int, int]] = []
    for kind in KINDS:
        if not (kind.hints.search(text) if kind.hints else has_digits):
            continue
        spans = [match.span() for match in kind.pattern.finditer(text)]
        free = [(a, b) for a, b in spans if not any(c < b and a < d for c, d in taken)]
        found = [(a, b) for a, b in free if kind.is_one(text[a:b])]
        taken += found
        if found:
            start, stop = found[0]
            yield kind.name, text[start:stop]


MIN_ROWS = 20
# Set by the data sets in docs/data-quality.md, which lists the figures of each.
NAMED_ROWS, NAMED_WORDS = 0.2, 0.03
ASKING_ROWS, NEW_WORDS = 0.6, 0.35
_WORD = re.compile(r"[^\W_]+(?:['’.,]\d+)*")
_ASKS = re.compile(
    r"\b(?:who|whom|whose|when|where|which|what|why|how (?:many|much|long|old|far))\b"
    r"|누구|누가|언제|어디|몇|무엇|무슨|어느",
    re.IGNORECASE,
)
_SENTENCE_START = tuple('.!?:"“(\n')


@dataclass(frozen=True, slots=True)
class Facts:
    """How much of a fact answers look like.

    ``named_rows``: share of rows with a name or number that no other answer has and the question
    does not give; ``named_words``: share of such words among all of the answers' words;
    ``asking_rows``: share of questions for a person, time, place, number or thing; ``new_words``:
    share of the answers' words that at most one other answer has and the question does not give.
    """

    named_rows: float
    named_words: float
    asking_rows: float
    new_words: float

    @property
    def are_knowledge(self) -> bool:
        """Whether most of what there is to learn is facts."""
        named = self.named_rows >= NAMED_ROWS and self.named_words >= NAMED_WORDS
        asked = self.asking_rows >= ASKING_ROWS and self.new_words >= NEW_WORDS
        return named or asked


def knowledge(sample: Sample) -> Iterator[DataFinding]:
    """Told of a data set that would teach facts."""
    rows = sample.rows()
    if len(rows) < MIN_ROWS:
        return
    facts = measure(rows)
    if facts.are_knowledge:
        what = (
            f"this looks like knowledge: {percent(facts.named_rows)} of the answers have a name or "
            f"number of their own, {percent(facts.new_words)} of their words are new; fine-tuning "
            "teaches behavior, retrieval fits facts better"
        )
        yield DataFinding("knowledge", what, count=sample.count)


def measure(rows: Sequence[Sampled]) -> Facts:
    """The shares for these rows."""
    parts = [_parts(row) for row in rows]
    words = Counter(word for _, each, _ in parts for word in each)
    names = Counter(name for _, _, each in parts for name in each)
    own = [sum(names[name] == 1 for name in each) for _, _, each in parts]
    total = sum(len(_WORD.findall(row.answer)) for row in rows) or 1
    new = sum(words[w] <= 2 and w not in asked for asked, each, _ in parts for w in each)
    return Facts(
        named_rows=sum(map(bool, own)) / len(rows),
        named_words=sum(own) / total,
        asking_rows=sum(bool(_ASKS.search(row.question)) for row in rows) / len(rows),
        new_words=new / total,
    )


def names_told(question: str, answer: str) -> set[str]:
    """Names and numbers in an answer that its question does not give, in one case."""
    return _parts(Sampled(0, question, answer))[2]


def _parts(row: Sampled) -> tuple[set[str], set[str], set[str]]:
    """The question's words, the answer's words, and the answer's names and numbers not asked."""
    asked = {word.casefold() for word in _WORD.findall(row.question)}
    answered, names = set(), set()
    for match in _WORD.finditer(row.answer):
        word = match[0]
        answered.add(word.casefold())
        before = row.answer[: match.start()].rstrip()
        begins = not before or before.endswith(_SENTENCE_START)
        if word[0].isdigit() or (word[0].isupper() and len(word) > 1 and not begins):
            names.add(word.casefold())
    return asked, answered, names - asked
