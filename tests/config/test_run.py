"""Each file of a list may have a layout of its own; what makes no sense is an error at its key."""

import pytest

from tunesmith.config.load import load_run_config, parse_overrides
from tunesmith.config.run import DataSettings
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.data.records import options_of
from tunesmith.data.rows import ReadOptions
from tunesmith.runs.rows import source_request

SOURCES = [
    {"path": "a.jsonl"},
    {"path": "b.csv", "format": "alpaca", "map": {"answer": 1}, "encoding": "cp949", "weight": 2},
    {"path": "c.xlsx", "map": {}, "part": "Sheet2"},
]


def loaded(tmp_path, text, *words):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_run_config(path, parse_overrides(words)).data


def test_a_mirror_is_a_url():
    with pytest.raises(ConfigError, match="must be a URL of object storage"):
        load_run_config(None, {"data": {"train": "a.jsonl"}, "mirror": "runs/x"})
    run = load_run_config(None, {"data": {"train": "a.jsonl"}, "mirror": "s3://b/runs/x/"})
    assert run.mirror == "s3://b/runs/x"


def test_what_stands_beside_a_file_goes_before_what_stands_for_all():
    settings = DataSettings(
        train=SOURCES, format="chat", map={"messages": "m"}, encoding="utf-16", delimiter=";"
    )
    asked = [source_request(settings, each) for each in settings.sources]
    assert [each.format for each in asked] == ["chat", "alpaca", "chat"]
    assert [each.columns for each in asked] == [{"messages": "m"}, {"answer": "1"}, {}]
    assert [each.options for each in asked] == [
        ReadOptions("utf-16", ";"),
        ReadOptions("cp949", ";"),
        ReadOptions("utf-16", ";", "Sheet2"),
    ]
    assert asked[1].options == options_of(settings, settings.sources[1])


def test_one_file_may_be_a_mapping_in_train_and_eval(tmp_path):
    data = loaded(tmp_path, "data: {train: {path: a, map: {prompt: 0}}, eval: {path: b, map: {}}}")
    assert (data.sources[0].path, data.sources[0].map) == ("a", {"prompt": "0"})
    assert (data.held.path, data.held.map, data.held_share) == ("b", {}, 0.0)
    again = DataSettings.model_validate(data.model_dump(mode="json", exclude_none=True))
    assert again.held == data.held
    by_flag = load_run_config(None, parse_overrides(["--data", "a", "--data.eval", "[{path: b}]"]))
    assert by_flag.data.held.path == "b"


def test_shares_and_plain_files_are_held_out_as_before():
    assert (DataSettings(train="a").held, DataSettings(train="a").held_share) == (None, 0.1)
    assert DataSettings(train="a", eval="b").held.path == "b"
    assert DataSettings(train="a", eval="b").held_share == 0.0
    assert DataSettings(train="a", eval={"path": "b"}, drop="leakage").drop == ("leakage",)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("train: [a, {path: b, formt: chat}]", "unknown key `data.train.1.formt`; did you mean"),
        ("train: [{path: b, format: csv}]", "`data.train.0.format`: "),
        ("train: [{path: b, map: x}]", "`data.train.0.map`: "),
        ("train: [{path: b, map: {prompt: [1]}}]", "`data.train.0.map.prompt`: "),
        ("train: [{format: chat}]", "`data.train.0.path`: "),
        ("train: {pth: a}", "`data.train"),
        ("train: a, map: {prompt: true}", "`data.map.prompt`: "),
        ("train: a, eval: {path: b, weight: 2}", "`data.eval`: a weight has no effect"),
        ("train: a, eval: [b, c]", "`data.eval`: one file is held out"),
        ("train: a, eval: {path: b, encodng: x}", "did you mean `data.eval.encoding`?"),
    ],
)
def test_a_fault_of_a_source_names_its_key(tmp_path, data, told):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, f"data: {{{data}}}")
    assert told in error.value.message


def test_pairs_of_a_map_may_stand_in_one_word():
    words = ["--data.map", "prompt=0,completion=1, or 2", "--data.map", "system=s"]
    assert parse_overrides(words)["data"]["map"] == {
        "prompt": "0",
        "completion": "1, or 2",
        "system": "s",
    }
    with pytest.raises(UsageError, match="gives prompt twice"):
        parse_overrides(["--data.map", "prompt=a,prompt=b"])
