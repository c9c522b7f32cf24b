"""Which runs a comparison makes, and what it refuses."""

import pytest

from tunesmith.config.load import Flags
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.studies.variants import load_variants, read_grid, read_kinds

DATA = {"data": {"train": "a.jsonl"}}


def made(values=None, **options):
    given = Flags({**DATA, **(values or {})})
    found = load_variants(None, given, grid=options.pop("grid", {}), **options)
    return {variant.name: variant.config for variant in found}


def test_python_gives_settings_and_no_flags():
    given = {**DATA, "method": {"rank": "x"}}
    with pytest.raises(ConfigError, match=r"^lora: settings: `method\.rank`: ") as refused:
        load_variants(None, given, grid={})
    assert "command line" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"^lora: --method\.rank: "):
        made({"method": {"rank": "x"}})


def test_methods_by_flag_are_their_defaults():
    found = made(methods=["lora", "prompt"])
    assert {name: config.method.kind for name, config in found.items()} == {
        "lora": "lora",
        "prompt": "prompt",
    }
    assert found["lora"].method.rank == 16


def test_a_files_methods_have_names_and_settings(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "data: {train: a.jsonl}\nmethod: {kind: lora, dropout: 0.1}\n"
        "methods: [prompt, {name: wide, kind: lora, rank: 64}]\n"
    )
    found = {v.name: v.config for v in load_variants(file, {}, grid={})}
    assert list(found) == ["prompt", "wide"]
    assert (found["wide"].method.rank, found["wide"].method.dropout) == (64, 0.1)


def test_the_grid_multiplies_and_names_its_runs():
    found = made(grid={"method.rank": [2, 8], "train.lr": [0.1]})
    assert list(found) == ["lora-rank-2-lr-0.1", "lora-rank-8-lr-0.1"]
    assert [config.method.rank for config in found.values()] == [2, 8]


def test_a_grid_is_read_as_the_key_takes_it():
    assert read_grid(["method.rank=2,8", "train.lr=1e-3,auto", "method.dora=true,false"]) == {
        "method.rank": [2, 8],
        "train.lr": [0.001, "auto"],
        "method.dora": [True, False],
    }


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["method.rank"], "names no values"),
        (["method.rank="], "names no values"),
        (["method.rank=2,,8"], "has an empty value"),
        (["method.rank=2,"], "has an empty value"),
        (["a=1", "a=2"], "is given twice"),
    ],
)
def test_a_grid_of_another_form_is_refused(words, fault):
    with pytest.raises(UsageError, match=f"--grid {words[-1]}: {fault}"):
        read_grid(words)


@pytest.mark.parametrize("text", ["", ",", "lora,", "lora,,full"])
def test_an_empty_name_among_methods_is_refused(text):
    with pytest.raises(UsageError, match="has an empty name"):
        read_kinds(text)
    assert read_kinds("lora, full") == ["lora", "full"]


def test_a_grid_takes_short_flags():
    grid = read_grid(["method=lora,full"])
    assert grid == {"method.kind": ["lora", "full"]}
    assert [config.method.kind for config in made(grid=grid).values()] == ["lora", "full"]


def test_commas_in_brackets_part_no_values_of_a_grid():
    grid = read_grid(["method.targets=[q_proj, v_proj],all-linear"])
    assert grid == {"method.targets": [["q_proj", "v_proj"], "all-linear"]}
    assert list(made(grid=grid)) == ["lora-targets-q_proj+v_proj", "lora-targets-all-linear"]


def test_a_run_is_named_so_that_its_folder_lies_among_the_others():
    starts = ["runs/a/adapter", "../b"]
    assert list(made(grid={"method.init": starts})) == [
        "lora-init-runs-a-adapter",
        "lora-init-b",
    ]
    for name in ("a/b", "..", " ", ""):
        with pytest.raises(ConfigError, match="cannot be the name of a folder"):
            made({"methods": [{"name": name, "kind": "lora"}]})


@pytest.mark.parametrize(
    "options",
    [
        {"methods": ["lora", "lora"]},
        {"methods": ["p-tuning", "prefix"]},
        {"grid": {"method.rank": [2, 2]}},
        {"grid": {"method.rank": [2, 2.0]}},
        {"grid": {"out": ["a", "b"]}},
    ],
)
def test_the_same_run_twice_is_refused(options):
    with pytest.raises(ConfigError, match="the same run is asked for more than once"):
        made(**options)


def test_an_unknown_key_of_a_grid_names_the_nearest():
    with pytest.raises(ConfigError, match=r"method\.rnk.*did you mean `method\.rank`"):
        made(grid={"method.rnk": [2]})


def test_every_fault_of_every_run_is_told():
    with pytest.raises(ConfigError) as error:
        made(methods=["lora", "nothing"], grid={"method.rank": [-1, 2]})
    assert "lora-rank--1" in str(error.value)
    assert "nothing-rank-2" in str(error.value)


def test_a_fault_of_several_runs_is_told_once():
    with pytest.raises(ConfigError) as error:
        made({"train": {"steps": 0}}, methods=["lora", "full"])
    assert error.value.message.count("train.steps") == 1
    assert "lora" not in error.value.message
    with pytest.raises(ConfigError) as error:
        made(methods=["lora", "full"], grid={"method.rank": [2, 4]})
    assert error.value.message.startswith("full-rank-2, full-rank-4: ")
    assert "A grid holds for every method" in error.value.remedy


def test_two_runs_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="several runs would be called lora"):
        made({"methods": ["lora", {"kind": "lora", "rank": 2}]})


@pytest.mark.parametrize("methods", [[], "lora", [{"rank": 2}], 3])
def test_methods_of_another_form_are_refused(methods):
    with pytest.raises(ConfigError, match="`methods` is a list"):
        made({"methods": methods})


def test_settings_without_a_kind_go_into_every_method():
    found = made({"method": {"rank": 4}}, methods=["lora", "qlora"])
    assert [config.method.rank for config in found.values()] == [4, 4]
    with pytest.raises(ConfigError, match=r"`method\.rank` is a key of another kind"):
        made({"method": {"rank": 4}}, methods=["lora", "prompt"])


def test_a_flag_beside_a_files_method_goes_into_it(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("data: {train: a.jsonl}\nmethod: lora\n")
    found = load_variants(file, {"method": {"rank": 4}}, methods=["lora", "prompt"], grid={})
    assert found[0].config.method.rank == 4
    assert found[1].config.method.kind == "prompt"
