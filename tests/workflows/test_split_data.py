"""Two files from one: whole groups on one side, rows byte for byte, any order of rows."""

import json
import random

import pytest

from tests.data.quality.rows import SAMPLES
from tunesmith.errors import DataError
from tunesmith.workflows.split_data import SplitSettings, split_data

BANKING = SAMPLES / "banking77" / "train.jsonl"


@pytest.fixture
def split(tmp_path):
    def done(file, name="out", **settings):
        return split_data(SplitSettings(file=str(file), out=str(tmp_path / name), **settings))

    return done


@pytest.fixture
def write(tmp_path):
    def written(*rows, name="rows.jsonl", end=b"\n"):
        path = tmp_path / name
        lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
        path.write_bytes(end.join(lines))
        return path

    return written


def row(i, text=None, **more):
    return {"prompt": text or f"question {i}", "completion": f"answer {i % 3}", **more}


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def test_rows_stay_as_they_are_and_each_is_on_one_side(split):
    done = split(BANKING, share=0.2)
    assert sorted(lines(done.train) + lines(done.held)) == sorted(lines(BANKING))
    assert (len(lines(done.train)), len(lines(done.held))) == done.rows == (160, 40)


def test_odd_bytes_are_kept_and_marks_and_blank_lines_are_not(split, write):
    odd = b'{"completion":"b" ,  "prompt": "\\u00e9t\xc3\xa9"}'
    file = write(b'\xef\xbb\xbf{"prompt": "x", "completion": "a"}', b"", odd, row(3), end=b"\r\n")
    done = split(file, share=0.4)
    written = lines(done.train) + lines(done.held)
    assert odd + b"\r\n" in written
    assert len(written) == 3
    assert not any(line.startswith(b"\xef\xbb\xbf") for line in written)
    assert all(line.endswith(b"\n") for line in written)


@pytest.mark.parametrize("by", ["cluster", "row", "completion"])
def test_the_choice_depends_on_rows_and_seed_and_not_on_their_order(by, split, tmp_path):
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_bytes(b"".join(random.Random(0).sample(lines(BANKING), 200)))
    first, other = split(BANKING, "a", by=by), split(shuffled, "b", by=by)
    assert set(lines(first.held)) == set(lines(other.held))
    assert set(lines(split(BANKING, "c", by=by, seed=1).held)) != set(lines(first.held))


def test_paraphrases_never_straddle_the_split(split, write):
    topics = ["alarm", "card", "order", "loan", "visa", "pizza", "train", "movie"]
    ways = ("how do i get my {}", "How do I get the {}?", "please how do i get my {}")
    rows = [row(i, way.format(t) + f" from shop {t}") for i, t in enumerate(topics) for way in ways]
    for seed in range(5):
        done = split(write(*rows), f"out{seed}", share=0.3, seed=seed)
        sides = [
            {t for t in topics for line in lines(p) if t.encode() in line}
            for p in (done.train, done.held)
        ]
        assert sides[0].isdisjoint(sides[1])
        assert sides[1]


def test_rows_of_a_column_stay_together(split, write):
    rows = [row(i, user=i // 4) for i in range(40)]
    done = split(write(*rows), share=0.25, by="user")
    train, held = ({json.loads(line)["user"] for line in lines(p)} for p in (done.train, done.held))
    assert train.isdisjoint(held)
    assert (done.groups, done.largest, done.rows) == (10, 4, (32, 8))


@pytest.mark.parametrize("stratify", ["answer", "completion"])
def test_each_class_is_held_out_in_its_share(stratify, split, write):
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    rows = [{"prompt": f"text {i} x{i}", "completion": label} for i, label in enumerate(labels)]
    done = split(write(*rows), share=0.2, stratify=stratify)
    assert done.strata == {"a": (48, 12), "b": (24, 6), "c": (8, 2)}
    assert split(write(*rows), "again", share=0.2).strata == {}


def test_other_files_become_json_lines(split, write):
    file = write(row(1), row(2), row(3), name="rows.json")
    done = split(file, share=0.4)
    assert sorted(
        json.loads(line)["prompt"] for p in (done.train, done.held) for line in lines(p)
    ) == ["question 1", "question 2", "question 3"]


def test_nothing_is_overwritten_and_nothing_half_written(split, write, tmp_path):
    split(write(row(1), row(2)), share=0.5)
    with pytest.raises(DataError, match="exists already"):
        split(write(row(1), row(2)), share=0.5)
    with pytest.raises(DataError):
        split(write(row(1), {"prompt": "x"}), "faulty", share=0.5)
    assert not (tmp_path / "faulty").exists()


def test_a_wrong_column_is_told_once_and_a_missing_value_with_its_line(split, write):
    rows = [row(1, user=1), row(2, user=2), row(3)]
    with pytest.raises(DataError, match=r"rows.jsonl:3: \"user\" is missing"):
        split(write(*rows), by="user")
    with pytest.raises(DataError) as caught:
        split(write(*rows[:2]), by="uzer")
    assert len(caught.value.faults) == 1


def test_what_cannot_be_split_says_by_what(split, write):
    with pytest.raises(DataError, match="1 different value of `user`") as caught:
        split(write(row(1, user=1), row(2, user=1)), by="user")
    assert "--by" in caught.value.remedy
