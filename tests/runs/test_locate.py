import json

import pytest

from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import AdapterError, RunError
from tunesmith.runs.locate import adapter_folders, find_adapter, locate, require_known

DEFAULT = RunConfig.model_fields["model"].default


def adapter(folder, base="some/base"):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def run(folder, model="my-model", kind="adapter"):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model: {model}\n")
    if kind == "adapter":
        adapter(folder / "adapter", base="/cache/converted")
    elif kind == "model":
        (folder / "model").mkdir()
    return folder


def test_nothing_named_is_the_default_model():
    found = locate(None)
    assert (found.model, found.adapters, found.participants) == (DEFAULT, {}, {"base": None})


def test_a_model_answers_under_its_name():
    found = locate("models/tiny")
    assert (found.model, found.participants) == ("models/tiny", {"tiny": None})


def test_a_run_is_its_model_with_its_adapter(tmp_path):
    found = locate(str(run(tmp_path / "one")))
    assert found.model == "my-model"
    assert found.adapters == {"one": tmp_path / "one" / "adapter"}
    assert found.participants == {"one": "one"}


def test_the_adapter_folder_of_a_run_is_the_run(tmp_path):
    run(tmp_path / "one")
    assert locate(str(tmp_path / "one" / "adapter")) == locate(str(tmp_path / "one"))


def test_a_full_run_is_a_model_of_its_own(tmp_path):
    found = locate(str(run(tmp_path / "one", kind="model")))
    assert found.model == str(tmp_path / "one" / "model")
    assert (found.adapters, found.participants) == ({}, {"one": None})
    assert (found.run, locate("models/tiny").run) == ("one", None)


def test_an_adapter_alone_brings_its_base(tmp_path):
    found = locate(None, [str(adapter(tmp_path / "a"))])
    assert (found.model, found.participants) == ("some/base", {"a": "a"})


def test_adapters_over_a_model_answer_and_the_bare_model_only_if_asked(tmp_path):
    a = str(adapter(tmp_path / "a"))
    assert locate("m", [a]).participants == {"a": "a"}
    assert locate("m", ["base", a]).participants == {"base": None, "a": "a"}
    assert locate("m", [a]).model == "m"


def test_a_run_answers_beside_further_adapters(tmp_path):
    found = locate(str(run(tmp_path / "one")), ["base", str(adapter(tmp_path / "a"))])
    assert found.participants == {"one": "one", "base": None, "a": "a"}


def test_two_of_the_same_name_are_told_apart(tmp_path):
    x, y = adapter(tmp_path / "x" / "a"), adapter(tmp_path / "y" / "a")
    found = locate("m", [str(x), str(y)])
    assert found.adapters == {"a": x, "a-2": y}


def test_a_run_without_result_says_how_to_go_on(tmp_path):
    folder = run(tmp_path / "one", kind="none")
    with pytest.raises(RunError, match="no result yet") as refused:
        locate(str(folder))
    assert f"tunesmith train --resume {folder}" in refused.value.remedy


@pytest.mark.parametrize("kind", ["model", "absent"])
def test_what_is_no_adapter_is_refused(tmp_path, kind):
    folder = tmp_path / "one"
    if kind == "model":
        run(folder, kind="model")
    with pytest.raises(AdapterError, match="is not an adapter"):
        locate("m", [str(folder)])


def test_a_damaged_adapter_is_named(tmp_path):
    (adapter(tmp_path / "a") / "adapter_config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"adapter_config\.json names no base") as refused:
        locate(None, [str(tmp_path / "a")])
    assert "--model" in refused.value.remedy
    for text, told in (("", "is empty"), ("{", "is no JSON"), ("[]", "no JSON object")):
        (tmp_path / "a" / "adapter_config.json").write_text(text)
        with pytest.raises(AdapterError, match=rf"adapter_config\.json.*{told}") as refused:
            locate(None, [str(tmp_path / "a")])
        assert "Copy the folder again" in refused.value.remedy


def test_a_folder_that_is_not_there_is_told_apart_from_one_that_is_no_adapter(tmp_path):
    with pytest.raises(AdapterError, match=r"there is no such folder, nor .*runs/gone"):
        find_adapter("gone", tmp_path / "runs")
    with pytest.raises(AdapterError, match=r"no adapter_config\.json in it"):
        find_adapter(str(tmp_path))


def test_a_whole_model_has_no_base_beside_it(tmp_path):
    with pytest.raises(AdapterError, match="its base is not in memory"):
        locate(str(run(tmp_path / "one", kind="model")), ["base"])


def test_an_adapter_of_another_base_is_named(tmp_path):
    other = run(tmp_path / "other", model="another-model")
    found = locate(str(run(tmp_path / "one")), [str(other), "base"])
    assert found.notes == ("other was trained over another-model, and answers over my-model",)
    assert locate(str(other)).notes == ()


def test_the_same_base_in_another_folder_is_no_other_base(tmp_path):
    one, other = (
        run(tmp_path / name, model=str(tmp_path / f"base-{name}")) for name in ("one", "other")
    )
    for each in (one, other):
        (tmp_path / f"base-{each.name}").mkdir()
        write_origin(each / "adapter", Origin("x", sha256="a" * 64, kind="lora"))
    assert locate(str(one), [str(other)]).notes == ()
    write_origin(other / "adapter", Origin("x", sha256="b" * 64, kind="lora"))
    assert len(locate(str(one), [str(other)]).notes) == 1


def test_a_run_is_found_by_its_name_below_the_runs(tmp_path, monkeypatch):
    run(tmp_path / "runs" / "one")
    run(tmp_path / "runs" / "many" / "lora")
    monkeypatch.chdir(tmp_path)
    assert locate("one").participants == {"one": "one"}
    assert locate(None, ["one"]).model == "my-model"
    found = find_adapter("many/lora", tmp_path / "runs")
    assert found.adapter == tmp_path / "runs" / "many" / "lora" / "adapter"


def test_a_folder_and_a_short_name_come_before_a_run_of_that_name(tmp_path, monkeypatch):
    run(tmp_path / "runs" / "one")
    run(tmp_path / "runs" / DEFAULT)
    adapter(tmp_path / "one", base="here")
    monkeypatch.chdir(tmp_path)
    assert locate("one").model == "here"
    assert (locate(DEFAULT).model, locate(DEFAULT).adapters) == (DEFAULT, {})


def test_folders_of_adapters_are_found_without_their_bases(tmp_path):
    one, other = run(tmp_path / "one"), adapter(tmp_path / "far" / "one", base="/gone")
    found = adapter_folders([str(one), str(other), str(one / "adapter")])
    assert found == {"one": one / "adapter", "one-2": other, "one-3": one / "adapter"}
    with pytest.raises(AdapterError, match="is not an adapter"):
        adapter_folders([str(tmp_path)])


@pytest.mark.parametrize("name", ["nope", "runs/nope", "./nope", "/nope/nope", "a/b/c", "here/x"])
def test_a_name_of_nothing_is_refused_unless_the_hub_may_have_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(RunError, match=f"^{name} is not a run, adapter or base") as refused:
        require_known(name)
    assert "`tunesmith runs list` shows the runs." in refused.value.remedy
    for known in ("owner/model", "smollm2-135m-instruct", "here"):
        require_known(known)


def test_a_short_name_that_is_nearly_right_is_proposed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="Did you mean `smollm2-135m-instruct`"):
        require_known("smollm2-135m")
