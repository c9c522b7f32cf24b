"""Preparing: rows keep their ids in flat arrays; what is cut, dropped or inserted is counted."""

import dataclasses

import numpy as np
import pytest

from tests.data.prepared import prepare
from tests.data.tiny import SYSTEM_PROMPT, talk, tokenizer_of
from tunesmith.core.errors import DataError
from tunesmith.data.faults import FaultyData
from tunesmith.data.template import render

ROWS = [talk("question " * n, "answer " * (n % 5 + 1), line=n) for n in range(1, 21)]
CHATML = tokenizer_of("chatml")


def lengths(rows):
    return [len(render(CHATML, row).ids) for row in rows]


def test_rows_are_what_rendering_one_at_a_time_gives():
    rows = [*ROWS, dataclasses.replace(ROWS[0], file="other.jsonl", line=9)]
    dataset = prepare(CHATML, rows, max_tokens=10_000)
    assert len(dataset) == len(rows)
    for i, conversation in enumerate(rows):
        row, alone = dataset[i], render(CHATML, conversation)
        np.testing.assert_array_equal(row.ids, alone.ids)
        np.testing.assert_array_equal(row.weights, alone.weights)
        assert (row.file, row.line) == (conversation.file, conversation.line)
    assert dataset.tokens == sum(lengths(rows))
    assert dataset.longest == max(lengths(rows))
    assert dataset.supervised_tokens == sum((dataset[i].weights > 0).sum() for i in range(21))
    assert dataset[0].ids.dtype == np.int32
    assert dataset[-1].file == "other.jsonl"
    with pytest.raises(IndexError):
        dataset[21]


def test_batches_do_not_change_rows():
    many = [talk(f"question {n}", "a") for n in range(600)]
    dataset = prepare(CHATML, many, max_tokens=100)
    for i in (0, 255, 256, 599):
        np.testing.assert_array_equal(dataset[i].ids, render(CHATML, many[i]).ids)


def test_long_rows_are_refused_once_with_count_longest_and_remedy():
    limit = sorted(lengths(ROWS))[-7]
    with pytest.raises(FaultyData) as caught:
        prepare(CHATML, ROWS, max_tokens=limit)
    (fault,) = caught.value.faults
    assert fault.code == "too_long"
    assert "6 rows are longer" in fault.message
    assert str(max(lengths(ROWS))) in fault.message
    long = [row for row in ROWS if len(render(CHATML, row).ids) > limit]
    assert fault.line == long[0].line
    assert f"rows.jsonl:{long[1].line}" in fault.message
    assert "--data.overflow truncate or drop" in fault.remedy


def test_long_rows_are_dropped_and_counted():
    limit = sorted(lengths(ROWS))[-7]
    dataset = prepare(CHATML, ROWS, max_tokens=limit, overflow="drop")
    (note,) = dataset.notes
    assert (note.code, note.count, len(dataset)) == ("dropped", 6, 14)
    assert dataset.longest == limit
    assert set(note.lines).isdisjoint(dataset.lines.tolist())


def test_long_rows_are_cut_and_counted():
    row = talk("q", "answer " * 30)
    whole = render(CHATML, row)
    limit = len(whole.ids) - 5
    dataset = prepare(CHATML, [row], max_tokens=limit, overflow="truncate")
    np.testing.assert_array_equal(dataset[0].ids, whole.ids[:limit])
    np.testing.assert_array_equal(dataset[0].weights, whole.weights[:limit])
    (note,) = dataset.notes
    assert (note.code, note.count) == ("cut", 1)


def test_a_row_whose_answer_is_cut_away_is_refused_with_its_line():
    rows = [talk("q", "a", line=1), talk("question " * 90, "a", line=2)]
    with pytest.raises(FaultyData) as caught:
        prepare(CHATML, rows, max_tokens=60, overflow="truncate")
    (fault,) = caught.value.faults
    assert (fault.code, fault.line) == ("cut_away", 2)


def test_no_row_left_is_refused():
    with pytest.raises(DataError, match=r"all are longer than 3 tokens \(20 rows\)"):
        prepare(CHATML, ROWS, max_tokens=3, overflow="drop")
    with pytest.raises(DataError, match="there are none"):
        prepare(CHATML, [], max_tokens=3)


def test_faults_of_all_rows_are_raised_at_once_beside_long_rows():
    bad = [talk("q", "a<|im_end|>", line=30), talk("<|im_start|>", "a", line=31)]
    with pytest.raises(FaultyData) as caught:
        prepare(CHATML, [*bad, *ROWS], max_tokens=20)
    found = {(fault.code, fault.line) for fault in caught.value.faults}
    assert {("control_tokens", 30), ("control_tokens", 31)} < found
    assert "too_long" in {code for code, _ in found}


def test_a_row_without_a_trained_answer_is_refused_with_its_line():
    untrained = tuple(dataclasses.replace(m, weight=0.0) for m in ROWS[4].messages)
    with pytest.raises(FaultyData) as caught:
        prepare(CHATML, [dataclasses.replace(ROWS[4], messages=untrained)], max_tokens=99)
    assert [(f.code, f.line) for f in caught.value.faults] == [("nothing_supervised", 5)]


def test_inserted_system_prompt_is_shown_and_counted():
    rows = [talk("q", "a"), talk("q", "a", system="be kind", line=2), talk("p", "a", line=3)]
    (note,) = prepare(tokenizer_of("smollm"), rows, max_tokens=200).notes
    assert (note.code, note.count, note.lines) == ("inserted_system_prompt", 2, (1, 3))
    assert SYSTEM_PROMPT in note.message


@pytest.mark.parametrize(
    ("template", "row", "code"),
    [
        ("chatml", talk("q", "a <file> b"), "special_tokens"),
        ("chatml", talk("q", "a", "and"), "ends_without_answer"),
    ],
)
def test_what_a_user_should_know_is_noted(template, row, code):
    (note,) = prepare(tokenizer_of(template), [row], max_tokens=200).notes
    assert (note.code, note.count) == (code, 1)


@pytest.mark.parametrize("template", ["chatml", "ordinary_end", "phi3", "marked_content"])
def test_template_that_ends_its_answers_needs_no_note(template):
    assert prepare(tokenizer_of(template), [talk("q", "a")], max_tokens=200).notes == ()
