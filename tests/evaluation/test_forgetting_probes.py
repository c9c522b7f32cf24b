"""Right answers as lm-eval counts them: by likelihood, and by likelihood over characters."""

from collections import Counter

import numpy as np
import pytest

from tests.models.tiny import tiny_tokenizer
from tunesmith.evaluation.forgetting_probes import (
    ALL,
    FIRST,
    ChoiceQuestion,
    MultipleChoice,
    ProbeAnswers,
    compare_answers,
    with_all_questions,
)
from tunesmith.evaluation.intervals import paired_difference
from tunesmith.evaluation.likelihoods import Reader

PROBE = MultipleChoice(
    "p", (ChoiceQuestion("one", ("a", "bbbb"), 0), ChoiceQuestion("two", ("cc", "d", "eee"), 2))
)


def logs(*values):
    """Each span's log-likelihood, over tokens of one or two."""
    return [
        np.array([value / 2, value / 2] if i % 2 else [value]) for i, value in enumerate(values)
    ]


def test_each_choice_stands_behind_its_context_and_a_space():
    reader = Reader(tiny_tokenizer(), 50)
    expected = reader.continuations([("one", [" a", " bbbb"]), ("two", [" cc", " d", " eee"])])
    assert PROBE.spans(reader) == tuple(expected)


def test_the_likeliest_choice_is_the_answer_and_length_counts_in_the_norm():
    found = PROBE.answered(logs(-2.0, -3.0, -4.0, -9.0, -4.5))
    assert found.right == (1, 0)  # a; cc
    assert found.right_norm == (0, 1)  # -2/1 < -3/4; -4/2 < -4.5/3
    # characters of the choice alone, without the space: 2 and not 3
    close = PROBE.answered(logs(-2.0, -3.0, -4.0, -9.0, -5.9))
    assert close.right_norm == (0, 1)


def test_of_equally_likely_choices_the_first_counts():
    assert PROBE.answered(logs(-1.0, -1.0, -1.0, -1.0, -1.0)).right == (1, 0)


def test_the_difference_is_paired():
    base, tuned = ProbeAnswers((1, 1, 0, 0), (1, 0, 0, 0)), ProbeAnswers((1, 0, 0, 1), (1, 1, 1, 0))
    found = compare_answers("p", base, tuned, seed=0)
    assert (found.base, found.tuned, found.measure) == (0.5, 0.5, "accuracy")
    for level in (0.9, 0.95):
        assert found.difference(level) == paired_difference(
            tuned.right, base.right, seed=0, level=level
        )
    norm = found.details["accuracy_norm"]
    assert (norm["base"], norm["tuned"], norm["difference"]) == (0.25, 0.75, 0.5)


def test_a_probe_measures_what_its_answers_say():
    base, tuned = logs(-2.0, -3.0, -4.0, -9.0, -4.5), logs(-3.0, -2.0, -4.0, -9.0, -1.0)
    found = PROBE.measured(base, tuned, seed=0)
    assert (found.base, found.tuned) == (0.5, 0.5)
    assert found.answers == (PROBE.answered(base), PROBE.answered(tuned))


def test_several_probes_questions_are_one_more_probe():
    one = compare_answers("a", ProbeAnswers((1, 1), (1, 1)), ProbeAnswers((0, 0), (0, 0)), seed=0)
    two = compare_answers("b", ProbeAnswers((1,), (0,)), ProbeAnswers((1,), (1,)), seed=0)
    found = with_all_questions([one, two], seed=0)
    assert [(each.probe, each.part) for each in found] == [("a", True), ("b", True), (ALL, False)]
    assert (found[-1].base, found[-1].tuned) == (1.0, pytest.approx(1 / 3))
    assert found[-1].details["accuracy_norm"]["base"] == pytest.approx(2 / 3)
    assert with_all_questions([one], seed=0) == [one]


def test_the_first_look_at_a_sorted_file_asks_all_of_its_kinds():
    questions = tuple(ChoiceQuestion(str(i // 100), ("a", "b"), 0) for i in range(600))
    first, more = MultipleChoice("mine", questions).mixed().looks()
    kinds = Counter(question.context for question in first.questions)
    assert set(kinds) == set("012345")
    assert set(kinds.values()) == {FIRST // 6}
    assert more is not None
    assert sorted((*first.questions, *more.questions), key=repr) == sorted(questions, key=repr)
