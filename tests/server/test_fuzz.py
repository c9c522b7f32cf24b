"""Whatever a request says, it is answered or refused in the shape that is documented."""

import json

import httpx2 as httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.server.errors import DOCUMENTED

TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["", "<|im_end|>", "\0", "한국어 😀", " "]))
ODD = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS)
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXTS,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS}),
        }
    ),
    max_size=2,
)
ROLES = st.sampled_from(["system", "developer", "user", "user", "assistant", "tool", "x"])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "content": st.one_of(TEXTS, TEXTS, PARTS, ODD)},
        optional={"name": ODD, "tool_calls": CALLS, "tool_call_id": ODD, "weight": ODD},
    ),
    max_size=3,
).map(lambda some: [*some, {"role": "user", "content": "hello"}])
SCHEMAS = st.sampled_from([{}, {"type": "integer"}, {"type": "x"}, {"enum": []}, {"$ref": "#"}])
OPTIONS = {
    "temperature": st.one_of(st.floats(0, 2), ODD),
    "top_p": st.one_of(st.floats(1e-9, 1), ODD),
    "n": st.sampled_from([1, 2, 0, 17, None]),
    "stop": st.one_of(TEXTS, st.lists(TEXTS, max_size=3), ODD),
    "seed": st.one_of(st.integers(), ODD),
    "logprobs": st.one_of(st.booleans(), ODD),
    "top_logprobs": st.sampled_from([0, 1, 20, 21, None]),
    "stream": st.one_of(st.booleans(), ODD),
    "stream_options": st.sampled_from([{"include_usage": True}, {}, {"x": 1}, None]),
    "response_format": st.one_of(
        st.sampled_from([{"type": "text"}, {"type": "json_object"}, {"type": "x"}]),
        SCHEMAS.map(lambda s: {"type": "json_schema", "json_schema": {"name": "x", "schema": s}}),
    ),
    "presence_penalty": ODD,
    "user": ODD,
}
CHATS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["base", "mine", "soft"]),
        "messages": MESSAGES,
        "max_tokens": st.sampled_from([1, 2, 3]),
    },
    optional=OPTIONS,
)


@given(CHATS)
@settings(
    max_examples=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_request_is_answered_by_a_fault_of_the_server(server, body):
    found = httpx.post(
        f"{server.url}/v1/chat/completions",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert found.status_code in {200, *DOCUMENTED} - {500}
    if found.status_code == 200 and body.get("stream"):
        assert found.text.endswith("data: [DONE]\n\n") or '"error"' in found.text
    elif found.status_code == 200:
        assert len(found.json()["choices"]) == (body.get("n") or 1)
    else:
        assert found.json()["error"]["message"]
