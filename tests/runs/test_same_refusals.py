"""`train` refuses exactly what `data check` faults, with the same words."""

import functools
import json
import random
import re

import pytest

from tests.data import breaking
from tests.runs.tiny import base_folder, rows_file
from tunesmith.cli.main import main
from tunesmith.config import load_run_config
from tunesmith.core.errors import DataError
from tunesmith.data.faults import SHOWN_CAUSES, FaultyData, cause_text, causes
from tunesmith.runs import inspect_data as inspecting
from tunesmith.runs.inspect_data import inspect_data, open_tokenizer
from tunesmith.runs.inspection import inspect_unknown
from tunesmith.runs.rows import load_rows

FEW, MANY = 60, 600
MAKERS = (breaking.json_lines, breaking.document, breaking.table, breaking.anywhere)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def opened_once(base, monkeypatch, home):
    opened = functools.cache(open_tokenizer)

    def once(*args, options, **others):
        assert not options
        return opened(*args, **others)

    monkeypatch.setattr(inspecting, "open_tokenizer", once)


def several(rng):
    """One faulty file, or lines of several after one another."""
    one = rng.choice(MAKERS)(rng)
    if one.name != "rows.jsonl" or rng.random() < 0.3:
        return one.name, one.data
    others = [breaking.json_lines(rng) for _ in range(rng.randrange(1, 4))]
    return one.name, b"".join(each.data for each in (one, *others) if each.name == "rows.jsonl")


def settings(rng, folder):
    """Data settings over broken files, and now and then over sound ones."""

    def source(name):
        kind, data = several(rng)
        path = folder / f"{name}-{kind}"
        if rng.random() < 0.15:
            path = rows_file(folder / f"{name}.jsonl", rng.randrange(1, 6))
        else:
            path.write_bytes(data)
        return str(path)

    values = {
        "train": source("train"),
        "eval": rng.choice([0, 0.1, 0.5, source("eval")]),
        "overflow": rng.choice(["error", "error", "truncate", "drop"]),
        "max_tokens": rng.choice([None, None, 20, 40]),
        "document": rng.choice(["row", "answer"]),
        "control_tokens": rng.choice(["refuse", "refuse", "text"]),
    }
    if rng.random() < 0.3:
        values["drop"] = ["duplicates", "long_tail"]
    return values


def checked(config):
    found = inspect_data(config)
    assert inspect_unknown(config.data) in (None, found)
    listed = [fault for each in found for fault in each.faults.listed]
    return listed, [each.faults.unlisted for each in found]


def refused(config, base):
    """What a run refuses for: the same call that it makes."""
    loaded = open_tokenizer(str(base))
    try:
        load_rows(config.data, loaded.tokenizer, context=loaded.context, seed=0)
    except FaultyData as error:
        return error.faults, error
    return [], None


def agree(base, folder, seed):
    rng = random.Random(seed)
    folder.mkdir()
    values = settings(rng, folder)
    config = load_run_config(None, {"model": str(base), "data": values})
    try:
        listed, unlisted = checked(config)
    except DataError as error:  # of the base, not of rows
        with pytest.raises(DataError, match=re.escape(error.message)):
            refused(config, base)
        return 0
    faults, error = refused(config, base)
    assert [str(fault) for fault in faults] == [str(fault) for fault in listed], values
    assert faults == listed
    if error is not None:
        lines = str(error).splitlines()
        texts = {cause_text(cause) for cause in causes(listed)}
        shown = [line for line in lines if line in texts]
        assert len(shown) == min(SHOWN_CAUSES, len(texts))
        assert not any(unlisted)
    return len(faults)


def test_files_of_no_known_format_are_reported_the_same_without_a_base(base, tmp_path):
    names = [tmp_path / "a.csv", tmp_path / "b.jsonl", tmp_path / "c.csv"]
    names[0].write_text("foo,bar\na,b\nc,d\n")
    names[1].write_text('{"foo": 1}\n\n{"foo": 2\n{"foo": 3}\n')
    names[2].write_text("")
    for train, held in ([0], 0.5), ([1], str(names[0])), ([0, 1], str(names[2])), ([2, 1], 0):
        data = {"train": [str(names[i]) for i in train], "eval": held}
        config = load_run_config(None, {"model": str(base), "data": data})
        assert inspect_unknown(config.data) == inspect_data(config)
    sound = {"train": [str(names[0]), str(rows_file(tmp_path / "rows.jsonl", 3))]}
    config = load_run_config(None, {"model": str(base), "data": sound})
    assert inspect_unknown(config.data) is None


def test_both_say_the_same_of_broken_files(base, tmp_path):
    found = [agree(base, tmp_path / str(seed), seed) for seed in range(FEW)]
    assert sum(1 for count in found if count == 0) > 3
    assert sum(1 for count in found if count > 1) > 10


@pytest.mark.slow
def test_both_say_the_same_of_many_broken_files(base, tmp_path):
    for seed in range(FEW, MANY):
        agree(base, tmp_path / str(seed), seed)


def test_more_faults_than_are_listed_are_counted_alike(base, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "q", "completion": "a"}) + "\n{}\n" * 1500)
    config = load_run_config(None, {"model": str(base), "data": {"train": str(path)}})
    (inspection,) = inspect_data(config)
    faults, error = refused(config, base)
    assert list(inspection.faults.listed) == faults
    assert inspection.faults.unlisted == error.unlisted == {"missing_column": 2000}
    assert "3,000 faults: 3,000 missing_column." in str(error)


@pytest.mark.parametrize(
    ("rows", "flags"),
    [
        ([{"prompt": "x"}, {"prompt": "q"}], ()),
        ([{"prompt": "q", "completion": "a<|im_end|>"}], ()),
        ([{"prompt": "q", "completion": "a"}], ("--data.eval", "0.5")),
        (
            [{"prompt": f"q{i}", "completion": "a " * 40} for i in range(4)],
            ("--data.max_tokens", "9"),
        ),
        (
            [{"prompt": f"q{i}", "completion": "a " * 40} for i in range(4)],
            ("--data.max_tokens", "9", "--data.overflow", "drop"),
        ),
    ],
)
def test_the_commands_say_the_same(base, tmp_path, capsys, rows, flags):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [str(path), "--model", str(base), *flags]
    assert main(["data", "check", *words]) == 1
    check = capsys.readouterr().out.splitlines()
    run = tmp_path / "run"
    assert main(["train", "--data", *words, "--out", str(run), "--dtype", "float32"]) == 1
    told = capsys.readouterr().err
    faults = [line for line in check if line.startswith(str(path)) and ": format " not in line]
    assert faults
    for line in faults:
        assert line in told
    assert not run.exists()
