"""Faults are named as what they are, each by its signs together, and good runs draw none."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.overfitting_runs import contradictions, falling, gap, good, interval
from tunesmith.evaluation.checkpoints import Checkpoint, choose_checkpoint
from tunesmith.evaluation.findings import finding_text, words_in
from tunesmith.evaluation.overfitting import RULES, assess_overfitting, diagnose
from tunesmith.evaluation.overfitting_evidence import Curves, Labels, Rate
from tunesmith.evaluation.overfitting_measures import RowLosses, Verbatim, diversity_of, gap_of


def codes(evidence):
    return [each.code for each in diagnose(evidence)]


def test_a_good_run_draws_nothing():
    assert codes(good()) == []
    assert codes(good(gap=None, labels=None, rank=None, used=None, rate=None)) == []


FAST = Rate(0.065, 0.0013)
ROSE = Curves([8.5, 10.7, 11.0, 12.0, 10.8])


def test_a_run_that_broke_is_diverged_with_its_rate_as_the_reason():
    (found,) = diagnose(good(curves=Curves([8.5, 9.0], broken=True), rate=FAST, gap=None))
    assert (found.code, found.harm) == ("diverged-rate", True)
    assert found.values["times"] == pytest.approx(50)
    assert codes(good(curves=Curves([8.5, 9.0], broken=True), rate=None, gap=None)) == ["diverged"]


def test_a_rate_is_a_reason_and_never_a_sign():
    assert codes(good(rate=FAST)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"curves": ROSE},
        {"curves": Curves(falling(8.0, 12.0))},
        {"curves": Curves([4.0, *[9.0] * 10, *[3.0] * 20])},  # never below half
        {"gap": gap(9.0, 9.0, change=0.4)},
        {"curves": Curves([4.0, math.nan, math.nan], broken=True)},
    ],
)
def test_signs_of_divergence(changes):
    assert codes(good(**changes)) == ["diverged"]


@pytest.mark.parametrize(
    "losses",
    [
        [4.0, *[9.0] * 5, *[0.3] * 20],  # a bad beginning that was made good
        [4.0, 30.0, *falling(4.0, 0.3)],  # one bad batch
        [4.0, 30.0, *[3.0] * 20],  # the same where there is little to learn
        [1.20, 1.25, 1.19, 1.22, 1.18] * 4,  # little to learn
    ],
)
def test_runs_that_recover_or_have_little_to_learn_did_not_diverge(losses):
    assert "diverged" not in codes(good(curves=Curves(losses)))


def test_the_training_rows_own_losses_decide_by_their_interval():
    sure = replace(gap(9.0, 9.0), train_change=interval(0.1, 0.5))
    unsure = replace(gap(9.0, 9.0), train_change=interval(-0.1, 0.5))
    assert codes(good(gap=sure, labels=None)) == ["diverged"]
    assert codes(good(gap=unsure, labels=None)) == []


BY_HEART = gap(0.0003, 0.18, 0.10, 0.28)


def test_many_passes_over_rows_that_are_certain_alone():
    (found,) = diagnose(good(gap=BY_HEART, passes=50.0, rows=20))
    assert (found.code, found.harm) == ("learned-by-heart-passes", True)
    assert (found.values["passes"], found.values["rows"]) == (50, 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": 3.0},  # few passes, and nothing else
        {"gap": gap(0.0003, 0.02, 0.01, 0.03)},  # held-out rows are certain too
        {"gap": gap(0.0003, 0.18, -0.02, 0.4)},  # too few rows to tell
        {"gap": gap(0.1, 0.18, 0.06, 0.1)},  # training rows are not certain
    ],
)
def test_each_sign_of_learning_by_heart_is_needed(changes):
    assert codes(good(**{"gap": BY_HEART, "passes": 50.0, **changes})) == []


RISE = Curves(falling(8.0, 0.001), [(20, 0.30), (40, 0.5), (60, 0.7)])
COPIES = Verbatim(interval(0.6), interval(0.05), interval(0.4, 0.6))


def test_few_passes_need_a_rise_or_copies():
    wide = gap(0.001, 0.7)
    assert codes(good(gap=wide, curves=RISE)) == ["learned-by-heart-rise"]
    assert codes(good(gap=wide, verbatim=COPIES)) == ["learned-by-heart-copied"]
    few = replace(COPIES, excess=interval(0.1, 0.4))
    assert codes(good(gap=wide, verbatim=few)) == []


def test_what_was_learned_by_heart_after_the_checkpoint_that_stands_is_a_hint():
    stands = gap(0.34, 0.5, 0.1, 0.3)
    (found,) = diagnose(good(gap=stands, curves=RISE, passes=50.0, rows=20))
    assert (found.code, found.harm) == ("learned-by-heart-at-the-end", False)
    assert (found.values["step"], found.values["end_nats"]) == (20, 0.7)
    assert codes(good(gap=stands, curves=RISE)) == ["past-its-best"]  # few passes
    open_still = Curves(falling(8.0, 0.3), RISE.held)
    assert codes(good(gap=stands, curves=open_still, passes=50.0)) == ["past-its-best"]


def test_a_rise_after_the_result_advises_no_earlier_end():
    """Whose loss rose is told, and not to end at what it ended at."""
    risen = good(curves=RISE, gap=gap(0.2, 0.7))
    earlier = choose_checkpoint([Checkpoint(20, -0.5), Checkpoint(40, -0.7)], unit="nats")
    found = assess_overfitting(risen, earlier)
    assert [each.code for each in found.findings] == ["past-its-best-kept"]
    said = found.describe(words_in("en"))
    assert "the result is the checkpoint of step 20" in said
    assert "train.patience" not in said
    assert [each.code for each in assess_overfitting(risen).findings] == ["past-its-best"]


@pytest.mark.parametrize("sign", ["answers", "tokens"])
def test_a_rise_at_the_result_is_no_fault_where_the_loss_did_not_decide(sign):
    """The last one is the best by what comes before the loss."""
    risen = good(curves=RISE, gap=gap(0.2, 0.7))
    kept = [Checkpoint(20, -0.5, ruled_out=sign), Checkpoint(40, -0.7)]
    choice = choose_checkpoint(kept, unit="nats")
    assert (choice.best.step, choice.reason) == (40, sign)
    found = assess_overfitting(risen, choice)
    assert [each.code for each in found.findings] == ["past-its-best-kept"]
    assert "the result is the checkpoint of step 40" in found.describe(words_in("en"))


def test_a_rise_alone_is_a_hint():
    (found,) = diagnose(good(curves=RISE, gap=gap(0.2, 0.7)))
    assert (found.code, found.harm) == ("past-its-best", False)
    assert found.values["step"] == 20
    for held in ([(1, 0.5), (2, 0.54)], [(1, 0.02), (2, 0.06)], [(1, 2.0), (2, 2.15)], []):
        assert codes(good(curves=Curves(falling(8.0, 0.05), held))) == []


def test_contradicting_labels():
    (found,) = diagnose(good(warned=contradictions()))
    assert (found.code, found.harm) == ("contradicting-labels-loss", True)
    assert codes(good(warned=contradictions(low=None, loss_share=None))) == ["contradicting-labels"]


@pytest.mark.parametrize("warned", [{"share": 0.04}, {"low": -0.01}, {"choices": False}])
def test_few_conflicts_learned_ones_and_free_texts_are_no_harm(warned):
    assert codes(good(warned=contradictions(**warned))) == []


RANK = {"gap": gap(1.2, 1.3), "labels": Labels(150, 1.7), "rank": 1, "used": 1.0}


def test_a_rank_that_is_used_up_on_many_classes_that_stay_open():
    (found,) = diagnose(good(**RANK))
    assert (found.code, found.harm) == ("rank-too-low", True)
    assert codes(good(**{**RANK, "rank": 8, "used": 0.97})) == ["rank-too-low"]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": None},  # free texts have a floor of their own
        {"labels": Labels(10, 1.7)},
        {"rank": 8, "used": 0.7},
        {"rank": None, "used": None},
        {"gap": gap(0.3, 0.35)},  # learned
        {"gap": gap(0.5, 1.3)},  # rows are short, not rank
        {"passes": 2.9},  # steps are
    ],
)
def test_each_sign_of_a_low_rank_is_needed(changes):
    assert codes(good(**{**RANK, **changes})) == []


SHORT = Curves(np.linspace(8.0, 1.0, 40).tolist())


def test_a_run_that_is_too_short_is_told_as_that():
    (found,) = diagnose(good(**RANK, curves=SHORT))
    assert (found.code, found.harm) == ("still-falling", False)


def test_a_loss_that_falls_on_the_runs_own_rows_alone_asks_for_no_more_steps():
    assert codes(good(curves=SHORT, labels=None, gap=gap(0.1, 0.38))) == []
    assert codes(good(curves=SHORT, labels=None, gap=gap(0.3, 0.38))) == ["still-falling"]


def test_where_the_held_out_loss_rose_more_steps_are_not_advised():
    losses = np.linspace(8.0, 1.0, 40).tolist()
    over = Curves(losses, held=[(10, 0.84), (30, 0.9), (40, 1.07)])
    assert codes(good(curves=over, labels=None, gap=gap(0.6, 0.84))) == ["past-its-best"]


def test_labels_that_are_all_but_learned_are_not_still_falling():
    curve = Curves([*falling(8.0, 0.05, 40), *np.linspace(0.02, 0.001, 20)])
    assert codes(good(curves=curve)) == []


def test_collapsed_answers():
    own = [f"answer {i % 20}" for i in range(60)]
    same = diversity_of(["answer 1"] * 60, own, seed=0)
    assert codes(good(diversity=same)) == ["collapsed"]
    kept = diversity_of([f"answer {i % 14}" for i in range(60)], own, seed=0)
    assert codes(good(diversity=kept)) == []


def test_one_fault_is_told_once():
    everything = good(
        **RANK,
        curves=Curves(falling(8.0, 12.0), [(10, 1.0), (20, 9.0)]),
        passes=50.0,
        diversity=diversity_of(["a"] * 60, [f"b {i}" for i in range(60)], seed=0),
    )
    assert codes(everything) == ["diverged"]


def simulated(rng, *, rows=100, level=0.1, fit=0.3):
    """A good run: few rows are wrong, training rows are known somewhat better."""
    wrong = rng.random(rows) < level
    held = np.where(wrong, rng.exponential(2.0, rows), rng.exponential(0.02, rows))
    train = np.where(
        rng.random(rows) < level * fit, rng.exponential(1.0, rows), rng.exponential(0.01, rows)
    )
    base = rng.normal(8, 3, (2, rows)).clip(1)
    found = gap_of(
        RowLosses(train.tolist(), base[0].tolist()),
        RowLosses(held.tolist(), base[1].tolist()),
        seed=0,
    )
    least = float(held.mean())
    steps = [least * float(np.exp(rng.normal(0, 0.05))) for _ in range(5)]
    return good(
        curves=Curves(falling(8.0, train.mean(), rng=rng, noise=0.4), list(enumerate(steps, 1))),
        gap=found,
        labels=Labels(int(rng.integers(2, 200)), 1.0),
        passes=float(rng.uniform(1, 5)),
    )


@pytest.mark.usefixtures("few_resamples")
def test_simulated_good_runs_draw_no_false_alarm():
    found = [
        each.code
        for repeat in range(200)
        for each in diagnose(simulated(np.random.default_rng(repeat)))
        if each.harm
    ]
    assert found == []


@pytest.mark.usefixtures("few_resamples")
def test_simulated_good_runs_seldom_draw_a_hint():
    hints = [diagnose(simulated(np.random.default_rng([1, repeat]))) for repeat in range(200)]
    assert sum(map(bool, hints)) <= 10


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_finding_has_words(language):
    words = words_in(language)
    bad = [
        good(curves=ROSE),
        good(curves=ROSE, rate=FAST),
        good(gap=BY_HEART, passes=50.0),
        good(gap=gap(0.001, 0.7), curves=RISE),
        good(gap=gap(0.001, 0.7), verbatim=COPIES),
        good(curves=RISE, gap=gap(0.2, 0.7)),
        good(warned=contradictions()),
        good(warned=contradictions(low=None, loss_share=None)),
        good(**RANK),
        good(curves=SHORT, labels=None, gap=gap(1.0, 1.3)),
        good(diversity=diversity_of(["a"] * 60, [f"b {i}" for i in range(60)], seed=0)),
    ]
    found = [each for e in bad for each in diagnose(e)]
    said = [(each.code, finding_text("overfitting", each, words)) for each in found]
    assert len({code for code, _ in said}) == len(bad)
    assert all("{" not in text for _, text in said)
    assert len(RULES) == 7
