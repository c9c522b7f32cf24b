"""Probes of prompts: rules that answers must pass, what counts as lost, what does not count."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from tests.runs.tiny import base_folder
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.checks import RegexSettings, ToolCallSettings
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import ConfigError
from tunesmith.data.faults import FaultyData
from tunesmith.evaluation import probe_run
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.forgetting import assess_forgetting
from tunesmith.evaluation.forgetting_prompts import ProbePrompt, PromptProbe, with_all_prompts
from tunesmith.evaluation.forgetting_sources import probes_named, read_probe
from tunesmith.evaluation.probe_names import ABILITIES
from tunesmith.evaluation.probe_run import ProbeRun
from tunesmith.methods import table

PROBES = Path(probe_run.__file__).parent / "probes"
MARGINS = {"accuracy": 0.03, "perplexity": 0.05, "passed": 0.1}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def probe(count=100, *checks):
    built = build_checks(list(checks))
    return PromptProbe("mine", tuple(ProbePrompt(f"say {i}", built) for i in range(count)))


def outcome_of(*, base, tuned, count=100):
    """Of so many prompts that each arm answers as it should."""
    asked = probe(count, RegexSettings(pattern="^yes"))
    texts = (["yes sir"] * passed + ["never"] * (count - passed) for passed in (base, tuned))
    (finding,) = assess_forgetting([asked.measured(*texts, seed=0)], MARGINS).findings
    return finding


def test_what_the_base_answers_by_rule_and_the_tuned_does_not_is_lost():
    finding = outcome_of(base=90, tuned=30)
    assert (finding.outcome, finding.measure) == ("forgotten", "passed")
    assert finding.difference.mean == pytest.approx(-0.6)
    assert finding.details["lost"][0] == {"query": "say 30", "base": "yes sir", "tuned": "never"}
    assert outcome_of(base=90, tuned=90).outcome == "kept"
    assert outcome_of(base=60, tuned=90).outcome == "kept"
    assert outcome_of(base=90, tuned=80).outcome == "unclear"


def test_what_the_base_hardly_has_does_not_count():
    hardly = probe(100, RegexSettings(pattern="^yes"))
    base = ["yes sir"] * 10 + ["never"] * 90
    absent = hardly.measured(base, ["never"] * 100, seed=0)
    alone = assess_forgetting([absent], MARGINS)
    assert [each.outcome for each in alone.findings] == ["absent"]
    assert alone.outcome == "unclear"
    has = probe(100, RegexSettings(pattern="never")).measured(
        ["never"] * 100, ["never ever"] * 100, seed=0
    )
    with_another = assess_forgetting([absent, has], MARGINS)
    assert with_another.outcome == "kept"
    assert with_another.unclear == ()


def test_free_answers_that_loop_or_fall_silent_are_lost():
    texts = ["It is a long answer in words of its own, with much to say about many things."]
    turns = ["round and round and round and round and round and round and round and round"]
    asked = "tell me about the long way home in the rain"
    free = PromptProbe("free", (ProbePrompt(asked, is_open=True),))
    for tuned, passes in ((texts, 1.0), (turns, 0.0), (["Yes."], 0.0), ([asked], 0.0)):
        assert free.measured(texts, tuned, seed=0).tuned == passes
    own = free.measured(["Yes."], ["Yes."], seed=0)
    assert (own.base, own.tuned) == (1.0, 1.0)


def test_parts_that_are_too_few_alone_are_kept_together():
    parts = [probe(40, RegexSettings(pattern="^yes")) for _ in range(6)]
    few = ["yes sir"] * 39 + ["never"]
    measured = [each.measured(["yes sir"] * 40, few, seed=0) for each in parts]
    alone = assess_forgetting(measured, MARGINS)
    assert alone.outcome == "unclear"
    together = assess_forgetting(with_all_prompts(measured, seed=0), MARGINS)
    assert together.outcome == "kept"
    assert together.findings[-1].probe == "all prompts"
    silent = parts[0].measured(["yes sir"] * 40, ["never"] * 40, seed=0)
    lost = assess_forgetting(with_all_prompts([silent, *measured[1:]], seed=0), MARGINS)
    assert lost.outcome == "forgotten"
    assert lost.findings[0].outcome == "forgotten"


@pytest.fixture
def loaded(tmp_path):
    return open_base(str(base_folder(tmp_path / "base")), dtype="float32")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_adapter_at_its_start_lost_nothing_and_the_base_answers_once(
    loaded, tmp_path, monkeypatch
):
    rows = [
        {"query": "hello 1", "open": True},
        {"query": "hello 2", "checks": [{"kind": "tool_call", "calls": []}], "tools": [TOOL]},
    ]
    path = write(tmp_path / "own.jsonl", rows)
    asked = []
    answered = probe_run.answers_to

    def counted(loaded, requests, *, who, **options):
        asked.append((who.adapter, len(requests)))
        return answered(loaded, requests, who=who, **options)

    monkeypatch.setattr(probe_run, "answers_to", counted)
    probing = ProbeRun(loaded, ForgettingSettings(probes=[str(path)]))
    for name in ("a", "b"):
        table.attach(loaded.engine, LoraSettings(rank=2), name=name)
        (finding,) = probing.forgetting(name).findings
        assert finding.base == finding.tuned
        assert finding.details["lost"] == []
    assert asked == [(None, 2), ("a", 2), ("b", 2)]
    assert len(probing.prompts("a")) == 2
    assert probing.tokens("a") == 0


def test_tools_are_described_where_the_template_omits_them(loaded, tmp_path):
    offered = PromptProbe(
        "tools", (ProbePrompt("rain?", build_checks([ToolCallSettings(calls=())]), (TOOL,)),)
    )
    (request,) = offered.requests(loaded)
    assert request.tools == ()
    assert '"name": "weather"' in request.messages[0].content
    assert "<tool_call>" in request.messages[0].content
    assert request.messages[-1].content.endswith("rain?")


def test_a_faulty_prompt_is_named_with_its_line(tmp_path):
    good = {"query": "a", "checks": [{"kind": "regex", "pattern": "x"}]}
    for bad, says in (
        ({"query": "b", "checks": [{"kind": "regex", "pattern": "("}]}, "not a valid regular"),
        ({"query": "b", "checks": [{"kind": "exact"}]}, "no reference answer"),
        ({"query": "b", "checks": [{"kind": "language", "language": "qq"}]}, "does not know qq"),
        ({"query": " ", "open": True}, "must not be blank"),
        ({"checks": []}, '"query" is missing'),
        ({"query": "b", "checks": []}, "every answer would pass"),
    ):
        with pytest.raises(FaultyData, match=says) as raised:
            read_probe(write(tmp_path / "own.jsonl", [good, bad]))
        assert "own.jsonl:2" in str(raised.value)


def test_bundled_prompts_are_read_and_none_is_asked_twice():
    probes = probes_named(["abilities"])
    assert [each.name for each in probes] == list(ABILITIES)
    queries = [prompt.query for each in probes for prompt in each.prompts]
    assert len(queries) == len(set(queries))
    with pytest.raises(ConfigError, match="in groups default, abilities"):
        probes_named(["ability"])


def test_the_rules_of_instructions_tell_who_follows_them():
    """A passing and a fluent failing answer to each, written by hand."""
    (instructions,) = probes_named(["instructions"])
    lines = (Path(__file__).parent / "data" / "instructions.jsonl").read_text().splitlines()
    for prompt, line in zip(instructions.prompts, lines, strict=True):
        answers = json.loads(line)
        assert prompt.passes(answers["passing"]), prompt.query
        assert not prompt.passes(answers["failing"]), prompt.query


@pytest.mark.parametrize("name", ["tools", "no_tools"])
def test_expected_calls_pass_and_are_valid_by_the_schema_of_their_tool(name):
    (tools,) = probes_named([name])
    rows = [json.loads(line) for line in (PROBES / f"{name}.jsonl").read_text().splitlines()]
    for prompt, row in zip(tools.prompts, rows, strict=True):
        calls = row["checks"][0]["calls"]
        schemas = {t["function"]["name"]: t["function"]["parameters"] for t in row["tools"]}
        for call in calls:
            jsonschema.validate(call["arguments"], schemas[call["name"]])
        assert prompt.passes(json.dumps(calls) if calls else "I have no tool for that.")
        assert not prompt.passes("Sure, done!" if calls else '{"name": "x", "arguments": {}}')


def test_abilities_that_are_lost_are_named_and_not_all_prompts():
    parts = [replace(probe(80, RegexSettings(pattern="^yes")), name=name) for name in "abc"]
    good, bad = ["yes sir"] * 80, ["never"] * 80
    measured = [
        each.measured(good, texts, seed=0)
        for each, texts in zip(parts, (bad, good, bad), strict=True)
    ]
    found = assess_forgetting(with_all_prompts(measured, seed=0), MARGINS)
    assert [each.probe for each in found.forgotten] == ["a", "c"]
