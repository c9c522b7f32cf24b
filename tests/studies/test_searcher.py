"""The next setting and who is behind: functions of what is known, and better than chance."""

import math
import random

import pytest

from tests.runs.tiny import config
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.studies.search_space import (
    Choices,
    Range,
    default_space,
    own_values,
    read_over,
    read_space,
    space_json,
    space_of,
    with_values,
)

optuna = pytest.importorskip("optuna")

from tunesmith.studies.searcher import KnownSetting, is_behind, suggest  # noqa: E402

SPACE = {"train.lr": Range(1e-4, 1e-1), "method.rank": Choices((4, 8, 16, 32))}


def loss_of(values):
    return abs(math.log10(values["train.lr"]) + 2) + 0.1 * (values["method.rank"] != 8)


def searched(seed, count=16):
    tried = []
    for _ in range(count):
        values = suggest(SPACE, tried, seed=seed)
        tried.append(KnownSetting(values, {8: loss_of(values)}, is_done=True))
    return tried


def test_a_suggestion_follows_from_what_is_known_and_lies_in_the_space():
    tried = [
        KnownSetting({"train.lr": 1e-2, "method.rank": 8}, {2: 1.0}),
        KnownSetting({"train.lr": 1e-3, "method.rank": 4}, {}),
    ]
    one, other = (suggest(SPACE, tried, seed=3) for _ in range(2))
    assert one == other
    assert suggest(SPACE, tried, seed=4) != one
    assert SPACE["train.lr"].low <= one["train.lr"] <= SPACE["train.lr"].high
    assert one["method.rank"] in (4, 8, 16, 32)


def test_it_finds_more_than_chance_does():
    rng = random.Random(0)
    found, drawn = [], []
    for seed in range(6):
        found.append(min(loss_of(each.values) for each in searched(100 * seed)))
        points = [
            {"train.lr": 10 ** rng.uniform(-4, -1), "method.rank": rng.choice((4, 8, 16, 32))}
            for _ in range(16)
        ]
        drawn.append(min(map(loss_of, points)))
    assert sum(found) < sum(drawn)


def test_the_worse_half_is_behind_and_the_best_never():
    losses = [0.5, 0.9, 0.7, 0.6, 1.2, 0.8, 1.0, 0.4]
    peers = [{2: loss} for loss in losses]
    kept = [loss for loss, each in zip(losses, peers, strict=True) if not is_behind(each, peers)]
    assert sorted(kept) == sorted(losses)[:4]
    assert not is_behind({2: 5.0}, [{2: 5.0}])
    assert not is_behind({2: 0.4}, [{2: 0.4}, {1: 0.1}])
    assert is_behind({2: math.nan}, [*peers, {2: math.nan}])


def test_what_a_command_line_gives_is_a_range_or_choices(tmp_path):
    over = read_over(
        ["train.lr=1e-4..1e-2", "method.rank=4,8", "method.targets=all-linear,[q_proj]"]
    )
    space = read_space(over, config(tmp_path))
    assert space == {
        "train.lr": Range(1e-4, 1e-2),
        "method.rank": Choices((4, 8)),
        "method.targets": Choices(("all-linear", ("q_proj",))),
    }
    assert space_of(space_json(space)) == space


@pytest.mark.parametrize(
    ("over", "message", "remedy"),
    [
        ({"method.rnk": [2, 4]}, r"`method\.rnk` is no key", "method.rank"),
        ({"train.steps": [2, 4]}, r"`train\.steps` cannot be searched", ""),
        ({"data.eval": [0.1, 0.2]}, "cannot be searched", ""),
        ({"train.lr": (1e-2, 1e-4)}, r"0\.01\.\.0\.0001 is no range", "train.lr"),
        ({"method.rank": [4]}, "one value, 4", "two values"),
        ({"method.rank": [4, 0]}, "must be 1 or more", ""),
        ({"method.rank": (4, 16)}, "takes whole numbers", "method.rank=4,8,16"),
        ({"method.tokens": [4, 8]}, "tokens", ""),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path, over, message, remedy):
    with pytest.raises(ConfigError, match=message) as error:
        read_space(over, config(tmp_path))
    assert remedy in (error.value.remedy or "")


@pytest.mark.parametrize("word", ["method.rank", "method.rank="])
def test_a_word_without_values_is_wrong_usage(word):
    with pytest.raises(UsageError, match="names no values"):
        read_over([word])


def test_the_methods_table_says_what_is_searched_and_its_own_values_come_first(tmp_path):
    made = config(tmp_path, method={"kind": "lora", "rank": 8}, train={"steps": 8})
    space = default_space(made, rate=1.3e-3, linears=["model.layers.0.self_attn.q_proj"])
    assert space["train.lr"] == Range(2.2e-4, 3.9e-3)
    assert space["method.targets"] == Choices(("all-linear", ("*attn*",)))
    own = own_values(made, space, rate=1.3e-3)
    assert own == {"train.lr": 1.3e-3, "method.rank": 8, "method.targets": "all-linear"}
    assert "method.targets" not in default_space(made, rate=1e-3, linears=["layers.0.c_fc"])
    wider = with_values(made, {"method.rank": 32})
    assert (wider.method.rank, wider.method.alpha) == (32, 4 * made.method.alpha)
    prompts = config(tmp_path, method={"kind": "prompt"})
    assert default_space(prompts, rate=1e-2, linears=[])["method.tokens"].values[0] == 10
