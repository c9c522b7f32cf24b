"""What `examples/` holds works as it stands: configs load, and their data pass their own rules."""

import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from tests.data.reading import read_conversations
from tests.runs.tiny import base_folder
from tests.test_docs import commands
from tunesmith.cli.main import main
from tunesmith.config import load_run_config
from tunesmith.config.methods import method_notes
from tunesmith.data.inputs import read_inputs
from tunesmith.data.read import scan
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.runs.run import train_run

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
POLITE = EXAMPLES / "polite_ko"
OTHERS = {"ci", "deploy", "scale"}  # folders whose files are of other programs
CONFIGS = sorted(x for x in EXAMPLES.rglob("*.yaml") if x.parent.name not in OTHERS)
FINAL_BIEUP = 17  # of a syllable block: (code - 0xAC00) % 28


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def answers(name):
    return [row.messages[-1].content for row in read_conversations(POLITE / name)]


def questions(name):
    return [row.messages[0].content for row in read_conversations(POLITE / name)]


def rule():
    (check,) = build_checks(load_run_config(POLITE / "tunesmith.yaml", {}).evaluate.checks)
    return check


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_row_that_an_example_names_passes_its_own_rules(config):
    run = load_run_config(config, {})
    checks = build_checks(run.evaluate.checks)
    assert checks
    for path in (*(source.path for source in run.data.sources), run.data.eval):
        for row in read_conversations(path):
            answer = row.messages[row.supervised[-1]].content
            assert [check.score(answer, answer) for check in checks] == [1.0] * len(checks), row


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("kind", method_notes())
def test_any_method_takes_an_examples_config(config, kind):
    assert load_run_config(config, {"method": {"kind": kind}}).method.kind == kind


def test_each_example_says_its_licence_and_shows_commands_that_exist(capsys):
    for folder in {config.parent for config in CONFIGS}:
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "Apache-2.0" in text
        assert any(
            command.startswith("tunesmith train") for command in commands(folder / "README.md")
        )
        for path in re.findall(r"examples/[\w./-]+", text):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", ["train.jsonl", "eval.jsonl"])
def test_every_sentence_is_in_the_formal_polite_style(name):
    for answer in answers(name):
        sentences = re.findall(r"[^.!?]+[.!?]", answer)
        assert "".join(sentences) == answer
        assert 1 <= len(sentences) <= 3
        for sentence in sentences:
            end = re.search(r"(.)(니다\.|니까\?)$", sentence)
            assert end, sentence
            assert (ord(end[1]) - 0xAC00) % 28 == FINAL_BIEUP, sentence


def test_questions_are_casual_and_none_is_asked_twice():
    asked = [q for name in ("train.jsonl", "eval.jsonl") for q in questions(name)]
    inputs, notes = read_inputs(POLITE / "questions.jsonl")
    asked += [each.text for each in inputs]
    assert not notes
    assert len(set(asked)) == len(asked) >= 150
    assert not [q for q in asked if re.search(r"(니다|니까|요)[.!?]*$", q)]
    assert len(set(answers("train.jsonl") + answers("eval.jsonl"))) >= 100


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        ("네, 그렇습니다.", 1),
        ("도와드리겠습니다! 무엇이 필요하십니까?", 1),
        ("값은 3.5 퍼센트입니다.\n감사합니다.", 1),
        ("도와드리겠습니다. 무엇이 필요해요?", 0),
        ("그래. 도와드리겠습니다.", 0),
        ("도와드리겠습니다. 그리고", 0),
        ("도와드리겠습니다", 0),
        ("Sure, I can help.", 0),
        ("", 0),
    ],
)
def test_the_rule_is_about_every_sentence(answer, passes):
    assert rule().score(answer, None) == passes


def test_the_rule_is_quick_on_a_long_answer_that_fails_at_its_end():
    assert rule().score("감사합니다. " * 2000 + "그래", None) == 0


def test_the_instruction_is_not_in_the_data():
    instruction = (POLITE / "instruction.txt").read_text(encoding="utf-8").strip()
    first = instruction.split(".")[0]
    for path in POLITE.glob("*.jsonl"):
        assert first not in path.read_text(encoding="utf-8")


def test_the_example_runs_on_a_tiny_base(tmp_path):
    values = yaml.safe_load((POLITE / "tunesmith.yaml").read_text(encoding="utf-8"))
    model = base_folder(tmp_path / "base", max_position_embeddings=1024)
    changes = {
        "model": str(model),
        "out": str(tmp_path / "run"),
        "train": {"epochs": None, "steps": 1},
        "evaluate": {"max_new_tokens": 2, "rows": 2, "forgetting": "none"},
    }
    summary = train_run(load_run_config(POLITE / "tunesmith.yaml", changes))
    checks = [check["name"] for check in values["evaluate"]["checks"]]
    assert list(summary.evaluation["arms"]["tuned"]["checks"]) == checks


SHOP = EXAMPLES / "shop_ko"
# What makes each command of the shop's page short; all that is written there stays as it is.
TINY = {
    "data check": ["--model", "base"],
    "train": ["--model", "base", "--train.epochs", "0.1"],
}
QUICK = {"max_new_tokens": 4, "timed_rows": 0, "rows": 4, "forgetting": "none"}


def shop_commands():
    """The words of each command of the shop's page."""
    return [shlex.split(line)[1:] for line in commands(SHOP / "README.md") if " --" in line]


def test_the_shop_has_its_faults_and_needs_at_most_seven_commands():
    assert 0 < len(shop_commands()) <= 7
    reading = scan(SHOP / "shop.xlsx")
    assert reading.format == "prompt-completion"
    assert [(fault.code, fault.line) for fault in reading.faults] == [
        ("empty", 54),
        ("empty", 65),
        ("empty", 65),
    ]
    said = [tuple(m.content for m in row.messages) for row in reading.conversations]
    assert len(said) - len(set(said)) == 1
    questions = [question for question, _ in set(said)]
    assert len(questions) - len(set(questions)) == 1
    assert any("  " in text or "\xa0" in text for row in said for text in row)
    assert all(answer.rstrip().endswith("온담공방 드림") for _, answer in said)


@pytest.mark.slow
def test_the_shop_comes_from_its_workbook_to_a_report(tmp_path, monkeypatch, capsys):
    shutil.copytree(SHOP, tmp_path / "examples" / "shop_ko")
    base_folder(tmp_path / "base", max_position_embeddings=4096)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("배송비는 얼마예요?\n"))
    flags = [f"--evaluate.{name}={value}" for name, value in QUICK.items()]
    statuses = {}
    for words in shop_commands():
        name = " ".join(words[:2] if words[0] == "data" else words[:1])
        more = [*TINY.get(name, []), *(flags if name == "train" else [])]
        kept = without(words, [flag for flag in more if flag in words])
        statuses.setdefault(name, []).append(main([*kept, *more]))
    assert statuses["data check"] == [1, 0]
    assert {name: each for name, each in statuses.items() if name != "data check"} == {
        name: [0] for name in ("init", "train", "report", "chat")
    }
    said = "".join(capsys.readouterr())
    assert '열 "상담 답변" (completion)이 비어 있습니다.' in said
    assert "답변 100개 중 약 " in said
    page = (tmp_path / "runs" / "shop" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page
    assert "온담공방 드림" in page


def without(words, flags):
    """The words without these flags and their values."""
    gone = {place + i for flag in flags for place in [words.index(flag)] for i in (0, 1)}
    return [word for place, word in enumerate(words) if place not in gone]
