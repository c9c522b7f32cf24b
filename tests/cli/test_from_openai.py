"""The three commands of docs/from-openai.md, as a user types them, to a verdict."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.families import TEMPLATES
from tests.judging_server import JudgingServer

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "from-openai.md"
TOOL = {
    "type": "function",
    "function": {
        "name": "order_status",
        "description": "Where an order is",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
    },
}
FEW = (
    *("--train.steps", "4", "--train.rows_per_step", "4", "--evaluate.rows", "8"),
    *("--evaluate.max_new_tokens", "24", "--evaluate.timed_rows", "0", "--evaluate.num_fewshot"),
    *("2", "--evaluate.forgetting", "none", "--evaluate.consistency", "none"),
    *("--evaluate.knowledge", "none", "--train.retention", "none"),
)


def conversation(number, *, tools):
    """Several turns, the first of which is not trained."""
    order = str(1000 + 37 * number)
    messages = [
        {"role": "system", "content": "You help customers of a shop."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hello, what can I do for you?", "weight": 0},
        {"role": "user", "content": f"Where is order {order}?", "name": "ann"},
    ]
    row = {"messages": messages, "parallel_tool_calls": False}
    if not tools:
        return {**row, "messages": [*messages, answer(f"Order {order} is on its way.")]}
    function = {"name": "order_status", "arguments": json.dumps({"order": order})}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    called = {"role": "assistant", "tool_calls": [call], "weight": 1}
    return {**row, "messages": [*messages, called], "tools": [TOOL]}


def answer(text):
    return {"role": "assistant", "content": text, "weight": 1}


def old_model(body):
    """The model that was fine-tuned on such rows: it answers as they do."""
    order = re.search(r"\d+", body["messages"][-1]["content"])[0]
    if "tools" not in body:
        return f"Order {order} is on its way."
    function = {"name": "order_status", "arguments": json.dumps({"order": order})}
    call = {"id": "1", "type": "function", "function": function}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": said}
    usage = {"prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100}
    return 200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


def commands():
    """Those of the page."""
    block = PAGE.read_text().split("```sh\n")[1].split("```")[0]
    return [shlex.split(line) for line in block.strip().splitlines()]


@pytest.fixture
def base(request, tmp_path):
    """The default base, and a copy of it whose chat template writes tools."""
    from tunesmith.models.resolve import resolve

    folder = resolve("smollm2-135m-instruct")
    if not request.param:
        return "smollm2-135m-instruct"
    shutil.copytree(folder, tmp_path / "base", copy_function=os.link)
    template = tmp_path / "base" / "chat_template.jinja"
    template.unlink(missing_ok=True)
    template.write_text((TEMPLATES / "qwen2_5.jinja").read_text())
    return str(tmp_path / "base")


@pytest.mark.parametrize(("base", "tools"), [(False, False), (True, True)], indirect=["base"])
def test_three_commands_lead_from_openais_file_to_a_verdict(base, tools, tmp_path):
    rows = [conversation(number, tools=tools) for number in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = []
    with JudgingServer() as server:
        server.reply = old_model
        for words in commands():
            own = [word.replace("https://api.openai.com/v1", server.url) for word in words[1:]]
            if tools:
                own = ["tool_call" if word == "exact" else word for word in own]
            more = ["--model", base] if own[0] != "evaluate" else []
            more += FEW if own[0] == "train" else ()
            ended = subprocess.run(
                [sys.executable, "-m", "tunesmith", *own, *more, "--json"],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "OPENAI_API_KEY": "sk-none",
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                capture_output=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr.decode()[-3000:]
            documents.append(json.loads(ended.stdout))
    checked, trained, evaluated = documents
    assert (checked["format"], checked["rows"], checked["faults"]) == ("chat", 40, [])
    assert "parallel_tool_calls" in json.dumps(checked["warnings"])
    assert trained["evaluation"]["verdict"]["answer"] in ("yes", "no", "cannot-tell")
    old = evaluated["arms"]["old"]
    check = "tool_call" if tools else "exact"
    assert old["checks"][check]["score"] == 1.0
    assert old["unanswered"] == 0
    assert "Against ft:gpt-4o-mini-2024-07-18:shop::abc: " in evaluated["verdict"]["text"]
