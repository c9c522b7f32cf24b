"""The main path in Korean: no English sentence is left, and --json is the same in any language."""

import io
import json
import re

import pytest
from rich.console import Console

from tests.data.files.workbooks import write_workbook
from tests.runs.tiny import UNMEASURED, talking_base
from tunesmith.api.show import show_next
from tunesmith.cli.main import main
from tunesmith.core.language import speaking

QUESTIONS = ("a b c", "b c d", "c d e", "d e f", "e f g", "f g h", "g h a", "h a b", "a c e")
# Names, flags, code, paths and commands are the same in any language.
CODE = re.compile(
    r"`[^`]*`|\[[\w, ]+\]|'[^']*'|\"[^\"]*\"|⟦[^⟧]*⟧|--[\w.-]+( [\w,]+)?|\S*[/._=:]\S+"
)
COMMAND = re.compile(r"^ *tunesmith .*$|tunesmith (data|train|init|chat|runs|adapters) \S.*$", re.M)
SENTENCE = re.compile(r"\b[A-Za-z]{2,}'?[a-z]*(?:[ ,;:]+\(?[A-Za-z]{2,}'?[a-z]*){2,}")
ANSWERS = re.compile(r"^  (질문|원본|튜닝|지시문|예시|기준 답변) +.*$", re.M)


def english(text):
    """Runs of three words or more that are no name, flag, code or command."""
    bare = CODE.sub(" ", COMMAND.sub(" ", ANSWERS.sub(" ", text)))
    return [match[0] for match in SENTENCE.finditer(bare)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with a tiny base and a workbook under Korean headings, with two faults."""
    folder = tmp_path_factory.mktemp("shop")
    talking_base(folder / "base")
    cells = {"A1": "번호", "B1": "고객 문의", "C1": "상담 답변"}
    asked = [*QUESTIONS, *(f"{q} {q}" for q in QUESTIONS), QUESTIONS[0], "a h"]
    for i, question in enumerate(asked, start=2):
        cells |= {f"A{i}": i, f"B{i}": question, f"C{i}": f"{question} h"}
    last = len(asked) + 1
    del cells[f"C{last}"]
    cells |= {f"A{last + 1}": "note", f"B{last + 1}": "", f"C{last + 1}": ""}
    write_workbook(folder / "shop.xlsx", {"문의": cells})
    evaluate = {
        "checks": [{"kind": "ends_with", "endings": ["h"]}, {"kind": "max_words", "words": 9}],
        "max_new_tokens": 6,
        "num_fewshot": 0,
        "timed_rows": 2,
        **UNMEASURED,
    }
    config = {
        "model": "base",
        "dtype": "float32",
        "data": {
            "train": "shop.xlsx",
            "eval": 0.2,
            "drop": ["empty", "duplicates", "contradictions"],
        },
        "method": {"kind": "lora", "rank": 2},
        "train": {"steps": 4, "rows_per_step": 4, "save_steps": 2, "lr": 0.01},
        "evaluate": evaluate,
        "out": "run",
    }
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def korean(shop, monkeypatch, tunesmith, home):  # a cache of its own
    """Runs a command line in Korean there; all that it says must be Korean."""
    monkeypatch.chdir(shop)

    def run(*words, status=0):
        ended = tunesmith(*words, "--language", "ko")
        assert ended.status == status, ended.err
        assert english(ended.out + ended.err) == []
        return ended

    return run


def test_what_is_english_would_be_found():
    assert english("알림: the rows are few (3행)") == ["the rows are few"]
    assert english("손실 0.3 · `the rows are` --data.drop empty runs/a: tunesmith chat a") == []


def test_the_main_path_is_korean_from_the_workbook_to_the_report(korean, shop):
    ended = korean("data", "check", "shop.xlsx", "--model", "base", status=1)
    assert '열 "상담 답변" (completion)이 비어 있습니다.' in ended.out
    assert "고객 문의(질문) 열과 상담 답변(답변) 열" in ended.out
    drop = ("--data.drop", "empty,duplicates,contradictions")
    korean("data", "check", "shop.xlsx", "--model", "base", *drop)
    korean("data", "show", "shop.xlsx", "--model", "base", "-n", "1")
    korean("data", "split", "shop.xlsx", "--out", "split", "--data.drop", "empty")
    assert {"prompt", "completion"} <= json.loads(
        (shop / "split" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0]
    ).keys()
    korean("init", "shop.xlsx", "--out", "drawn.yaml")
    ended = korean("train", "config.yaml")
    assert "답변 100개 중 약 " in ended.out
    assert "신뢰구간" in ended.out
    korean("train", "config.yaml", status=1)  # the folder holds a run already
    korean("evaluate", "run")
    korean("runs", "list", "--root", ".")
    korean("runs", "show", "run")
    korean("report", "run")
    page = (shop / "run" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page
    assert "학습에 쓰지 않고 따로 둔 20%" in page


def test_a_conversation_is_korean(korean, shop, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b\n/system a\n/system\n/reset\n/help\n/quit\n"))
    korean("chat", "base")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("data", "check", "gone.xlsx", "--model", "base"), 1),
        (("data", "check"), 2),
        (("nothing",), 2),
        (("train", "--modle", "base"), 2),
        (("train",), 1),
        (("evaluate",), 2),
        (("report", "gone"), 1),
        (("runs", "show", "gone"), 1),
        (("evaluate", "gone"), 1),
        (("init", "gone.csv"), 1),
    ],
)
def test_what_went_wrong_is_said_in_korean(korean, words, status):
    ended = korean(*words, status=status)
    assert re.search("[가-힣]", ended.out + ended.err)


def test_json_is_the_same_in_any_language(shop, monkeypatch, tunesmith, home):
    monkeypatch.chdir(shop)
    words = ("data", "check", "shop.xlsx", "--model", "base", "--json")
    tunesmith(*words)
    said = [tunesmith(*words, f"--language={name}").document for name in ("en", "ko")]
    assert said[0] == said[1]
    assert said[0]["faults"][0]["message"] == 'the column "상담 답변" (completion) is empty.'


def test_the_locale_is_the_language_unless_one_is_given(shop, monkeypatch, tunesmith, home):
    monkeypatch.chdir(shop)
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert "실행이 없습니다" in tunesmith("runs", "list", "--root", "gone").out
    assert "No runs" in tunesmith("--language", "en", "runs", "list", "--root", "gone").out


def test_a_language_without_words_is_refused(capsys):
    assert main(["--language", "xx", "runs", "list"]) == 2
    assert "Take one of: en, ko." in capsys.readouterr().err
    assert main(["runs", "list", "--language"]) == 2


def test_the_commands_that_come_next_ask_for_the_language_that_was_asked_for(monkeypatch):
    def shown(language, locale):
        monkeypatch.setenv("LC_ALL", locale)
        console = Console(record=True, file=io.StringIO(), width=120)
        with speaking(language):
            show_next(console, ["tunesmith chat runs/a"])
        return console.export_text().splitlines()[-1].strip()

    assert shown("ko", "C.UTF-8") == "tunesmith chat runs/a --language ko"
    assert shown("ko", "ko_KR.UTF-8") == "tunesmith chat runs/a"
    assert shown(None, "C.UTF-8") == "tunesmith chat runs/a"
    assert shown("en", "ko_KR.UTF-8") == "tunesmith chat runs/a --language en"
