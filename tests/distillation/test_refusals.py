"""What a distillation refuses before or after it draws, and the words for it."""

import re

import pytest

from tests.distillation.distilling import HAS_Z, files_of
from tunesmith.core.errors import DataError


def test_where_nothing_passes_nothing_is_left_and_another_try_is_not_refused(ask, tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match="has_z"):
            ask(checks=[HAS_Z], samples=2)
        assert files_of(tmp_path) == {}


def test_a_check_that_needs_an_answer_refuses_inputs_without_one(ask):
    inputs = [{"prompt": "a", "completion": "b"}, {"prompt": "c"}]
    with pytest.raises(DataError, match=r"inputs\.jsonl:2: check `exact`: there is no reference"):
        ask(inputs=inputs, checks=[{"kind": "exact"}])


def test_inputs_that_leave_no_room_are_all_named(ask):
    inputs = ["short", "x" * 190, "y" * 195]
    with pytest.raises(DataError, match=r"context of 256") as refused:
        ask(inputs=inputs)
    assert re.findall(r"inputs\.jsonl:(\d)", str(refused.value)) == ["2", "3"]
    with pytest.raises(DataError, match="context"):
        ask(max_new_tokens=250)


@pytest.mark.parametrize("out", ["rows.txt", "rows"])
def test_an_out_that_training_would_not_read_is_refused(ask, out):
    with pytest.raises(DataError, match=r"Name a file that ends in \.jsonl"):
        ask(out=out)


def test_an_out_that_is_there_is_not_overwritten(ask, tmp_path):
    (tmp_path / "rows.jsonl").write_text("mine\n")
    with pytest.raises(DataError, match=r"rows\.jsonl: exists already") as refused:
        ask()
    assert "--resume" not in refused.value.remedy
    assert (tmp_path / "rows.jsonl").read_text() == "mine\n"
    with pytest.raises(DataError, match="nothing to resume"):
        ask(resume=True)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_instruction_without_text_is_refused(ask, text):
    with pytest.raises(DataError, match=r"prompt\.txt: holds no instruction"):
        ask(instruction=text)


def test_files_that_are_missing_are_named(ask, tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read: No such file"):
        ask(prompt_path=tmp_path / "gone.txt")
    with pytest.raises(DataError, match=r"gone\.jsonl: does not exist"):
        ask(inputs_path=tmp_path / "gone.jsonl")


def test_no_inputs_is_a_refusal(ask):
    with pytest.raises(DataError, match=r"inputs\.jsonl: holds no rows"):
        ask(inputs=[])
