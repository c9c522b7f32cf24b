"""A map may use any name that a format knows for a column; turned around it says which way."""

import pytest

from tunesmith.data.formats.layout import meaning, renamed, resolved
from tunesmith.data.formats.table import FORMATS, choose_format
from tunesmith.data.read import scan

TURNS = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
ROWS = {
    "chat": {"messages": CHAT},
    "prompt-completion": {"prompt": "q", "completion": "a"},
    "sharegpt": {"conversations": TURNS},
    "alpaca": {"instruction": "q", "output": "a"},
    "query-response": {"query": "q", "response": "a"},
    "multiple-choice": {"query": "q", "choices": ["x", "a"], "gold": 1},
    "text": {"text": "a"},
}
NAMES = [
    (format.name, column, other)
    for format in FORMATS.values()
    for column in (*format.columns, *format.optional)
    for other in dict.fromkeys(
        (
            column,
            *format.columns.get(column, ()),
            *(theirs for theirs, ours in format.synonyms.items() if ours == column),
        )
    )
]


@pytest.mark.parametrize(("name", "column", "other"), NAMES)
def test_each_name_of_a_column_maps_it(write, name, column, other):
    row = {"x1" if key == column else key: value for key, value in ROWS[name].items()}
    row |= {"x1": ""} if column not in ROWS[name] else {}
    whole = scan(write(*[ROWS[name]] * 2), format=name)
    mapped = scan(write(row, row), format=name, columns={other: "x1"})
    assert (mapped.faults, mapped.notes) == ((), whole.notes)
    assert [c.messages for c in mapped.conversations] == [c.messages for c in whole.conversations]


@pytest.mark.parametrize(("name", "column", "other"), NAMES)
def test_a_map_the_other_way_round_is_told_so(write, name, column, other):
    row = {"x1" if key == column else key: value for key, value in ROWS[name].items()} | {"x1": ""}
    (fault,) = scan(write(row, row), format=name, columns={"x1": other}).faults
    assert fault.code == "unknown_mapping"
    assert f"write --data.map {other}=x1." in fault.remedy


@pytest.mark.parametrize(
    ("row", "columns", "format"),
    [
        ({"question": "q", "output": "a"}, {"answer": "output"}, "query-response"),
        ({"instruction": "q", "output": "a"}, {"answer": "output"}, "alpaca"),
        ({"prompt": "q", "output": "a"}, {"answer": "output"}, "prompt-completion"),
        ({"Q": "q", "A": "a"}, {"question": "Q", "answer": "A"}, "query-response"),
        ({"Q": "q", "A": "a"}, {"q": "Q", "a": "A"}, "prompt-completion"),
        ({"Q": "q", "A": "a"}, {"instruction": "Q", "answer": "A"}, "alpaca"),
        ({"Q": "q", "A": "a"}, {"text": "Q", "label": "A"}, "prompt-completion"),
        ({"text": "q", "label": "a"}, {"prompt": "text", "answer": "label"}, "prompt-completion"),
        ({"Q": "q", "c": ["a"], "n": 0}, {"question": "Q", "options": "c", "answer": "n"}, None),
        ({"d": CHAT}, {"conversation": "d"}, "sharegpt"),
        ({"body": "a"}, {"body": "body"}, "text"),
        ({"p": "q", "chosen": "a", "rejected": "b"}, {"prompt": "p", "answer": "chosen"}, None),
    ],
)
def test_the_format_is_the_one_in_which_the_names_mean_something(write, row, columns, format):
    reading = scan(write(row, row), columns=columns)
    expected = format or ("multiple-choice" if "c" in row else "prompt-completion")
    assert (reading.format, reading.faults) == (expected, ())
    assert reading.conversations[0].messages[-1].content == "a"


def test_names_that_fit_two_formats_are_asked_about():
    choice = choose_format([{"d": CHAT}], "auto", {"dialog": "d"})
    (problem,) = choice.problems
    assert problem.code == "ambiguous_format"
    assert "--data.format chat or sharegpt" in problem.remedy


def test_a_map_is_kept_under_the_names_of_the_format():
    choice = choose_format([{"instruction": "q", "output": "a"}], "auto", {"answer": "output"})
    assert choice.columns == {"output": "output"}
    assert meaning("answer", FORMATS["alpaca"]) == "output"
    assert resolved({"answer": "x", "response": "y"}, FORMATS["alpaca"]) is None
    assert renamed({"a": 1, "b": 2, "c": 3}, {"b": "a"}) == {"c": 3, "b": 1}


def test_a_column_that_is_mapped_away_is_missing(write):
    row = ROWS["prompt-completion"]
    (fault,) = scan(write(row), format="prompt-completion", columns={"history": "prompt"}).faults
    assert (fault.code, '"prompt" is missing' in fault.message) == ("missing_column", True)
