"""A plan: what fits and what it takes, by a base's config alone, and quickly."""

import json
import os
import subprocess
import sys

import pytest

import tunesmith as ts
from tests.runs.tiny import base_folder, rows_file
from tests.source import ROOT
from tunesmith.cli.main import main
from tunesmith.config.methods import default_methods
from tunesmith.estimate import machine

MACHINE = machine.Machine(
    name="a processor",
    kind="cpu",
    dtype="bfloat16",
    rates={"bfloat16": {"256": 1e11, "4096": 2e11}, "float32": {"256": 5e10, "4096": 1e11}},
    bandwidth=2e10,
    elementwise=2e9,
    dequantized=1e9,
    memory=None,
    process_bytes=500_000_000,
    measured="2026-11-30",
)


@pytest.fixture(autouse=True)
def known_machine(monkeypatch, tmp_path):
    """One that was measured, with 16 GB free."""
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(machine, "read", lambda device: MACHINE)
    monkeypatch.setattr(machine.host_memory, "available_bytes", lambda: 16_000_000_000)


CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
INSERTING = "<|system|>You are a very helpful assistant who knows what to say." + CHAT


def test_every_method_is_planned_for_here_and_there():
    found = ts.plan("qwen3-4b", devices="rtx-4090-24gb,24gb,m3-max", progress=False)
    assert [each.device.name for each in found.devices] == [
        "here",
        "rtx-4090-24gb",
        "24gb",
        "m3-max",
    ]
    assert list(found.methods) == list(default_methods())
    lora, full = found["lora", "rtx-4090-24gb"], found["full", "rtx-4090-24gb"]
    assert lora.fits
    assert not full.fits
    assert "weights" in full.reason
    assert found["qlora"].peak_bytes < found["lora"].peak_bytes < found["full"].peak_bytes
    assert found["prompt"].adapter_bytes < found["ia3"].adapter_bytes < lora.adapter_bytes
    assert lora.memory.total == lora.peak_bytes
    assert "mps" in found["qlora", "m3-max"].reason
    assert found["lora", "24gb"].step_seconds is None  # whose rates nobody knows
    assert "rtx-4090-24gb" in str(found)


def test_what_does_not_fit_says_what_would():
    found = ts.plan("llama-3.1-70b", devices="a100-80gb", methods="lora,qlora", progress=False)
    lora = found["lora", "a100-80gb"]
    assert not lora.fits
    assert any("qlora" in text for text in lora.changes)
    assert any("--ranks" in text for text in lora.changes)
    assert found["qlora", "a100-80gb"].fits
    assert found["qlora", "a100-80gb"].longest_context > 2048


def test_a_method_that_a_base_cannot_have_is_impossible_and_the_others_are_planned():
    found = ts.plan("qwen3-30b-a3b", devices=["h100-80gb"]).to_json()
    rows = {each["method"]: each for each in found["methods"]}
    assert rows["lora"]["adapter_bytes"] > 0
    assert "no linear layer" in rows["ia3"]["reason"]


def test_a_config_counts_its_rows_and_keeps_its_settings(tmp_path):
    rows = rows_file(tmp_path / "rows.jsonl", count=40)
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: qwen3-0.6b\ndata: {{train: {rows}}}\nmethod: {{kind: lora, rank: 4}}\n"
        "train: {recompute: layers, tokens_per_micro_batch: 64}\n"
    )
    found = ts.plan(config, progress=False)
    assert found.found.rows.rows == 40
    assert found["lora"].recompute == "layers"
    assert found["lora"].seconds > found["lora"].step_seconds > 0
    wider = ts.plan(config, settings={"method.rank": 8}, progress=False)
    assert wider["lora"].trainable_parameters == 2 * found["lora"].trainable_parameters


def test_rows_that_data_drop_leaves_out_are_not_counted(tmp_path):
    rows = rows_file(tmp_path / "rows.jsonl", count=60)
    lines = rows.read_text().splitlines()
    long = json.loads(lines[0])
    long["prompt"] = "word " * 2000
    rows.write_text("\n".join([*lines, json.dumps(long)]))
    all_rows, kept = (
        ts.plan("qwen3-0.6b", settings={"data.train": str(rows), **more}, progress=False).found.rows
        for more in ({}, {"data.drop": ["long_tail"]})
    )
    assert (all_rows.rows, kept.rows) == (61, 60)
    assert all_rows.longest > 2000 > 100 > kept.longest
    assert kept.tokens < all_rows.tokens - 2000


def test_a_micro_batch_has_room_for_what_a_step_retains(tmp_path):
    rows = rows_file(tmp_path / "rows.jsonl", count=40)
    given = {"data.train": str(rows), "train.tokens_per_step": 1000, "train.epochs": 100}
    none, quarter = (
        ts.plan(
            "qwen3-0.6b",
            devices="rtx-4090-24gb",
            settings={**given, "train.retention": each},
            progress=False,
        )["lora", "rtx-4090-24gb"].tokens_per_micro_batch
        for each in ("none", {"share": 0.25})
    )
    assert (none, quarter) == (1000, 1250)


def test_a_model_in_memory_is_planned_for_by_its_config():
    from tests.families import tiny_model

    found = ts.plan(tiny_model("llama"), progress=False)
    assert found["lora"].fits
    assert found.found.parameters == sum(p.numel() for p in tiny_model("llama").parameters())


def test_the_document_has_the_keys_that_scripts_read(capsys):
    assert main(["plan", "qwen3-0.6b", "--device", "24gb", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    keys = {"method", "fits", "peak_bytes", "seconds", "adapter_bytes", "reason"}
    assert all(keys <= row.keys() for each in document["devices"] for row in each["methods"])
    assert document["methods"] == document["devices"][0]["methods"]


def test_the_tables_fit_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", "qwen3-4b", "--device", "rtx-4090-24gb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [each for each in lines if each.lstrip().startswith("method")]
    assert [each.split() for each in titles] == [
        ["method", "fits", "peak", "adapter", "step", "longest", "largest", "base", "quality"]
    ] * 2
    assert "lora, qlora, prompt, p-tuning, ia3: micro-batches of 2,560 tokens" in lines
    assert all(len(each) <= 80 for each in lines if not each.startswith("quality:"))


def refused(*words, capsys):
    assert main(["plan", *words, "--json"]) > 0
    return json.loads(capsys.readouterr().out)["error"]


def test_nonsense_gets_a_clear_error(tmp_path, capsys):
    error = refused("qwen3-4b", "--device", "rtx-4900-24gb", capsys=capsys)
    assert "'rtx-4900-24gb'" in error["message"]
    assert "rtx-4090-24gb" in error["remedy"]
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "llama", "hidden_size": 64}')
    assert "no num_hidden_layers" in refused(str(config), capsys=capsys)["message"]
    error = refused("qwen3-4b", "--methods", "lorra", capsys=capsys)
    assert error["remedy"] == "Did you mean lora?"
    assert refused("qwen3-4x", capsys=capsys)["code"] == "model"
    run = tmp_path / "run.yaml"
    run.write_text(f"{{model: qwen3-4b, data: {{train: {tmp_path / 'none.jsonl'}}}}}")
    assert "none.jsonl" in refused(str(run), capsys=capsys)["message"]
    (tmp_path / "none.jsonl").write_text('{"x": 1}\n')
    main(["plan", str(run), "--json"])


def test_a_400b_base_takes_under_two_seconds_and_no_torch(tmp_path):
    """Seconds of the processor: a busy machine has fewer of them a second."""
    code = f"""
import sys, time
from tunesmith.cli.main import main
from tunesmith.estimate import machine
machine.read = lambda device: machine.{MACHINE!r}
assert main(["plan", "llama-3.1-405b", "--device", "h100-80gb", "--json"]) == 0
assert "torch" not in sys.modules and "transformers" not in sys.modules
print(time.process_time(), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TUNESMITH_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stderr.splitlines()[-1]) < 2.0
    assert json.loads(done.stdout)["parameters"] > 400e9


def test_one_rank_is_that_of_lora_and_qlora():
    found = ts.plan(
        "qwen3-0.6b", methods="lora,qlora", settings={"method.rank": 64}, progress=False
    )
    assert found["lora"].adapter_bytes == found["qlora"].adapter_bytes


def test_the_system_prompt_that_a_template_inserts_is_counted(tmp_path):
    counts = {}
    for name, template in (("plain", CHAT), ("inserting", INSERTING)):
        base = base_folder(tmp_path / name)
        (base / "chat_template.jinja").write_text(template)
        config = tmp_path / f"{name}.yaml"
        rows = rows_file(tmp_path / "rows.jsonl", count=40)
        config.write_text(f"model: {base}\ndata: {{train: {rows}}}\nmethod: {{kind: lora}}\n")
        counts[name] = ts.plan(config, progress=False).found.rows
    added = counts["inserting"].tokens - counts["plain"].tokens
    assert added > 40
    assert added % 40 == 0
    assert counts["inserting"].supervised < counts["plain"].supervised
