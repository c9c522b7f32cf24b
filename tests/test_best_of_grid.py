"""Whether `auto` steps and passes are as good as the best setting of their grid, from results."""

import pytest
from benchmarks.methods.best_of_grid import against, table
from benchmarks.methods.measure import read_results
from benchmarks.methods.step_sizes import RESULTS

ROWS = 200
# What docs/methods.md says of them: all settings are alike, so that three passes are enough.
ALIKE = ((60, "english-reviews"), (60, "structure"), (60, "summary"), (40, "shop"))
NAMED = {("lora", rows, task): ["longer"] for rows, task in ALIKE}
NAMED["prompt-20", 60, "classification"] = ["longer"]  # 15 points above the best of its grid


def line(right, *, point=(), seed=0, tokens=1000, **changes):
    """A run that answered the first ``right`` of the held-out rows."""
    scores = {"tuned": [1.0] * right + [0.0] * (ROWS - right)}
    group = {"name": "lora", "rows": 60, "task": "tone", "error": None}
    return group | {
        "point": {f"train.{key}": value for key, value in dict(point).items()},
        "seed": seed,
        "tokens": tokens,
        "scores": scores,
        **changes,
    }


def grid(*rights, tokens=1000, **keys):
    sizes = (4, 8, 16)
    return [
        line(right, point={"rows_per_step": size, "epochs": 3}, tokens=tokens, **keys)
        for size, right in zip(sizes, rights, strict=False)
    ]


def test_the_best_setting_of_the_grid_is_compared():
    (found,) = against([*grid(150, 170, 160), line(168)])
    assert (found.best, found.settings) == ("train.epochs 3, train.rows_per_step 8", 3)
    assert (found.score, found.best_score) == (0.84, 0.85)
    assert found.difference.mean == pytest.approx(-0.01)
    assert found.faults == []


@pytest.mark.parametrize(
    ("right", "tokens", "faults"),
    [(150, 1000, ["below"]), (170, 1400, ["longer"]), (190, 1300, []), (140, 2000, 2)],
)
def test_below_and_longer_are_named(right, tokens, faults):
    (found,) = against([*grid(160, 170), line(right, tokens=tokens)])
    assert found.faults == (["below", "longer"] if faults == 2 else faults)
    for fault in found.faults:
        assert f"**{fault}**" in table([*grid(160, 170), line(right, tokens=tokens)])


def test_only_seeds_that_all_settings_have_are_compared():
    lines = [*grid(160, 170), *grid(180, 100, seed=1), line(160), line(180, seed=1)]
    (both,) = against(lines)
    assert (both.seeds, both.best_score) == ((0, 1), 0.85)
    (one,) = against(lines[:-1])
    assert (one.seeds, one.best_score) == ((0,), 0.85)
    assert against(lines[:4]) == []


def test_a_setting_with_fewer_seeds_than_others_is_left_out():
    once = line(190, point={"rows_per_step": 4, "epochs": 9})
    lines = [*grid(160, 170), *grid(170, 160, seed=1), line(160), line(170, seed=1)]
    (both,) = against([*lines, once])
    assert (both.seeds, both.settings, both.best_score) == ((0, 1), 2, 0.825)


def test_time_is_compared_where_both_are_known():
    timed = [*grid(160, 170, seconds=200), line(170, seconds=300)]
    untimed = [*grid(160, 170, seed=1), line(170, seed=1)]
    assert [each.seconds for each in against([*timed, *untimed])] == [1.5]
    assert "| 1.50 |" in table(timed)
    assert [each.seconds for each in against(untimed)] == [None]


@pytest.mark.parametrize("extra", [{"average_steps": 0}, {"lr": 0.1}])
def test_runs_with_other_settings_and_failed_ones_are_left_out(extra):
    other = line(200, point={"rows_per_step": 4, "epochs": 9, **extra})
    failed = line(0, point={"rows_per_step": 4, "epochs": 9}, error="out of memory")
    (found,) = against([*grid(160, 170), line(170), other, failed])
    assert found.settings == 2


def test_what_was_measured_is_as_good_as_the_best_of_the_grid_but_where_the_docs_say_so():
    found = against(read_results(RESULTS))
    assert len(found) >= 15
    assert {each.group: each.faults for each in found if each.faults} == NAMED
