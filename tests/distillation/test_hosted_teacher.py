"""A teacher behind an endpoint: its answers are checked, kept, and named with their terms."""

import json

import pytest

from tests.distillation.distilling import HAS_F, answers_of, files_of, rows_of
from tests.judging_server import JudgingServer
from tests.runs.tiny import config as run_config
from tunesmith.config.distill import DistillSettings
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.progress import Notice
from tunesmith.runs.run import train_run

KEY = "sk-not-a-real-key-1234"


@pytest.fixture(autouse=True)
def _a_home_of_its_own(home):
    """Replies are remembered in the cache."""


@pytest.fixture
def hosting():
    with JudgingServer() as server:
        server.reply = lambda body: f"of course {body['messages'][-1]['content']}"
        yield server


@pytest.fixture
def teach(ask, hosting):
    def distill(**changes):
        given = {"teacher": hosting.url, "teacher_model": "big", "teacher_key": "none"}
        return ask(model="no base at all", **{**given, **changes})

    return distill


def test_its_answers_become_rows_without_a_base_and_the_instruction(teach, hosting):
    done = teach(checks=[HAS_F])
    assert answers_of(done)["say two"] == "of course say two"
    assert done.rows == done.draws == len(hosting.requests) == 10
    roles = [message["role"] for message in hosting.requests[0]["messages"]]
    assert roles == ["system", "user"]
    assert [message["role"] for message in rows_of(done)[0]] == ["user", "assistant"]


def test_it_needs_no_instruction(teach, hosting):
    assert teach(instruction=None).rows == 10
    assert [len(body["messages"]) for body in hosting.requests] == [1] * 10


def test_what_does_not_pass_is_asked_again_and_then_listed(teach, hosting):
    hosting.reply = lambda body: "zzz" if "two" in body["messages"][-1]["content"] else "for you"
    done = teach(checks=[HAS_F], samples=3)
    assert (done.rows, done.draws) == (9, 12)
    assert [each.faults for each in done.failed] == [{"has_f": 3}]


def test_who_wrote_the_rows_and_under_which_terms_is_recorded(teach, tmp_path, hosting):
    notices = []
    done = teach(emit=lambda e: notices.append(e.code) if isinstance(e, Notice) else None)
    assert "teacher_terms" in notices
    record = json.loads((tmp_path / "rows.distill.json").read_text())
    assert record["teacher"] == {"model": "big", "endpoint": hosting.url, "terms": None}
    asked = len(hosting.requests)
    done = teach(teacher_terms="Outputs may be used freely.", resume=True)
    assert len(hosting.requests) == asked
    assert done.teacher["terms"] == "Outputs may be used freely."
    record = json.loads((tmp_path / "rows.distill.json").read_text())
    assert record["teacher"]["terms"] == "Outputs may be used freely."


def test_the_card_of_what_is_trained_on_them_names_both(teach, tmp_path):
    teach(teacher_terms="Outputs may be used freely.")
    trained = tmp_path / "trained"
    trained.mkdir()
    train = {"steps": 1, "rows_per_step": 2, "lr": 0.01}
    data = {"train": str(tmp_path / "rows.jsonl"), "eval": 0}
    train_run(run_config(trained, data=data, train=train, evaluate={}))
    card = (trained / "run" / "adapter" / "README.md").read_text()
    assert "The answers in rows.jsonl were written by big at http" in card
    assert "Terms of its outputs: Outputs may be used freely." in card


def test_what_it_answered_before_it_was_gone_is_not_asked_again(teach, tmp_path, hosting):
    def reply(body):
        if body["messages"][-1]["content"] in ("say nine", "say ten"):
            return 401, {"error": {"message": "no such key"}}
        return "for you"

    hosting.reply = reply
    with pytest.raises(DataError, match=r"answers no more: .*401"):
        teach()
    assert files_of(tmp_path) == {}
    asked = {body["messages"][-1]["content"] for body in hosting.requests}
    hosting.requests.clear()
    hosting.reply = lambda body: "for you"
    assert teach().rows == 10
    again = [body["messages"][-1]["content"] for body in hosting.requests]
    assert {"say nine", "say ten"} >= set(again) & asked


def test_one_input_that_it_refuses_is_listed(teach, hosting):
    refused = 400, {"error": {"message": "content policy"}}
    hosting.reply = lambda body: (
        refused if body["messages"][-1]["content"] == "say one" else "for you"
    )
    done = teach(samples=2)
    assert done.rows == 9
    assert [each.faults for each in done.failed] == [{"no_reply": 2}]


def test_many_inputs_that_it_refuses_are_listed_too(teach, hosting):
    refused = 400, {"error": {"message": "content policy"}}
    hosting.reply = lambda body: (
        "for you" if body["messages"][-1]["content"] == "say ten" else refused
    )
    done = teach()
    assert done.rows == 1
    assert [each.faults for each in done.failed] == [{"no_reply": 4}] * 9


def test_another_seed_asks_anew(teach, hosting):
    for seed, asked in ((0, 10), (1, 20), (1, 20)):
        teach(seed=seed, out=f"{seed}{len(hosting.requests)}.jsonl", temperature=1.0)
        assert len(hosting.requests) == asked


def test_its_key_is_in_no_file(teach, tmp_path, monkeypatch, hosting):
    monkeypatch.setenv("MY_KEY", KEY)
    teach(teacher_key="MY_KEY")
    assert hosting.headers[0]["authorization"] == f"Bearer {KEY}"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(KEY.encode() not in path.read_bytes() for path in files)


def test_another_teacher_does_not_resume(teach):
    teach()
    with pytest.raises(DataError, match="teacher"):
        teach(teacher_model="other", resume=True, samples=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give an instruction"),
        ({"teacher": "http://x/v1"}, "teacher_model, its name"),
        ({"prompt": "p", "teacher_terms": "free"}, "teacher_terms has no effect without teacher"),
        ({"teacher": f"http://me:{KEY}@x/v1", "teacher_model": "m"}, "in the environment"),
        ({"teacher": "http://x/v1", "teacher_model": "m", "teacher_key": KEY}, "name of an env"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        DistillSettings(inputs="i", out="o.jsonl", **values)
    assert KEY not in str(caught.value)
