"""How long answers may become follows from the data's own, unless it is given."""

import pytest

from tests.training.tiny import dataset
from tunesmith.config import load_run_config
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.answers import with_answer_length


class Answers:
    def __init__(self, *lengths):
        self.supervised = dataset(len(lengths)).supervised.copy()
        self.supervised[:] = lengths


def made(**evaluate):
    return load_run_config(None, {"data": {"train": "a.jsonl"}, "evaluate": evaluate})


@pytest.mark.parametrize(
    ("lengths", "room"),
    [((3, 5), 64), ((20, 30), 120), ((60, 70), 256), ((200, 220), 275), ((1000,), 1250)],
)
def test_short_answers_leave_room_for_a_base_that_talks_and_long_ones_fit(lengths, room):
    found = with_answer_length(made(), Answers(*lengths))
    assert found.evaluate.longest_answer == room


def test_what_is_given_stays_and_without_rows_it_is_the_usual():
    assert with_answer_length(made(max_new_tokens=7), Answers(90)).evaluate.longest_answer == 7
    assert with_answer_length(made(), None).evaluate.longest_answer == 256


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="max_new_tokens"):
        made(max_new_tokens=0)
