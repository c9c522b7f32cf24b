import dataclasses

from tests.data.quality.rows import asked, found
from tests.data.tiny import talk
from tunesmith.data.quality.duplicates import Duplicates
from tunesmith.data.rows import Message


def test_later_copies_are_found_case_and_white_space_aside():
    rows = asked(("Hi  there", "Yes"), ("bye", "no"), ("hi there", "yes\n"), ("HI THERE", "YES"))
    assert found(Duplicates(), rows) == [("duplicates", [2, 3])]


def test_another_answer_prompt_or_weight_is_another_row():
    row = talk("q", "a")
    light = dataclasses.replace(row, messages=(row.messages[0], Message("assistant", "a", 0.5)))
    others = [
        talk("q", "b"),
        talk("q!", "a"),
        talk("q", "a", system="s"),
        light,
        talk("q", "a", "q"),
    ]
    assert found(Duplicates(), [row, *others]) == []


def test_no_rows_have_no_duplicates():
    assert found(Duplicates(), []) == []
