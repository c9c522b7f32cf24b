"""The models and documents as MCP tools, asked by the protocol's own client."""

import asyncio
import json
import time

import httpx2 as httpx
import pytest

from tests.server.conftest import client_of
from tests.server.test_access import hash_of, scheduler_of, until

pytest.importorskip("mcp", reason="needs the extra mcp")

from mcp import Client
from mcp.client.streamable_http import streamable_http_client

MODES = ("auto", "legacy")  # of the protocol: without and with a handshake


async def call(server, name, mode="auto", key=None, **arguments):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = getattr(server, "url", server)
    async with httpx.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            if name is None:
                return (await client.list_tools()).tools
            return await client.call_tool(name, arguments)


def ask(server, name, **arguments):
    return asyncio.run(call(server, name, **arguments))


@pytest.mark.parametrize("mode", MODES)
def test_the_models_are_listed_and_asked(server, client, mode):
    names = [tool.name for tool in ask(server, None, mode=mode)]
    assert names == ["list_models", "ask_model"]
    models = ask(server, "list_models", mode=mode).structured_content["models"]
    assert {"name": "b", "parent": "base"} in models
    asked = {"message": "hello", "max_tokens": 12}
    for model in ("base", "soft"):
        found = ask(server, "ask_model", mode=mode, model=model, **asked)
        expected = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=12,
            temperature=0,
        ).choices[0]
        assert found.content[0].text == expected.message.content
        assert found.structured_content["finish_reason"] == expected.finish_reason
    assert ask(server, "ask_model", **asked).structured_content["model"] == "base"


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("ask_model", {"message": "hello", "model": "nope"}, "There is no model 'nope'"),
        ("ask_model", {"message": ""}, "`message`"),
        ("ask_model", {}, "`message`"),
        ("ask_model", {"message": "x", "temprature": 1}, "`temprature` is not supported here"),
        ("ask_model", {"message": "x " * 400}, "no room for an answer"),
        ("search_documents", {"query": "x"}, "There is no tool 'search_documents'"),
    ],
)
def test_what_is_refused_is_said_in_the_result(server, name, arguments, text):
    found = ask(server, name, **arguments)
    assert found.is_error
    assert text in found.content[0].text


def test_it_is_behind_the_same_keys_and_limits(serving, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"ann:{hash_of('secret-a')}\n")
    guarded = serving(api_keys=keys, limits={"per_client": 1, "body_bytes": 20_000})
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    assert httpx.post(f"{guarded.url}/mcp", json=body, headers=headers).status_code == 401
    headers["Authorization"] = "Bearer secret-a"
    assert httpx.post(f"{guarded.url}/mcp", json=body, headers=headers).status_code == 200
    large = {**body, "params": {"x": "x" * 20_000}}
    assert httpx.post(f"{guarded.url}/mcp", json=large, headers=headers).status_code == 413
    form = {**headers, "Content-Type": "text/plain"}
    found = httpx.post(f"{guarded.url}/mcp", content=json.dumps(body), headers=form)
    assert found.status_code == 415
    other, scheduler = client_of(guarded, "secret-a"), scheduler_of(guarded)
    advance = scheduler.advance
    scheduler.advance = lambda: time.sleep(0.02) or advance()
    asked = [{"role": "user", "content": "hello"}]
    stream = other.chat.completions.create(
        model="base", messages=asked, max_tokens=200, stream=True, temperature=1, seed=1
    )
    until(lambda: scheduler.running)
    found = ask(guarded, "ask_model", key="secret-a", message="hello")
    assert found.is_error
    assert "1 request here already" in found.content[0].text
    stream.close()


def test_a_call_that_is_given_up_frees_its_row(serving):
    slow = serving(limits={"rows": 2})
    scheduler = scheduler_of(slow)

    async def give_up():
        task = asyncio.create_task(call(slow, "ask_model", message="hello", max_tokens=200))
        while not scheduler.running:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    advance = scheduler.advance
    scheduler.advance = lambda: asyncio.run(asyncio.sleep(0.02)) or advance()
    asyncio.run(give_up())
    until(lambda: not scheduler.running)
    assert scheduler.counts.made_tokens < 150
