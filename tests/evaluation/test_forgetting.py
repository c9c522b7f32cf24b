"""Kept and forgotten need the whole interval on one side of the margin; else it cannot be told."""

from dataclasses import replace

import pytest

from tunesmith.evaluation.forgetting import assess_forgetting
from tunesmith.evaluation.forgetting_probes import ProbeAnswers, ProbeMeasure, compare_answers
from tunesmith.evaluation.intervals import Interval

MARGINS = {"accuracy": 0.05, "perplexity": 0.1}


def probe(mean, half, measure="accuracy", name="p", **more):
    """A probe whose interval is as wide as a normal one's of so much at 95 %."""

    def difference(level):
        from tunesmith.evaluation.intervals import quantile_of

        wide = half * quantile_of(level) / quantile_of(0.95)
        return Interval(mean, mean - wide, mean + wide, 100)

    asked = []

    def rows_needed(limit, error):
        asked.append((limit, error))
        return 1234

    found = ProbeMeasure(name, measure, 0.5, 0.5 + mean, difference, rows_needed, {"k": 1}, **more)
    return found, asked


@pytest.mark.parametrize(
    ("measure", "mean", "half", "outcome"),
    [
        ("accuracy", 0.0, 0.04, "kept"),
        ("accuracy", 0.3, 0.04, "kept"),  # better is never forgotten
        ("accuracy", -0.02, 0.029, "kept"),
        ("accuracy", -0.02, 0.031, "unclear"),
        ("accuracy", -0.08, 0.031, "unclear"),
        ("accuracy", -0.08, 0.029, "forgotten"),
        ("perplexity", 0.0, 0.09, "kept"),
        ("perplexity", -0.5, 0.09, "kept"),
        ("perplexity", 0.08, 0.03, "unclear"),
        ("perplexity", 0.15, 0.04, "forgotten"),
    ],
)
def test_the_margin_is_on_one_side_of_the_whole_interval(measure, mean, half, outcome):
    found, asked = probe(mean, half, measure)
    forgetting = assess_forgetting([found], MARGINS)
    (finding,) = forgetting.findings
    assert (finding.outcome, forgetting.outcome) == (outcome, outcome)
    assert finding.margin == MARGINS[measure]
    limit = {"accuracy": -0.05, "perplexity": 0.1}[measure]
    assert asked == ([(limit, pytest.approx(0.025))] if outcome == "unclear" else [])
    assert finding.rows_needed == (1234 if outcome == "unclear" else None)


def test_all_must_be_kept_and_one_forgotten_is_enough():
    kept, bad = probe(0.0, 0.01)[0], probe(-0.2, 0.01)[0]
    open_ = probe(-0.05, 0.02)[0]
    assert assess_forgetting([kept, kept], MARGINS).outcome == "kept"
    assert assess_forgetting([kept, open_], MARGINS).outcome == "unclear"
    assert assess_forgetting([kept, open_, bad], MARGINS).outcome == "forgotten"


def test_several_probes_are_read_together_before_one_is_called_forgotten():
    barely, kept = probe(-0.08, 0.0285)[0], probe(0.0, 0.01)[0]
    assert assess_forgetting([barely], MARGINS).outcome == "forgotten"
    assert assess_forgetting([barely, kept, kept], MARGINS).outcome == "unclear"


def test_a_part_need_not_be_kept_alone_but_can_be_forgotten():
    open_part, whole = probe(-0.02, 0.09, part=True)[0], probe(-0.01, 0.02)[0]
    found = assess_forgetting([open_part, whole], MARGINS)
    assert (found.outcome, found.unclear) == ("kept", ())
    bad_part = probe(-0.3, 0.05, name="bad", part=True)[0]
    found = assess_forgetting([bad_part, whole], MARGINS)
    assert found.outcome == "forgotten"
    assert [each.probe for each in found.forgotten] == ["bad"]


def test_of_a_whole_and_its_parts_the_whole_is_told():
    part, whole = probe(-0.3, 0.05, part=True)[0], probe(-0.3, 0.02, name="all")[0]
    found = assess_forgetting([part, whole], MARGINS)
    assert [each.probe for each in found.forgotten] == ["all"]


def test_the_document_has_the_documented_keys_and_the_details():
    document = assess_forgetting([probe(-0.02, 0.09)[0]], MARGINS).findings[0].to_json()
    assert document == {
        "probe": "p",
        "measure": "accuracy",
        "base": 0.5,
        "tuned": 0.48,
        "difference": -0.02,
        "low": pytest.approx(-0.11),
        "high": pytest.approx(0.07),
        "n": 100,
        "margin": 0.05,
        "outcome": "unclear",
        "rows_needed": 1234,
        "k": 1,
    }


def test_a_probe_that_may_be_looked_at_twice_has_half_of_the_error_at_each():
    arms = ProbeAnswers((1,) * 90 + (0,) * 10, (1,) * 100), ProbeAnswers((1,) * 100, (1,) * 100)
    once = compare_answers("mine", *arms, seed=0)
    twice = replace(once, looks=2)
    found = [assess_forgetting([each], MARGINS).findings[0].difference for each in (once, twice)]
    assert found[1] == once.difference(0.975)
    assert found[1].low < found[0].low
