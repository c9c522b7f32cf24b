"""A run that goes on with an adapter takes what that is, and refuses to be asked for another."""

import functools
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.runs.tiny import UNMEASURED, base_folder, config
from tests.runs.trained import copy_of
from tunesmith.config import load_run_config
from tunesmith.config.methods import init_path
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.core.progress import Notice, Progress
from tunesmith.runs.evaluate import evaluate_target
from tunesmith.runs.folder import read_lines
from tunesmith.runs.run import resume_run, train_run
from tunesmith.studies.compare import compare_runs
from tunesmith.studies.variants import load_variants

pytestmark = pytest.mark.usefixtures("home")
PATTERNS = {"rank": 3, "alpha": 5, "rank_pattern": {"o_proj": 4}, "alpha_pattern": {"o_proj": 2}}
DORA = {"rank": 2, "dora": True, "rslora": True, "targets": ["q_proj", "up_proj"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Gives a folder a short run and its base: made once for each method, and a copy of it."""

    @functools.cache
    def of(method):
        folder = tmp_path_factory.mktemp("first")
        train = {"steps": 2, "rows_per_step": 3, "save_steps": 1, "lr": 0.01}
        values = {"method": json.loads(method), "train": train, "evaluate": {}}
        train_run(config(folder, out=str(folder / "first"), **values))
        return folder

    def copied(folder, method):
        return str(copy_of(of(json.dumps(method)), folder) / "first" / "adapter")

    return copied


def go(folder, method, *, out="second", **options):
    """A run that goes on with folder/first's adapter; its adapter's config and its events."""
    events = []
    train = {"steps": 3, "rows_per_step": 3, "save_steps": 1, "lr": 0.01}
    start = str(folder / "first" / "adapter")
    made = config(
        folder,
        method={"init": start, **method},
        train=train,
        evaluate={},
        out=str(folder / out),
        **options.pop("changes", {}),
    )
    summary = train_run(made, progress=Progress(events.append, **options))
    if summary.adapter is None:
        return None, events
    written = (folder / out / "adapter" / "adapter_config.json").read_text()
    return json.loads(written), events


def shape_of(written):
    keys = ("r", "lora_alpha", "use_rslora", "use_dora", "target_modules")
    return {key: written[key] for key in (*keys, "rank_pattern", "alpha_pattern")}


@pytest.mark.parametrize("method", [PATTERNS, DORA, {"rank": 2, "init": "pissa"}])
def test_keys_that_are_left_out_are_the_adapters(trained, tmp_path, method):
    first = trained(tmp_path, {"kind": "lora", **method})
    before = json.loads((tmp_path / "first" / "adapter" / "adapter_config.json").read_text())
    written, _ = go(tmp_path, {"kind": "lora"})
    assert shape_of(written) == shape_of(before)
    shapes = [
        {name: tensor.shape for name, tensor in load_file(f"{folder}/{name}").items()}
        for name in ("adapter_model.safetensors",)
        for folder in (first, tmp_path / "second" / "adapter")
    ]
    assert shapes[0] == shapes[1]
    resolved = load_run_config(tmp_path / "second" / "config.yaml", {}).method
    assert resolved.rank == before["r"]
    assert resolved.dora == before["use_dora"]


@pytest.mark.parametrize("method", [PATTERNS, DORA])
def test_keys_that_agree_are_no_contradiction(trained, tmp_path, method):
    trained(tmp_path, {"kind": "lora", **method})
    written, _ = go(tmp_path, {"kind": "lora", **method})
    assert written["r"] == method["rank"]


def test_all_layers_by_name_and_all_linear_mean_the_same(trained, tmp_path):
    trained(tmp_path, {"kind": "lora", "rank": 2})
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    for number, targets in enumerate(("all-linear", names)):
        go(tmp_path, {"kind": "lora", "targets": targets}, out=f"go-{number}")


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"rank": 16}, "method.rank is 16, the adapter has 3;;Omit method.rank"),
        ({"alpha": 8}, "method.alpha is 8.0, the adapter has 5"),
        ({"rank": 3, "alpha": 2}, "method.alpha is 2.0, the adapter has 5"),
        ({"dora": True}, "method.dora is true, the adapter has false"),
        ({"rslora": True}, "method.rslora is true, the adapter has false"),
        ({"rank_pattern": {}}, "method.rank is 3, the adapter has 4"),
        (
            {"rank_pattern": {"o_proj": 7}},
            "method.rank_pattern is {'o_proj': 7}, the adapter has 4",
        ),
        (
            {"alpha_pattern": {"o_proj": 3}},
            "method.alpha_pattern is {'o_proj': 3.0}, the adapter has 2",
        ),
        ({"targets": ["v_proj"]}, "method.targets is [v_proj], the adapter has all-linear"),
        ({"new_tokens": ["<a>"]}, "method.new_tokens is [<a>], the adapter has none"),
        (
            {"rank": 9, "alpha": 4, "dora": True, "new_tokens": ["<a>"]},
            "method.dora is true, the adapter has false; method.rank is 9, the adapter has 3; "
            "method.alpha is 4.0, the adapter has 5; method.new_tokens is [<a>], the adapter has "
            "none;;Omit method.dora, method.rank, method.alpha, method.new_tokens",
        ),
    ],
)
def test_a_key_that_asks_for_another_adapter_is_refused_with_its_value(
    trained, tmp_path, method, told
):
    trained(tmp_path, {"kind": "lora", **PATTERNS})
    given = {key: value for key, value in PATTERNS.items() if key.endswith("pattern")}
    with pytest.raises(ConfigError) as error:
        go(tmp_path, {"kind": "lora", **given, **method})
    message, _, remedy = told.partition(";;")
    assert message in error.value.message
    assert str(tmp_path / "first" / "adapter") in error.value.message
    assert remedy in error.value.remedy
    assert "omit method.init" in error.value.remedy
    assert not (tmp_path / "second").exists()


def test_layers_beyond_the_adapters_are_named_by_what_it_has(trained, tmp_path):
    trained(tmp_path, {"kind": "lora", **DORA})
    with pytest.raises(ConfigError, match=r"targets is all-linear, .* has \[q_proj, up_proj\]"):
        go(tmp_path, {"kind": "lora", "targets": "all-linear"})


@pytest.mark.parametrize("kind", ["prompt", "p-tuning", "prefix"])
def test_virtual_tokens_are_the_adapters_and_another_number_is_refused(trained, tmp_path, kind):
    trained(tmp_path, {"kind": kind, "init_text": "say it now"})
    count = json.loads((tmp_path / "first/adapter/adapter_config.json").read_text())
    count = count["num_virtual_tokens"]
    for number, tokens in enumerate(({}, {"tokens": None}, {"tokens": count})):
        written, _ = go(tmp_path, {"kind": kind, **tokens}, out=f"go-{number}")
        assert written["num_virtual_tokens"] == count
        made = load_run_config(tmp_path / f"go-{number}" / "config.yaml", {})
        assert made.method.tokens == count
    with pytest.raises(ConfigError, match=f"method.tokens is 5, the adapter has {count}") as error:
        go(tmp_path, {"kind": kind, "tokens": 5})
    assert "Omit method.tokens" in error.value.remedy
    for changes in ({"init_text": "say"}, *([{"projection": 8}] if kind != "prompt" else [])):
        with pytest.raises(ConfigError, match="leave out"):
            go(tmp_path, {"kind": kind, **changes})


@pytest.mark.parametrize(("first", "second"), [("prompt", "lora"), ("lora", "p-tuning")])
def test_an_adapter_of_another_kind_is_refused_before_a_base_is_loaded(
    trained, tmp_path, first, second, monkeypatch
):
    trained(tmp_path, {"kind": first})
    monkeypatch.setattr("tunesmith.runs.run.open_for_ranks", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match=f"method.kind is {second}, .* of kind {first}") as error:
        go(tmp_path, {"kind": second})
    assert f"Set method.kind to {first}" in error.value.remedy
    assert not (tmp_path / "second").exists()


def test_how_it_is_trained_and_saved_is_the_runs_own(trained, tmp_path):
    trained(tmp_path, {"kind": "lora", "rank": 2, "dropout": 0.1})
    own = {"dropout": 0.3, "freeze_a": True, "loraplus_lr_ratio": 4, "dtype": "bfloat16"}
    written, _ = go(tmp_path, {"kind": "lora", **own})
    assert written["lora_dropout"] == 0.3
    before, after = (
        load_file(tmp_path / run / "adapter" / "adapter_model.safetensors")
        for run in ("first", "second")
    )
    for name, tensor in after.items():
        assert tensor.dtype == torch.bfloat16
        same = torch.equal(tensor, before[name].bfloat16())
        assert same == ("lora_A" in name), name
    written, _ = go(tmp_path, {"kind": "lora"}, out="third")
    assert written["lora_dropout"] == 0.1


@pytest.mark.parametrize(
    "method",
    [
        {"kind": "lora", **PATTERNS},
        {"kind": "lora", "rank": 2, "new_tokens": ["<a>", "<b>"]},
        {"kind": "p-tuning", "tokens": 5},
    ],
)
def test_a_stopped_run_that_goes_on_with_an_adapter_is_resumed_to_the_same_bytes(
    trained, tmp_path, method
):
    trained(tmp_path, method)
    go(tmp_path, {"kind": method["kind"]})
    steps = tmp_path / "parts" / "metrics.jsonl"
    stop = {"cancelled": lambda: len(list(read_lines(steps))) == 2}
    go(tmp_path, {"kind": method["kind"]}, out="parts", **stop)
    resume_run(tmp_path / "parts")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        one, other = (tmp_path / run / "adapter" / name for run in ("second", "parts"))
        assert one.read_bytes() == other.read_bytes()


def test_an_adapters_own_tokens_may_be_named_again_and_no_others(trained, tmp_path):
    trained(tmp_path, {"kind": "lora", "rank": 2, "new_tokens": ["<a>", "<b>", "he"]})
    resolved = go(tmp_path, {"kind": "lora"}) and load_run_config(
        tmp_path / "second" / "config.yaml", {}
    )
    assert resolved.method.new_tokens == ("<a>", "<b>", "he")
    go(tmp_path, {"kind": "lora", "new_tokens": ["he", "<b>", "<a>"]}, out="again")
    for tokens in (["<a>"], ["<a>", "<b>", "he", "<c>"], []):
        with pytest.raises(ConfigError, match=r"the adapter has \[<a>, <b>, he\]"):
            go(tmp_path, {"kind": "lora", "new_tokens": tokens}, out="other")


def test_another_base_is_told(trained, tmp_path):
    trained(tmp_path, {"kind": "qlora", "rank": 2})
    _, events = go(tmp_path, {"kind": "lora"})
    (note,) = [e.message for e in events if isinstance(e, Notice) and "continues over" in e.message]
    assert note.endswith("was trained over a 4-bit base, and continues over a 16-bit or wider one")
    _, events = go(tmp_path, {"kind": "qlora"}, out="alike")
    assert not [e for e in events if isinstance(e, Notice) and "continues over" in e.message]
    other = base_folder(tmp_path / "other")
    (other / "generation_config.json").write_text('{"eos_token_id": 0}')
    _, events = go(tmp_path, {"kind": "qlora"}, out="third", changes={"model": str(other)})
    (note,) = [e.message for e in events if isinstance(e, Notice) and "continues over" in e.message]
    assert note.endswith("was trained over base, and continues over another base")


def test_a_comparison_goes_on_and_refuses_run_by_run(trained, tmp_path):
    start = trained(tmp_path, {"kind": "lora", "rank": 2})
    made = config(tmp_path, evaluate={}).model_dump(mode="json", by_alias=True)
    made.update(method={"kind": "lora", "init": start}, out=None)
    variants = load_variants(None, made, grid={"method.rank": [2, 5]})
    found = compare_runs(variants, tmp_path / "all")
    assert [row.error is None for row in found.rows] == [True, False]
    assert "method.rank is 5, the adapter has 2" in str(found.rows[1].error)
    assert found.rows[0].config.method.alpha == 32.0


def test_a_damaged_folder_is_refused_and_nothing_is_left(trained, tmp_path):
    folder = trained(tmp_path, {"kind": "lora", "rank": 2})
    shutil.copytree(folder, tmp_path / "damaged")
    (tmp_path / "damaged" / "adapter_config.json").write_text("{")
    for start, message in (("damaged", "is no JSON"), ("nowhere", "there is not a folder")):
        with pytest.raises((AdapterError, ConfigError), match=message):
            go(tmp_path, {"kind": "lora", "init": str(tmp_path / start)})
    assert not (tmp_path / "second").exists()


def test_a_start_of_another_method_is_no_start_word_here(tmp_path):
    for kind, start in (("lora", "sample"), ("prompt", "pissa"), ("p-tuning", "loftq")):
        made = config(tmp_path, method={"kind": kind, "init": start})
        assert init_path(made.method) == start
        with pytest.raises(ConfigError, match=f"there is not a folder {start}"):
            train_run(made)


def test_a_base_without_a_template_is_compared_with_the_adapter_in_its_template(trained, tmp_path):
    """As trainers save one over a base that was never tuned for chats."""
    adapter = Path(trained(tmp_path, {"kind": "lora", "rank": 2}))
    base = tmp_path / "base"
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, adapter / name)
    (base / "chat_template.jinja").unlink()
    (adapter / "tunesmith.json").unlink()
    changes = {"evaluate": {**UNMEASURED, "checks": [{"kind": "exact"}], "max_new_tokens": 4}}
    made = config(
        tmp_path, method={"kind": "lora", "init": str(adapter)}, out=str(tmp_path / "on"), **changes
    )
    events = []
    summary = train_run(made, progress=Progress(events.append))
    notices = [each.message for each in events if isinstance(each, Notice)]
    assert sum("so it is asked in the adapter's" in each for each in notices) == 1
    assert {"base", "tuned"} <= set(summary.evaluation["arms"])
    for folder in (str(adapter), summary.adapter):
        again = evaluate_target(
            folder, {**changes, "model": str(base)}, data=str(tmp_path / "rows.jsonl")
        )
        assert {"base", "tuned"} <= set(again.document["arms"])
