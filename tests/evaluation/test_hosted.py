"""Hosted models as arms: asked beside the base's own, compared with, and without a say."""

import json

import pytest

from tests.data.families import FAMILIES
from tests.judging_server import JudgingServer
from tests.runs.tiny import UNMEASURED, config
from tunesmith.config import load_run_config
from tunesmith.config.endpoint import HostedSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Notice, Progress
from tunesmith.data.rows import Conversation, Message, ToolCall
from tunesmith.evaluation.answers import Question, questions_of
from tunesmith.evaluation.checks.written_calls import calls_in
from tunesmith.evaluation.endpoint import EndpointReply
from tunesmith.evaluation.hosted import _text_of, open_arms
from tunesmith.report.run_page import run_page
from tunesmith.runs.evaluated import KEY as INPUTS
from tunesmith.runs.evaluated import known_evaluation
from tunesmith.runs.history import read_records
from tunesmith.runs.run import train_run

KEY = "sk-not-a-real-key-2026"


def right(body):
    """What the rows of the tiny runs answer."""
    return f"it is {7 * int(body['messages'][-1]['content'].split()[1])}"


@pytest.fixture(scope="module")
def hosting():
    with JudgingServer() as server:
        server.reply = right
        yield server


def run_with(folder, hosting, **arm):
    given = {"endpoint": hosting.url, "model": "gpt-x", "key": "MY_KEY", "tries": 1, **arm}
    evaluate = {
        "checks": [{"kind": "exact"}],
        "max_new_tokens": 8,
        **UNMEASURED,
        "timed_rows": 0,
        "baseline_prompt": "Say it.",
        "prices": {"prompt": 1.0, "completion": 2.0},
        "arms": {"old": given},
    }
    events = []
    summary = train_run(config(folder, evaluate=evaluate), progress=Progress(events.append))
    return summary.evaluation, [each.message for each in events if isinstance(each, Notice)]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, hosting):
    folder = tmp_path_factory.mktemp("hosted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_KEY", KEY)
        patch.setenv("TUNESMITH_HOME", str(folder / "home"))
        document, _ = run_with(folder, hosting, prices={"prompt": 3.0, "completion": 4.0})
    return folder, document


def test_it_answers_the_same_rows_and_is_scored_beside_the_others(evaluated, hosting):
    _, document = evaluated
    arm = document["arms"]["old"]
    assert arm["checks"]["exact"]["score"] == 1.0
    assert arm["checks"]["exact"]["n"] == document["rows"]
    assert (arm["model"], arm["prompt_tokens"], arm["completion_tokens"]) == ("gpt-x", 100.0, 10.0)
    assert arm["cost_per_million_requests"] == 100 * 3 + 10 * 4
    assert {body["max_tokens"] for body in hosting.requests} == {8}


def test_it_has_no_say_in_the_verdict_and_a_line_of_its_own(evaluated):
    _, document = evaluated
    assert document["verdict"]["against"] in ("base", "prompted", "examples")
    beside = document["hosted"]["old"]
    assert beside["difference"]["mean"] <= 0
    assert beside["difference"] == document["differences"]["exact"]["old"]
    assert beside["text"].startswith("Against gpt-x: ")
    assert "A million requests cost 340.00 there and" in beside["text"]
    assert document["verdict"]["text"].endswith(beside["text"])
    assert beside["texts"]["ko"] in document["verdict"]["texts"]["ko"]
    before = document["verdict"]["text"].removesuffix(beside["text"])
    assert "gpt-x" not in before
    assert "old" not in before


@pytest.mark.parametrize("language", ["en", "ko"])
def test_its_answers_and_its_line_are_on_the_page(evaluated, language):
    folder, document = evaluated
    page = run_page(read_records(folder / "run"), language=language)
    said = document["hosted"]["old"]["texts"][language]
    assert f"<p>{said.split(',')[0]}" in page
    assert "<dt>old</dt>" in page


def test_its_key_is_in_no_file(evaluated):
    folder, _ = evaluated
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.parent.name == "hosted" for path in files)
    assert all(KEY.encode() not in path.read_bytes() for path in files)
    assert "MY_KEY" in (folder / "run" / "config.yaml").read_text()


def test_what_it_does_not_answer_has_no_score_and_is_asked_for_again(
    tmp_path, hosting, monkeypatch, home
):
    refused = 400, {"error": {"message": "content policy"}}
    first = hosting.requests[0]["messages"][-1]["content"]
    only = JudgingServer()
    only.reply = lambda body: refused if body["messages"][-1]["content"] == first else "it is 7"
    monkeypatch.setenv("MY_KEY", KEY)
    with only:
        document, notices = run_with(tmp_path, only)
    rows, arm = document["rows"], document["arms"]["old"]
    assert arm["unanswered"] == document["hosted"]["old"]["unanswered"] == 1
    assert arm["checks"]["exact"]["n"] == rows - 1
    assert "refused (400)" in arm["checks"]["exact"]["note"]
    assert any(text.startswith(f"arm old: 1 of {rows} questions not answered") for text in notices)
    assert "1 question has no answer of it." in document["verdict"]["text"]
    assert INPUTS not in json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert known_evaluation(str(tmp_path / "run"), {}, data=None, out=None) is None


def test_where_nobody_answers_it_is_said_before_the_training_and_the_verdict_is_there(
    tmp_path, monkeypatch, home
):
    monkeypatch.setenv("MY_KEY", KEY)
    with JudgingServer() as gone:
        pass
    document, notices = run_with(tmp_path, gone)
    assert document["arms"]["old"]["checks"]["exact"]["score"] is None
    assert "no row has a score of both" in document["hosted"]["old"]["text"]
    assert document["verdict"]["against"] is not None
    assert [text for text in notices if "until it answers it has no score" in text]


def test_a_missing_key_is_told_before_anything_is_written(tmp_path, hosting, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"evaluate\.arms\.old: .* variable MY_KEY"):
        run_with(tmp_path, hosting)
    assert not (tmp_path / "run").exists()


def evaluate_settings(**evaluate):
    values = {"model": "m", "data": {"train": "t"}, "method": {"kind": "lora"}}
    return load_run_config(None, {**values, "evaluate": evaluate}).evaluate


HOSTED = {"endpoint": "http://localhost:1/v1", "model": "m", "key": None}


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"arms": {"tuned": HOSTED}}, "`tuned` cannot be the name of a further arm"),
        ({"arms": {"a b": HOSTED}}, "`a b` cannot be the name"),
        ({"arms": {"old": {**HOSTED, "instructed": True}}}, "without baseline_prompt"),
        ({"arms": {"old": {**HOSTED, "endpoint": f"http://x/v1?key={KEY}"}}}, "environment"),
        ({"arms": {"old": {**HOSTED, "key": KEY}}}, "name of an environment variable"),
        ({"arms": {"old": {**HOSTED, "prices": {"prompt": 1}}}}, "give both"),
    ],
)
def test_arms_that_cannot_be_are_refused(evaluate, message):
    with pytest.raises(ConfigError, match=message) as caught:
        evaluate_settings(checks=[{"kind": "exact"}], **evaluate)
    assert KEY not in str(caught.value)


def test_arms_need_checks():
    with pytest.raises(ConfigError, match="arms has no effect without checks"):
        evaluate_settings(arms={"old": HOSTED})


def test_it_is_told_the_instructions_where_that_is_asked_for():
    question = Question((Message("user", "Hi"),), "Ho")
    given = HostedSettings(**HOSTED, instructed=True)
    asked = {"checks": [{"kind": "exact"}], "baseline_prompt": "Be kind.", "max_new_tokens": 5}
    settings = evaluate_settings(**asked, arms={"a": given, "b": HOSTED})
    told, plain = open_arms(settings, [question], "Be kind.")
    assert [m["content"] for m in told.requests[0].messages] == ["Be kind.", "Hi"]
    assert [m["content"] for m in plain.requests[0].messages] == ["Hi"]


def test_a_call_is_compared_in_the_words_of_the_base(home):
    """A reference and an answer that call the same are the same text."""
    tokenizer = FAMILIES["qwen2_5"].tokenizer
    function = {"name": "rain", "description": "Rain?", "parameters": {}}
    answer = Message("assistant", "", tool_calls=(ToolCall("rain", {"city": "Oslo"}),))
    asked = (Message("user", "Rain in Oslo?"), answer)
    row = Conversation(asked, tools=({"type": "function", "function": function},))
    questions = questions_of([row], tokenizer, limit=1)
    call = {"id": "1", "type": "function"}
    call["function"] = {"name": "rain", "arguments": '{"city": "Oslo"}'}
    made = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": made}
    with JudgingServer() as server:
        server.reply = lambda body: (200, {"id": "1", "object": "x", "choices": [choice]})
        arms = {"a": {**HOSTED, "endpoint": server.url}}
        settings = evaluate_settings(checks=[{"kind": "exact"}], max_new_tokens=9, arms=arms)
        (arm,) = open_arms(settings, questions)
        arm.ask(Progress())
        assert arm.answers(tokenizer).texts == (questions[0].reference,)
    assert "Oslo" in questions[0].reference


@pytest.mark.parametrize("arguments", ["", "{}"])
def test_a_call_without_arguments_is_a_call(home, arguments):
    tokenizer = FAMILIES["qwen2_5"].tokenizer
    question = Question((Message("user", "Time?"),), "", ())
    reply = EndpointReply("", 1, 1, calls=(("now", arguments),))
    (call,) = calls_in(_text_of(reply, question, tokenizer))
    assert (call.name, call.arguments) == ("now", {})
