"""What do all answers of a data file have in common: how they end, begin, and what they hold?"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Fewer rows, or a smaller share of them, are chance.
FEWEST_ROWS, SHARE = 10, 0.99
ROWS_PER_ENDING, MOST_ENDINGS, LONGEST_ENDING = 3, 3, 40
MOST_WORDS = 6
MARK = re.compile(r"[^\w\s]{2,}|<[^<>\s]+>")


def common_endings(answers: Sequence[str]) -> list[str]:
    """The one to three endings that nearly all answers have; [] where there is no such thing."""
    if len(answers) < FEWEST_ROWS:
        return []
    whole = _shared_ending(answers)
    if len(whole) > 1:
        return [whole]
    bare = [_without_punctuation(answer) for answer in answers]
    last = Counter(text[-1] for text in bare if text and text[-1].isalpha())
    common = [(letter, count) for letter, count in last.most_common(MOST_ENDINGS)]
    if sum(count for _, count in common) < SHARE * len(answers):
        return []
    groups = {letter: [t for t in bare if t.endswith(letter)] for letter, _ in common}
    kept = {letter: g for letter, g in groups.items() if len(g) >= ROWS_PER_ENDING}
    if sum(map(len, kept.values())) < SHARE * len(answers):
        return []
    return [_shared_ending(group) or letter for letter, group in kept.items()]


def _shared_ending(texts: Sequence[str]) -> str:
    """What all texts end with, from the start of a word, without mere punctuation."""
    shortest = min(texts, key=len)
    length = 0
    while length < min(len(shortest), LONGEST_ENDING):
        if any(text[-length - 1] != shortest[-length - 1] for text in texts):
            break
        length += 1
    shared = shortest[len(shortest) - length :]
    is_cut = any(len(text) > length and text[-length - 1].isalnum() for text in texts)
    if is_cut and shared[:1].isalnum() and " " in shared:
        shared = shared.partition(" ")[2]
    shared = shared.strip()
    return shared if _without_punctuation(shared) else ""


def _without_punctuation(text: str) -> str:
    """``text`` without the punctuation, symbols and white space at its end."""
    end = len(text)
    while end and (text[end - 1].isspace() or unicodedata.category(text[end - 1])[0] in "PS"):
        end -= 1
    return text[:end]


def common_beginning(answers: Sequence[str]) -> str:
    """The words that all answers begin with; "" where they have none in common."""
    if len(answers) < FEWEST_ROWS:
        return ""
    columns = zip(*(answer.split(" ") for answer in answers), strict=False)
    shared: list[str] = []
    for words in columns:
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    text = " ".join(shared).strip()
    is_whole = text == min(answers, key=len)
    return "" if is_whole or not any(map(str.isalnum, text)) else text


def common_part(answers: Sequence[str]) -> str:
    """A phrase of words, or else a mark such as `####`, that all answers hold; "" without one."""
    if len(answers) < FEWEST_ROWS:
        return ""
    shortest = min(answers, key=len)
    words = shortest.split()
    for length in range(min(MOST_WORDS, len(words)), 1, -1):
        for start in range(len(words) - length + 1):
            phrase = " ".join(words[start : start + length])
            if all(phrase in answer for answer in answers):
                return phrase
    marks = sorted(set(MARK.findall(shortest)), key=len, reverse=True)
    return next((mark for mark in marks if all(mark in answer for answer in answers)), "")
