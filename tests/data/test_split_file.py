"""Two files from one: whole groups on one side, rows byte for byte, any order of rows."""

import gzip
import json
import random
from itertools import chain

import pytest

from tests.data.quality.rows import SAMPLES
from tunesmith.core.errors import DataError, RunError
from tunesmith.data import split_file as splitting
from tunesmith.data.read import SourceRequest, scan
from tunesmith.data.records import AUTO
from tunesmith.data.rows import ReadOptions
from tunesmith.data.split import choose_held
from tunesmith.data.split_file import SplitSettings, split_data

BANKING = SAMPLES / "banking77" / "train.jsonl"


@pytest.fixture
def split(tmp_path):
    def done(file, name="out", columns=None, options=AUTO, **settings):
        asked = SourceRequest(str(file), "auto", columns or {}, options)
        return split_data(SplitSettings(asked, str(tmp_path / name), **settings))

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


def test_the_working_folder_is_refused(split, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="is the working folder"):
        split(write(row(1), row(2)), ".", share=0.5)


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
    with pytest.raises(DataError, match="all have the same value of `user`") as caught:
        split(write(row(1, user=1), row(2, user=1)), by="user")
    assert "--by" in caught.value.remedy


def prompts(done):
    return [[json.loads(line)["prompt"] for line in lines(p)] for p in (done.train, done.held)]


def test_one_row_needs_others_and_no_other_way(split, write):
    with pytest.raises(DataError) as refusal:
        split(write(b'{"prompt": "q", "completion": "a"}\n'))
    assert refusal.value.remedy == "Add other rows."


def test_files_of_a_folder_whose_lines_have_the_same_numbers_are_not_mixed(split, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abc":
        some = (json.dumps(row(i, f"{name} {i} {name * 5}", file=name)) for i in range(20))
        (folder / f"{name}.jsonl").write_text("\n".join(some))
    done = split(folder, share=0.3, by="row", stratify="file")
    train, held = prompts(done)
    assert (len(train), len(held)) == done.rows == (42, 18)
    assert len({*train, *held}) == 60
    assert done.strata == dict.fromkeys("abc", (14, 6))
    assert [sum(p.startswith(name) for p in held) for name in "abc"] == [6, 6, 6]


def test_rows_that_share_a_line_are_rows_of_their_own(split, write):
    inner = ",".join(json.dumps(row(i, f"number {i} of them")) for i in range(1, 20))
    file = write(f"[\n{json.dumps(row(0))},\n{inner}\n]".encode(), name="rows.json")
    done = split(file, share=0.25, by="row")
    train, held = prompts(done)
    assert (len(train), len(held)) == done.rows == (15, 5)


@pytest.mark.parametrize("kind", ["utf-16", "old", "document", "gzip"])
def test_lines_that_cannot_be_copied_are_written_anew(split, tmp_path, kind):
    rows = [row(i, f"wörd {i}") for i in range(10)]
    text = "\n".join(json.dumps(each, ensure_ascii=False) for each in rows) + "\n"
    data = {
        "utf-16": text.encode("utf-16"),
        "old": text.replace("\n", "\r").encode(),
        "document": json.dumps(rows, indent=1).encode(),
        "gzip": gzip.compress(text.encode()),
    }[kind]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(data)
    done = split(file, share=0.2, by="row")
    assert sorted(chain(*prompts(done))) == sorted(each["prompt"] for each in rows)


def test_what_a_file_does_not_say_itself_can_be_said(split, tmp_path):
    file = tmp_path / "rows.txt.csv"
    table = "prompt#completion\n" + "".join(f"질문 {i}#답 {i}\n" for i in range(10))
    file.write_bytes(table.encode("cp949"))
    done = split(file, share=0.2, by="row", options=ReadOptions("cp949", "#"))
    assert sorted(chain(*prompts(done))) == [f"질문 {i}" for i in range(10)]


def test_mapped_rows_have_standard_columns_and_need_no_map(split, write, tmp_path):
    lists = write(json.dumps([["q", "a"], ["r", "b"]]).encode(), name="rows.json")
    done = split(lists, share=0.5, columns={"prompt": "0", "completion": "1"})
    assert sorted(written(done), key=str) == [
        {"prompt": "q", "completion": "a"},
        {"prompt": "r", "completion": "b"},
    ]
    table = "번호,질문,답변,completion\n" + "".join(f"{i},가{i},나{i},x\n" for i in range(4))
    (tmp_path / "a.csv").write_text(table)
    done = split(tmp_path / "a.csv", name="b", by="번호", columns={"completion": "답변"})
    assert written(done)[0].keys() == {"prompt", "completion", "번호"}
    assert done.is_mapped


@pytest.mark.parametrize(
    ("row", "keys", "roles"),
    [
        ({"질문": "q", "답변": "a"}, {"prompt", "completion"}, ["user", "assistant"]),
        ({"지시": "q", "입력": "x", "출력": "a"}, {"prompt", "completion"}, ["user", "assistant"]),
        ({"시스템": "s", "질문": "q", "답변": "a"}, {"messages"}, ["system", "user", "assistant"]),
        ({"문제": "q", "보기": ["a", "b"], "정답": 1}, {"query", "choices", "gold"}, None),
    ],
)
def test_headings_in_korean_become_standard_columns(split, write, row, keys, roles):
    rows = [{**row, "메모": str(i)} for i in range(4)]
    file = write(*rows)
    done = split(file, by="row", share=0.5)
    assert all(each.keys() == keys | {"메모"} for each in written(done))
    before, after = scan(file), scan(done.train)
    assert after.faults == ()
    assert after.conversations[0].messages == before.conversations[0].messages
    assert roles is None or [m.role for m in after.conversations[0].messages] == roles


def written(done):
    return [json.loads(x) for p in (done.train, done.held) for x in lines(p)]


@pytest.mark.parametrize("by", ["answer", "row", "cluster"])
def test_rows_can_stay_together_by_their_answer(split, write, by):
    rows = [row(i, row=i % 5, cluster=i % 2) for i in range(30)]
    done = split(write(*rows), by=by, share=0.3, stratify="row" if by == "row" else None)
    answers = [{json.loads(x)["completion"] for x in lines(p)} for p in (done.train, done.held)]
    assert by != "answer" or answers[0].isdisjoint(answers[1])
    assert sum(done.rows) == 30


def test_half_a_character_in_a_column_that_is_not_read_is_kept(split, write):
    rows = [json.dumps(row(i)).encode() for i in range(3)]
    rows[1] = rows[1].replace(b"{", b'{"extra": "\\ud800", ', 1)
    done = split(write(b"[" + b",\n".join(rows) + b"]", name="rows.json"), share=0.4, by="row")
    assert b"\\ud800" in done.train.read_bytes() + done.held.read_bytes()


def test_a_file_that_changes_meanwhile_is_refused(split, write, monkeypatch, tmp_path):
    file = write(*(row(i) for i in range(10)))
    monkeypatch.setattr(splitting, "choose_held", lambda *a, **k: _changed(file, a, k))
    with pytest.raises(DataError, match="changed while"):
        split(file, by="row")
    assert not (tmp_path / "out").exists()


def _changed(file, args, options):
    file.write_bytes(file.read_bytes() + json.dumps(row(99)).encode())
    return choose_held(*args, **options)
