"""Chunks hold every record once, in order, and no more at once than is allowed."""

import json

import pytest

from tunesmith.data.chunks import Size, characters_of, chunked
from tunesmith.data.records import Record


def record(line, characters=1):
    return Record(line, {"text": "x" * characters})


def lines(chunks):
    return [[each.line for each in chunk] for chunk in chunks]


def test_chunks_are_full_but_for_the_last():
    records = iter([record(i) for i in range(7)])
    assert lines(chunked(records, Size(3, 1000))) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunked(iter(()), Size(3, 1000))) == []


def test_large_records_make_small_chunks():
    sizes = [10, 10, 90, 500, 10]
    records = iter([record(i, size) for i, size in enumerate(sizes)])
    assert lines(chunked(records, Size(100, 100))) == [[0, 1, 2], [3], [4]]


def test_what_is_not_asked_for_is_left():
    records = iter([record(i) for i in range(10)])
    assert len(next(chunked(records, Size(4, 1000)))) == 4
    assert next(records).line == 4


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"role": "user", "content": "hello"}, {"role": "x", "content": "y" * 100}]},
        {"a": None, "b": 3, "c": [1.5, True, "text"]},
        "text",
    ],
)
def test_the_characters_of_a_value_are_about_those_of_its_json(value):
    size = len(json.dumps(value))
    assert 0.4 * size <= characters_of(value) <= 1.5 * size


def test_a_value_of_any_depth_has_a_size():
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    assert characters_of(deep) > 0
