"""Recognition: one layout is taken and why is said; where two would do, the question is asked."""

from typing import get_args

import pytest

from tunesmith.config.run import Format as FormatName
from tunesmith.data.formats.table import FORMATS, recognize, why

ROWS = {
    "chat": {"messages": []},
    "prompt-completion": {"prompt": "q", "completion": "a"},
    "sharegpt": {"conversation": []},
    "alpaca": {"instruction": "i", "response": "o", "context": ""},
    "query-response": {"question": "q", "answer": "a", "id": 3},
    "multiple-choice": {"question": "q", "choices": ["a"], "answer": 0, "subject": "s"},
    "text": {"text": "t", "url": "u", "timestamp": "x", "title": "y"},
}


def test_the_config_knows_each_format_of_the_table_and_no_other():
    assert get_args(FormatName) == ("auto", *FORMATS)
    assert ROWS.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_layout_is_recognised_and_said(name):
    format, problem = recognize([ROWS[name]] * 3 + [{"other": 1}])
    assert (format.name, problem) == (name, None)
    assert why(format, [ROWS[name]] * 2, {}).startswith("every row has ")
    assert why(format, [ROWS[name], {}], {}).startswith("1 of 2 rows with ")
    for column in list(ROWS[name])[:1]:
        assert column in why(format, [ROWS[name]], {})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROWS["chat"] | ROWS["prompt-completion"], ("chat", "prompt-completion")),
        (ROWS["chat"] | ROWS["sharegpt"], ("chat", "sharegpt")),
        (ROWS["alpaca"] | ROWS["prompt-completion"], ("alpaca", "prompt-completion")),
        ({"text": "t", "label": "l"}, ("--data.format text", "--data.map completion=label")),
        ({"text": "t", "Category": "l"}, ("--data.format text", "--data.map completion=Category")),
        ({"text": "t", "summary": "s"}, ("--data.format text", "--data.map completion=summary")),
    ],
)
def test_two_readings_are_asked_about_with_both_named(row, words):
    format, problem = recognize([row] * 2)
    assert format is None
    assert problem.code == "ambiguous_format"
    for word in words:
        assert word in problem.remedy


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        (
            {"Q": 1, "A": 2, "label": 0},
            "prompt-completion with --data.map prompt=Q --data.map completion=A",
        ),
        ({"prompt": 1, "response": 2}, "prompt-completion with --data.map completion=response."),
        ({"request": 1, "response": 2}, "query-response with --data.map query=request."),
        ({"response": 2}, "text with --data.map text=response."),
        ({"dialog": 2}, "--data.map messages=dialog."),
        ({"source": 1, "target": 2, "title": 3}, "prompt=source --data.map completion=target."),
        ({"context": 1, "continuation": 2}, "prompt=context --data.map completion=continuation."),
        ({"What is asked?": 1}, "text with --data.map 'text=What is asked?',"),
        ({"prompt": 1}, "--data.map prompt=COLUMN"),
        ({"prompt": 1, "The Completion": 2}, "with --data.map 'completion=The Completion'."),
        ({"input": 1, "output": 2}, "--data.map prompt=input --data.map completion=output."),
        ({"review": 1, "rating": 2}, "map them: --data.map prompt=COLUMN"),
    ],
)
def test_unknown_columns_get_the_flags_with_fewest_changes(row, remedy):
    format, problem = recognize([row])
    assert (format, problem.code) == (None, "unknown_format")
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, "completion=chosen"),
        ({"chosen": [{"role": "user"}], "rejected": []}, "messages=chosen"),
        ({"prompt": "p", "chosen": [{"role": "user"}], "rejected": []}, "messages=chosen"),
        ({"prompt": [], "chosen": [{"role": "assistant"}], "rejected": []}, "messages=chosen"),
        ({"prompt": [1], "chosen": [{"role": "assistant"}], "rejected": []}, "completion=chosen"),
        (
            {"question": "p", "chosen": "c", "rejected": "r"},
            "prompt=question --data.map completion=chosen",
        ),
        ({"chosen": "\n\nHuman: hi", "rejected": "x"}, "Cut the chosen texts"),
        ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "`messages` list"),
    ],
)
def test_preference_pairs_are_refused_with_the_way_out(row, remedy):
    format, problem = recognize([row])
    assert (format, problem.code) == (None, "preference")
    assert remedy in problem.remedy
