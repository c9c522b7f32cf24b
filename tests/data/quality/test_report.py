"""All observers together: what is told, what is dropped, and with which lines."""

import dataclasses
import random

import pytest

from tests.data.quality.rows import asked, sample
from tests.data.tiny import talk
from tests.source import ROOT
from tunesmith.config.settings import DROP_NAMES
from tunesmith.data.quality.report import MAX_LINES, Quality

ROWS = asked(
    ("how do i reset my card", "reset"),
    ("how do I reset my  card", "Reset"),  # a copy of 1
    ("how can i reset my card", "reset"),  # nearly 1
    ("is it free of charge", "yes"),
    ("is it free of charge", "no"),  # against 4
    ("my mail is kim@naver.com today", "noted"),
)


def watched(rows=ROWS, held=()):
    quality = Quality()
    for row in held:
        quality.hold(row)
    for row in rows:
        quality.observe(row)
    return quality


def kept(dropped):
    return [row for row, out in zip(ROWS, dropped.rows, strict=True) if not out]


def lines(notes):
    return {note.code: note.lines for note in notes}


def test_each_row_is_told_with_its_line_and_count():
    notes = watched().warnings()
    assert lines(notes) == {
        "duplicates": (2,),
        "near_duplicates": (3,),
        "contradictions": (4, 5),
        "personal_data": (6,),
    }
    assert all(note.count == len(note.lines) for note in notes)


def test_a_copy_is_not_a_near_copy_as_well():
    assert lines(watched(ROWS[:2]).warnings()).keys() == {"duplicates"}


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ((), [1, 2, 3, 4, 5, 6]),
        (("duplicates",), [1, 3, 4, 5, 6]),
        (("near_duplicates",), [1, 4, 5, 6]),
        (("contradictions", "personal_data"), [1, 2, 3]),
    ],
)
def test_what_is_dropped_by_name_is_gone_and_counted(names, left):
    quality = watched()
    dropped = quality.drop(names)
    assert [row.line for row in kept(dropped)] == left
    assert sum(note.count for note in dropped.notes) == len(ROWS) - len(left)
    assert {note.code for note in dropped.notes} <= {"dropped"}


def test_a_row_that_two_names_drop_is_counted_once():
    dropped = watched().drop(["duplicates", "near_duplicates"])
    assert [(note.count, note.lines) for note in dropped.notes] == [(1, (2,)), (1, (3,))]


def test_warnings_are_about_what_is_left():
    quality = watched()
    told = quality.warnings(quality.drop(["duplicates", "contradictions"]))
    assert lines(told) == {"near_duplicates": (3,), "personal_data": (6,)}


CLUSTER = asked(
    ("how do i reset my card", "yes"),
    ("how do i reset my card", "no"),  # against 1
    ("how can i reset my card", "yes"),  # nearly 1
    ("how can i reset my card", "yes"),  # a copy of 3
)


def test_names_apply_in_turn_so_that_no_cluster_goes_as_a_whole():
    quality = watched(CLUSTER)
    dropped = quality.drop(["near_duplicates", "contradictions"])
    assert dropped.rows.tolist() == [True, True, False, True]
    assert quality.warnings(dropped) == ()
    assert quality.drop(["near_duplicates"]).rows.tolist() == [False, False, True, True]


def test_what_is_told_is_of_the_rows_that_are_left_alone():
    quality = watched(CLUSTER)
    left = quality.warnings(quality.drop(["contradictions"]))
    assert lines(left) == {"duplicates": (4,)}


@pytest.mark.parametrize("seed", range(5))
def test_every_dropped_copy_has_one_that_stays(seed):
    rng = random.Random(seed)
    questions = [f"{rng.choice('abc')} b c d {rng.choice('ef')} f" for _ in range(60)]
    rows = asked(*((question, rng.choice(["yes", "no"])) for question in questions))
    quality = watched(rows)
    for names in (["near_duplicates"], ["contradictions", "near_duplicates", "duplicates"]):
        first = quality.drop(names[:-1] if len(names) > 1 else []).rows
        out = quality.drop(names).rows
        answers = {
            row.messages[1].content for row, gone in zip(rows, first, strict=True) if not gone
        }
        kept = {row.messages[1].content for row, gone in zip(rows, out, strict=True) if not gone}
        assert kept == answers


def test_training_rows_that_are_held_out_elsewhere_can_be_dropped():
    quality = watched(held=[talk("is it free of charge", "yes")])
    assert lines(quality.warnings())["leakage"] == (4, 5)
    assert [row.line for row in kept(quality.drop(["leakage"]))] == [1, 2, 3, 6]


def test_of_several_files_places_stand_in_the_message():
    other = dataclasses.replace(ROWS[0], file="other.jsonl", line=9)
    (note,) = watched([ROWS[0], other]).warnings()
    assert note.message.endswith("other.jsonl:9")
    assert (note.count, note.lines) == (1, ())


def test_a_long_list_of_lines_is_cut_and_its_count_is_not():
    rows = [talk("q", "a", line=line) for line in range(1, MAX_LINES + 12)]
    (note,) = watched(rows).warnings()
    assert (note.count, len(note.lines)) == (MAX_LINES + 10, MAX_LINES)


def test_every_name_that_can_be_dropped_is_known_here():
    quality = watched()
    for name in DROP_NAMES:
        assert quality.drop([name]).rows.shape == (len(ROWS),)


def test_every_code_is_documented():
    page = (ROOT / "docs" / "data-quality.md").read_text(encoding="utf-8")
    told = {*DROP_NAMES, "few_rows", "language_fit", "split_by_prompt", "split_share", "dropped"}
    assert [code for code in sorted(told) if f"`{code}`" not in page] == []


def test_the_same_rows_are_told_in_any_order():
    rows = sample("banking77/train.jsonl")
    shuffled = random.Random(0).sample(rows, len(rows))
    first, other = ({n.code: n.count for n in watched(r).warnings()} for r in (rows, shuffled))
    assert first == other


def test_no_rows_have_no_warnings():
    assert watched([]).warnings() == ()
    assert watched([], held=ROWS).warnings() == ()


def test_rows_may_come_from_more_files_than_a_small_number_counts():
    quality = Quality()
    quality._names = {f"{i}.txt": i for i in range(70_000)}
    quality.observe(talk("q", "a"))
    quality.observe(talk("q", "a"))
    assert [note.code for note in quality.warnings() if note.code == "duplicates"]


def test_what_is_about_all_rows_counts_those_that_are_left():
    rows = asked(*[(f"who wrote book {i}", f"It was Author{i}") for i in range(30)])
    rows = [*rows, *asked(*[("who wrote book 0", "It was Author0")] * 5)]
    quality = watched(rows)
    (told,) = [note for note in quality.warnings() if note.code == "knowledge"]
    assert told.count == 35
    dropped = quality.drop(["duplicates"])
    (told,) = [note for note in quality.warnings(dropped) if note.code == "knowledge"]
    assert told.count == 30
