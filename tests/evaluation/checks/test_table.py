"""Every kind that a config can name has a check, and faults are told together."""

import json
import sys
import time
import typing
from itertools import pairwise

import pytest

from tests.evaluation.checks.every_kind import OWN
from tunesmith.config.checks import (
    CheckSettings,
    ExactSettings,
    JsonSettings,
    LabelSettings,
    MaxSentencesSettings,
)
from tunesmith.config.checks_reference import RougeSettings
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import CannotScore, Case, score_cases
from tunesmith.evaluation.checks.table import CHECKS, build_checks

NEED_MORE = {"style", "judge"}  # the base's answers; a judge that is there
SLOW = {"sql", "style", "similarity", "judge"}


def test_the_table_lists_each_kind_of_the_settings_union(every_kind):
    union = typing.get_args(CheckSettings)[0]
    kinds = {member.model_fields["kind"].default for member in typing.get_args(union)}
    assert set(CHECKS) == kinds == {settings.kind for settings in every_kind}
    assert set(OWN) == kinds - NEED_MORE


def test_every_check_keeps_the_contract(every_kind):
    for settings in every_kind:
        (check,) = build_checks([settings])
        assert check.name == settings.kind
        for answer in ("", "a", '{"a": 1}', "[" * 5000, "\ud800", "1/0 #### 1/0", "?! ..."):
            for reference in (None, "", "a", '{"a": 1}', "#### 3", "name[x]"):
                fault = check.reference_fault(reference, "q")
                try:
                    score = check.score(
                        answer, reference, None if settings.kind == "judge" else "q"
                    )
                except CannotScore:
                    continue
                assert 0.0 <= score <= 1.0
                assert fault is None or score == 0.0, (settings.kind, answer, reference)


def test_the_datas_own_answer_passes_and_an_empty_one_does_not(every_kind):
    for settings in every_kind:
        if settings.kind in NEED_MORE:
            continue
        (check,) = build_checks([settings])
        own = OWN[settings.kind]
        assert check.reference_fault(own) is None
        assert check.score(own, own) == pytest.approx(1.0, abs=1e-6), settings.kind
        assert check.score("", own) == check.score(" \n", own) == 0.0


def test_figures_are_json_and_rows_may_come_in_any_order(every_kind):
    for settings in every_kind:
        if settings.kind in NEED_MORE | {"similarity"}:  # which compares with the next row
            continue
        (check,) = build_checks([settings])
        own = OWN[settings.kind]
        cases = [Case(own, own), Case("b 7", own), Case("", own), Case(own + " zz", own)]
        forth, back = score_cases(check, cases), score_cases(check, cases[::-1])
        assert forth.scores == back.scores[::-1]
        told, again = (json.dumps(scored.figures, allow_nan=False) for scored in (forth, back))
        assert rounded(told) == rounded(again), settings.kind
        assert forth.empty == 1


def rounded(figures):
    """Sums of numbers in another order differ in their last digit."""
    return json.loads(figures, parse_float=lambda text: round(float(text), 9))


def test_five_hundred_answers_are_scored_in_a_second(every_kind):
    text = "The answer to this is that Ann has 12 apples left. " * 3 + "\n#### 12"
    answers = [f"{text} {i}" for i in range(500)]
    for settings in every_kind:
        if settings.kind in SLOW:
            continue
        (check,) = build_checks([settings])
        check.score(answers[0], answers[0])
        start = time.process_time()
        score_cases(check, [Case(a, b) for a, b in pairwise(answers)])
        assert time.process_time() - start < 1.0, settings.kind


def test_checks_come_in_order_under_the_names_given():
    checks = build_checks(
        [LabelSettings(name="intent", field="intent"), LabelSettings(name="city", field="city")]
    )
    assert [check.name for check in checks] == ["intent", "city"]


def test_no_checks_are_no_error():
    assert build_checks([]) == ()


def test_two_checks_of_one_name_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"called label\. Give each its own `name`"):
        build_checks([LabelSettings(field="a"), LabelSettings(field="b")])
    with pytest.raises(ConfigError, match="called json"):
        build_checks([JsonSettings(), LabelSettings(name="json")])


def test_all_faults_are_told_at_once(tmp_path):
    broken = [
        JsonSettings.model_validate({"schema": str(tmp_path / name), "name": name})
        for name in ("a.json", "b.json")
    ]
    with pytest.raises(ConfigError) as caught:
        build_checks([*broken, ExactSettings(), ExactSettings()])
    assert "evaluate.checks.0: " in str(caught.value)
    assert "evaluate.checks.1: " in str(caught.value)
    assert "called exact" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "library"),
    [
        (RougeSettings(), "rapidfuzz"),
        (MaxSentencesSettings(sentences=2), "sentencex"),
    ],
)
def test_a_check_whose_library_is_missing_names_the_extra_before_any_answer(
    settings, library, monkeypatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    wanted = rf"needs the package {library}\b.*pip install 'tunesmith\[checks\]'"
    with pytest.raises(ConfigError, match=wanted):
        build_checks([settings])
