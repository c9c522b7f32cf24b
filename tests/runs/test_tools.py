"""Rows whose answers call tools: trained, evaluated by their calls, and asked again."""

import json

import pytest

from tests.runs import tiny
from tunesmith.runs.run import train_run

TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + (m['content'] or '') }}"
    "{% for call in m.tool_calls or [] %}"
    "{{ '<tool_call>' + call.function | tojson + '</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "rain", "parameters": CITY}}]


def row(number):
    """A question, a call and, in every other row, what came of it with an answer."""
    call = {"name": "rain", "arguments": {"city": f"c{number}"}}
    turns = [
        {"role": "user", "content": f"rain in c{number}?"},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
        {"role": "tool", "content": f"{number} mm"},
        {"role": "assistant", "content": f"{number} mm"},
    ]
    return {"messages": turns[: 4 if number % 2 else 2], "tools": TOOLS}


@pytest.mark.usefixtures("home")
def test_a_run_on_calls_is_evaluated_and_asked_again(tmp_path):
    base = tiny.base_folder(tmp_path / "base", max_position_embeddings=600)
    (base / "chat_template.jinja").write_text(TEMPLATE)
    rows = "".join(json.dumps(row(number)) + "\n" for number in range(24))
    (tmp_path / "rows.jsonl").write_text(rows)
    again = {"rows": 3, "samples": 2, "paraphrases": 1}
    evaluate = {"checks": ["tool_call"], "max_new_tokens": 8, "consistency": again}
    beside = {"forgetting": "none", "knowledge": "none"}
    train = {"steps": 2, "rows_per_step": 3, "retention": "none"}
    run = tiny.config(tmp_path, evaluate={**evaluate, **beside}, train=train)
    document = train_run(run).evaluation
    assert document["rows"] > 1
    assert set(document["arms"]["tuned"]["checks"]) == {"tool_call"}
    assert document["consistency"] is not None
