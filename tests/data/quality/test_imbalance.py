import json

import pytest

from tests.data.quality.rows import asked, found, sample
from tunesmith.data.quality.distribution import Imbalance
from tunesmith.data.quality.text import see


def labelled(counts, wrap=str):
    labels = [label for label, count in counts.items() for _ in range(count)]
    return asked(*((f"q{i}", wrap(label)) for i, label in enumerate(labels)))


def codes(rows):
    return [code for code, _ in found(Imbalance(), rows)]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 50, "b": 50}, False),
        ({"a": 79, "b": 21}, False),
        ({"a": 81, "b": 19}, True),  # one answer is nearly all
        ({"a": 30, "b": 30, "c": 3}, False),
        ({"a": 31, "b": 30, "c": 3}, True),  # a class below a tenth of the largest
        ({"a": 100}, False),
        ({"a": 9, "b": 9, "bb": 1}, False),  # where all are few
        ({"a": 15, "b": 14, "bb": 1}, True),  # a class that is seen once
    ],
)
def test_a_rare_class_beside_a_common_one_is_told(counts, told):
    assert codes(labelled(counts)) == (["imbalance"] if told else [])


def test_the_rows_of_rare_classes_are_given():
    assert found(Imbalance(), labelled({"a": 40, "b": 30, "c": 2}))[0][1] == [70, 71]


def test_fields_of_json_answers_are_classes_too():
    rows = labelled({"a": 90, "b": 4}, wrap=lambda label: json.dumps({"intent": label, "n": 1}))
    observer = Imbalance()
    for row in rows:
        observer.observe(see(row))
    (finding,) = observer.findings()
    assert "`intent`" in finding.message
    assert finding.rows.tolist() == [90, 91, 92, 93]


def test_texts_are_no_classes():
    assert codes(asked(*((f"q{i}", f"answer {i // 2}") for i in range(100)))) == []
    assert codes(asked(*((f"q{i}", "x" * (i % 2 * 300)) for i in range(100)))) == []


def test_real_classes_of_equal_size_are_not_told():
    assert codes(sample("clinc150/train.jsonl")) == []
