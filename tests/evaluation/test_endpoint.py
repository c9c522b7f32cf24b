"""A model behind an endpoint: asked at once, through every fault, and never twice."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.faulty_proxy import FAULTS, FaultyProxy
from tests.judging_server import JudgingServer
from tunesmith.core.progress import Cancelled, Progress
from tunesmith.data.rows import Message, ToolCall
from tunesmith.evaluation.endpoint import (
    Endpoint,
    EndpointAddress,
    EndpointRequest,
    NoReply,
    as_messages,
    open_endpoint,
)

KEY = "sk-not-a-real-key-0815"


@pytest.fixture(autouse=True)
def _a_home_of_its_own(home):
    """Replies are remembered in the cache."""


@pytest.fixture
def echo():
    """A server that repeats the last message."""
    with JudgingServer() as server:
        server.reply = lambda body: f"echo {body['messages'][-1]['content']}"
        yield server


def server_at(url, **changes):
    values = {"key": None, "timeout_seconds": 2.0, "tries": 8, "parallel": 16, **changes}
    return EndpointAddress("This test", "m", url, **values)


def requests(count=20, **more):
    return [
        EndpointRequest(({"role": "user", "content": f"q{i}"},), 8, **more) for i in range(count)
    ]


def texts(endpoint, asked):
    return [endpoint.ask(each).text for each in asked]


def test_every_request_is_answered_through_every_fault(echo, monkeypatch, home, caplog):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level("DEBUG")
    echo.delay = 0.2
    shares = dict.fromkeys(FAULTS, 0.06)
    with FaultyProxy(echo.url, seed=1, **shares) as proxy:
        endpoint = open_endpoint(server_at(proxy.url, key="MY_KEY"), "hosted")
        asked = requests()
        endpoint.ask_all(asked)
        assert texts(endpoint, asked) == [f"echo q{i}" for i in range(20)]
        assert set(proxy.answered.values()) == {1}
        assert set(FAULTS) <= set(proxy.faults)
        assert 4 < proxy.most_at_once <= 16
        assert proxy.headers[0]["authorization"] == f"Bearer {KEY}"
    again = open_endpoint(server_at(proxy.url, key="MY_KEY"), "hosted")  # nobody listens
    assert texts(again, asked) == [f"echo q{i}" for i in range(20)]
    assert again.ask(asked[0]).remembered
    assert KEY not in caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())


ASKING = """
import sys
from tests.evaluation.test_endpoint import requests, server_at
from tunesmith.evaluation.endpoint import open_endpoint
open_endpoint(server_at(sys.argv[1], parallel=4), "hosted").ask_all(requests(40))
"""


def test_after_a_kill_nothing_that_was_kept_is_asked_again(echo, home):
    echo.delay = 0.1
    with FaultyProxy(echo.url) as proxy:
        environment = {**os.environ, "TUNESMITH_HOME": os.environ["TUNESMITH_HOME"]}
        process = subprocess.Popen([sys.executable, "-c", ASKING, proxy.url], env=environment)
        deadline = time.monotonic() + 60
        while sum(proxy.answered.values()) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = [*home.rglob("hosted/*.json")]
        before = dict(proxy.asked)
        assert 0 < len(kept) < 40
        assert sum(proxy.answered.values()) - len(kept) <= 4  # those on their way at the kill
        asked = requests(40)
        endpoint = open_endpoint(server_at(proxy.url, parallel=4), "hosted")
        endpoint.ask_all(asked)
        assert texts(endpoint, asked) == [f"echo q{i}" for i in range(40)]
        assert sum(proxy.asked.values()) - sum(before.values()) == 40 - len(kept)


def test_a_cancel_ends_what_is_waited_for_and_keeps_what_came(echo, home):
    echo.reply = lambda body: (
        (time.sleep(5) if "q1" in body["messages"][-1]["content"] else None) or "ok"
    )
    started = time.monotonic()
    progress = Progress(cancelled=lambda: time.monotonic() - started > 0.5)
    endpoint = open_endpoint(server_at(echo.url, timeout_seconds=60), "hosted")
    with pytest.raises(Cancelled):
        endpoint.ask_all(requests(4), phase=progress.phase("asking"))
    assert time.monotonic() - started < 3
    assert len([*home.rglob("hosted/*.json")]) == 3


def test_one_request_that_is_refused_leaves_the_others(echo):
    refusal = 400, {"error": {"message": f"content policy {KEY}"}}
    echo.reply = lambda body: refusal if body["messages"][-1]["content"] == "q3" else "ok"
    endpoint = open_endpoint(server_at(echo.url), "hosted")
    endpoint.ask_all(requests(8))
    with pytest.raises(NoReply, match=r"the model m at http://.* refused \(400\)"):
        endpoint.ask(requests(8)[3])
    assert endpoint.ask(requests(8)[4]).text == "ok"
    assert endpoint.gone is None


def test_requests_that_are_refused_for_what_they_ask_do_not_end_the_others(echo):
    refusal = 400, {"error": {"message": "content policy"}}
    echo.reply = lambda body: "ok" if body["messages"][-1]["content"] == "q7" else refusal
    endpoint = open_endpoint(server_at(echo.url, parallel=1), "hosted")
    endpoint.ask_all(requests(8))
    assert endpoint.gone is None
    assert endpoint.ask(requests(8)[7]).text == "ok"


@pytest.mark.parametrize(
    ("reason", "ended"),
    [("content_filter", None), ("length", "length"), ("eos_token", "stop"), (None, "stop")],
)
def test_an_answer_that_was_stopped_is_no_reply(echo, home, reason, ended):
    message = {"role": "assistant", "content": "The first part"}
    choice = {"index": 0, "finish_reason": reason, "message": message}
    echo.reply = lambda body: (200, {"id": "1", "object": "x", "choices": [choice]})
    endpoint = open_endpoint(server_at(echo.url), "hosted")
    if ended is not None:
        assert endpoint.ask(requests(1)[0]).ended == ended
        return
    with pytest.raises(NoReply, match="ended its answer early: content_filter"):
        endpoint.ask(requests(1)[0])
    assert len(echo.requests) == 1
    assert [*home.rglob("hosted/*.json")] == []


def test_a_draw_of_its_own_is_a_request_of_its_own(echo):
    endpoint = open_endpoint(server_at(echo.url), "hosted")
    endpoint.ask_all([*requests(1), *requests(1, temperature=0.7), *requests(1, draw=1)])
    assert len(echo.requests) == 3


def test_calls_of_tools_are_read_and_their_tools_are_sent(echo):
    call = {"id": "1", "type": "function", "function": {"name": "rain", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    echo.reply = lambda body: (200, {"id": "1", "object": "x", "choices": [choice]})
    tool = {"type": "function", "function": {"name": "rain", "parameters": {}}}
    endpoint = open_endpoint(server_at(echo.url), "hosted")
    reply = endpoint.ask(requests(1, tools=(tool,))[0])
    assert (reply.text, reply.calls) == ("", (("rain", "{}"),))
    assert echo.requests[0]["tools"] == [tool]
    again = Endpoint(endpoint.server, endpoint.folder)
    assert again.ask(requests(1, tools=(tool,))[0]).calls == reply.calls


def test_a_conversation_is_sent_as_openai_has_it():
    call = ToolCall("rain", {"city": "Oslo"})
    messages = as_messages(
        [
            Message("user", "Rain?"),
            Message("assistant", "", thinking="hm", tool_calls=(call, call)),
            Message("tool", "yes"),
            Message("tool", "no"),
        ]
    )
    assert json.loads(json.dumps(messages)) == [
        {"role": "user", "content": "Rain?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "type": "function",
                    "id": f"call_1_{i}",
                    "function": {"name": "rain", "arguments": '{"city": "Oslo"}'},
                }
                for i in range(2)
            ],
        },
        {"role": "tool", "content": "yes", "tool_call_id": "call_1_0"},
        {"role": "tool", "content": "no", "tool_call_id": "call_1_1"},
    ]
