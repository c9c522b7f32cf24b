"""Which rows repeat an earlier one, contradict another, or ask what a held-out row asks."""

import json
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.numbers import pluralize
from tunesmith.data.quality.near import (
    NEAR,
    ODD,
    SHORT,
    NearTexts,
    equal_pairs,
    near_pairs,
    near_those_before,
    short_pairs,
    similarity,
)
from tunesmith.data.quality.text import Bare, DataFinding, Seen, bare, count_words, digest, fold
from tunesmith.data.split import MIN_OPENED, OPENING_SHARE, Clusters, turns

LEAKAGE = "leakage"  # the code of both kinds


def repeated(labels: NDArray[Any], out: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The rows [n] that have the label of an earlier one, of those that are not ``out`` [N]."""
    rows = np.arange(len(labels)) if out is None else np.flatnonzero(~out)
    again = np.ones(len(rows), dtype=bool)
    again[np.unique(labels[rows], return_index=True)[1]] = False
    found: NDArray[np.int64] = rows[again]
    return found


class Duplicates:
    """Rows with the same messages and tools, of which the same messages are trained."""

    def __init__(self) -> None:
        self._keys = array("Q")

    def observe(self, row: Seen) -> None:
        """Keep 64 bits of the row."""
        messages, tools = row.conversation.messages, row.conversation.tools
        turns = "".join(f"{m.role} {m.weight} {m.name or ''} " for m in messages)
        first = row.conversation.completion_from
        said = (fold(row.system or ""), row.folded_question, row.folded_answer)
        more = [m.thinking for m in messages if m.thinking]
        more += [json.dumps(tools, sort_keys=True)] if tools else []
        self._keys.append(digest(f"{turns}{first}", *said, *more))

    def findings(self, out: NDArray[np.bool_] | None = None) -> Iterator[DataFinding]:
        """The rows that are there already, those aside that are ``out``."""
        again = repeated(np.array(self._keys, dtype=np.uint64), out)
        if len(again):
            yield DataFinding("duplicates", "the same row appears earlier", again)


MIN_WORDS_ASKED, MIN_WORDS_ANSWERED = 3, 8
BINS_OF_AN_ANSWER = 32  # answers are compared only where whole rows are alike
MESSAGE = "nearly the same row appears earlier (case, punctuation, a word in short texts)"


class NearDuplicates:
    """Rows whose questions differ in a trifle and whose answers differ in no more.

    A short question may have another word under the same answer, and a short answer under the same
    question. Long rows are compared as a whole, and then their answers alone.
    """

    def __init__(self) -> None:
        self._rows = NearTexts(fewest=MIN_WORDS_ASKED)
        self._answers = NearTexts(fewest=MIN_WORDS_ANSWERED, bins=BINS_OF_AN_ANSWER)
        self._asked = array("Q")
        self._first: NDArray[np.int64] | None = None  # of each row's cluster

    def observe(self, row: Seen) -> None:
        """Keep the row's numbers."""
        asks = row.bare_question != row.bare_answer
        both = Bare(f"{row.bare_question} {row.bare_answer}") if asks else row.bare_answer
        self._rows.add(row.bare_question, salt=row.answer_key, whole=both)
        self._answers.add(row.bare_answer, salt=row.question_key)
        self._asked.append(asked_of_a_text(row.question))

    def findings(self, out: NDArray[np.bool_] | None = None) -> Iterator[DataFinding]:
        """The rows that are nearly there already, or wholly, those aside that are ``out``."""
        if self._first is None or len(self._first) < self._rows.count:
            clusters = Clusters(self._rows.count)
            clusters.join(self._agreeing())
            self._first = clusters.first()
        again = repeated(self._first, out)
        if len(again):
            yield DataFinding("near_duplicates", MESSAGE, again)

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
            same[long] = similarity(first, other) >= NEAR
            yield np.stack([a[same], b[same]], axis=1)
        again = np.zeros(len(keys), dtype=bool)
        again[equal_pairs(rows.whole)[:, 1]] = True
        yield from short_pairs(answers, without=again)


def asked_of_a_text(question: str) -> int:
    """What is asked of a long text in the question, as a number; 0 where there is none.

    Many questions of one passage are nearly the same in all but the short line that matters.
    """
    lines = [line for line in question.split("\n") if line.strip()]
    short = [line for line in lines if _is_short(line)]
    if not short or len(short) == len(lines):
        return 0
    return digest(*(bare(fold(line)) for line in short))


def _is_short(line: str) -> bool:
    return (line.count(" ") if line.isascii() else count_words(bare(fold(line)))) < SHORT


def under(row: Seen) -> int:
    """A hash of its system prompt."""
    return digest(fold(row.system)) if row.system else 0


ROWS_PER_ANSWER = 3  # from which on answers are choices, and two to a question cannot both be right

CHOICES = "the model cannot give both"
TEXTS = "fine where each is right, for the model learns a mix of them"


class Contradictions:
    """Rows that ask the same under the same system prompt, and are answered differently."""

    def __init__(self) -> None:
        self._questions, self._answers = array("Q"), array("Q")

    def observe(self, row: Seen) -> None:
        """Keep 64 bits of what is asked and of what is answered."""
        self._questions.append(row.question_key ^ under(row))
        self._answers.append(row.answer_key)

    def findings(self, out: NDArray[np.bool_] | None = None) -> Iterator[DataFinding]:
        """Every row of a question with more than one answer, those aside that are ``out``."""
        number, questions, answers = self._arrays(out)
        rows = number[_differing(questions, answers)]
        if len(rows):
            is_choice = ROWS_PER_ANSWER * len(np.unique(answers)) <= len(answers)
            kind = CHOICES if is_choice else TEXTS
            yield DataFinding(
                "contradictions", f"the same question has different answers: {kind}", rows
            )

    def outvoted(self, out: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Rows that an answer of more than half of the question's rows contradicts; else all."""
        number, questions, answers = self._arrays(out)
        _, question, rows_of = np.unique(questions, return_inverse=True, return_counts=True)
        _, pair, votes = np.unique(
            np.stack([questions, answers]), axis=1, return_inverse=True, return_counts=True
        )
        has_majority = 2 * votes[pair] > rows_of[question]
        return number[_differing(questions, answers) & ~has_majority]

    def _arrays(
        self, out: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Numbers of the rows that are not ``out``, their questions and their answers."""
        kept = np.flatnonzero(~out) if out is not None else np.arange(len(self._questions))
        questions = np.array(self._questions, dtype=np.uint64)[kept]
        return kept, questions, np.array(self._answers, dtype=np.uint64)[kept]


def _differing(questions: NDArray[np.uint64], answers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each row's question has another answer elsewhere, bool [N]."""
    _, first, question = np.unique(questions, return_index=True, return_inverse=True)
    differs = answers != answers[first[question]]
    found: NDArray[np.bool_] = np.isin(question, question[differs])
    return found


class Leakage:
    """Held-out rows, given first with ``hold``, and then the training rows.

    A row with several answers leaks by any that has the same turns before it. A question under many
    system prompts is a task, and leaks only under an equal one. The near ones are found in one
    index of both, where each training row is compared with the held-out ones alone:
    copies among the training rows do not hide each other.
    """

    def __init__(self) -> None:
        self._held = array("Q")
        self._file = ""
        self._exact = array("Q")
        self._held_under, self._under = array("Q"), array("Q")
        self._texts = NearTexts()
        self._held_turns, self._held_numbers = array("Q"), array("q")
        self._turns, self._numbers = array("Q"), array("q")

    def hold(self, row: Seen) -> None:
        """A held-out row; all of them come before the first training row."""
        assert not self._exact
        self._file = row.conversation.file
        keys = turns(row.conversation).trained
        self._held_turns.extend(keys)
        self._held_numbers.extend(len(self._held) for _ in keys)
        self._held.append(row.question_key)
        self._held_under.append(under(row))
        self._texts.add(row.bare_question)

    def observe(self, row: Seen) -> None:
        """A training row."""
        if self._held:
            keys = turns(row.conversation).trained
            self._turns.extend(keys)
            self._numbers.extend(len(self._exact) for _ in keys)
            self._exact.append(row.question_key)
            self._under.append(under(row))
            self._texts.add(row.bare_question)

    def findings(self) -> Iterator[DataFinding]:
        """Training rows whose question is held out, those that are equal before the others."""
        if not self._held or not self._exact:
            return
        held, exact, is_task = self._questions()
        asked, is_exact = self._sharing_turns(exact)
        asked |= np.isin(held, exact)
        is_exact |= np.isin(exact, held)
        if is_exact.any():
            both = pluralize(int(asked.sum()), "row")
            what = f"they ask what {both} of {self._file} ask, which should be new to the model"
            yield DataFinding(LEAKAGE, what, np.flatnonzero(is_exact), held=int(asked.sum()))
        near = near_those_before(self._texts.fingerprints(), len(self._held))
        near &= ~(is_exact | is_task)
        if near.any():
            what = f"they ask nearly what rows of {self._file} ask, which should be new"
            yield DataFinding(LEAKAGE, what, np.flatnonzero(near))

    def _questions(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
        """Keys of what held and training rows ask, the latter of those of tasks."""
        held, exact = (np.array(keys, dtype=np.uint64) for keys in (self._held, self._exact))
        held_under = np.array(self._held_under, dtype=np.uint64)
        own_under = np.array(self._under, dtype=np.uint64)
        _, one = np.unique(exact * ODD + own_under, return_index=True)
        question, counts = np.unique(exact[one], return_counts=True)
        tasks = question[counts > max(MIN_OPENED, OPENING_SHARE * len(exact))]
        is_task = np.isin(exact, tasks)
        held = held ^ held_under * np.isin(held, tasks).astype(np.uint64)
        return held, exact ^ own_under * is_task.astype(np.uint64), is_task

    def _sharing_turns(
        self, exact: NDArray[np.uint64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which held rows, and which training rows, answer the same turn of the same chat.

        A turn of many different training rows is none: so chats open.
        """
        asked, leaks = (np.zeros(len(rows), dtype=bool) for rows in (self._held, self._exact))
        held = np.array(self._held_turns, dtype=np.uint64)
        keys = np.array(self._turns, dtype=np.uint64)
        shared = np.flatnonzero(np.isin(keys, held))
        keys, rows = keys[shared], np.array(self._numbers)[shared]
        questions = exact[rows]
        different = np.unique(np.stack([keys, questions]), axis=1)[0]
        turn, counts = np.unique(different, return_counts=True)
        usual = turn[counts > max(MIN_OPENED, OPENING_SHARE * len(leaks))]
        leaks[rows[~np.isin(keys, usual)]] = True
        asked[np.array(self._held_numbers)[np.isin(held, np.setdiff1d(turn, usual))]] = True
        return asked, leaks
