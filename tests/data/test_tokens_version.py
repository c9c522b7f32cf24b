"""Fixed rows have the tokens that were recorded for `TOKENS_VERSION`, so that caches hit."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.families import TEMPLATES
from tests.recorded.base import TEMPLATE, base_tokenizer
from tunesmith.data.read import SourceRequest, open_records
from tunesmith.data.template import Rendering
from tunesmith.data.token_cache import TOKENS_VERSION
from tunesmith.data.tokenize import ChunkTokenizer, Recipe

# Where a test fails: is the change of the tokens meant? Then give TOKENS_VERSION another value, and
# record it here with what the test found. Else tokens of another version of the program would be
# trained where the cache holds them.
VERSION = "2026-12-01"
RECORDED = {
    "chatml row": "75058df3d5e701f980741e6ecc7909877a05de363e93f7ddba51df1afa9b913e",
    "chatml answer": "939c4e4f3422c725bd14902d002b3f23e8c1f8cc2a4b5af5944e9c311f6f3214",
    "qwen3 answer": "7e2cd634d8f63c5f6d42b87722ddce7af3c4a5cfc83f896fd775243a74e685f6",
    "llama3_1 row": "c68f42e8ee82bce5750ea9d98d0649b26a35217e0d01164815a5584912f91dd9",
    "marked/gemma3 row": "4d66f32d8db917a1796e73999e5e28517eac8f3d05bb58606f5cfe0616358407",
}
FOREIGN = sorted((Path(__file__).parent / "foreign_formats").rglob("*.[cj]s*"))
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}}
CALL = {"id": "abcdefghi", "function": {"name": "weather", "arguments": '{"city": "Zürich"}'}}
ASK, ANSWER = {"role": "user", "content": "say 1"}, {"role": "assistant", "content": "one"}
ROWS = {
    "chats.jsonl": [
        {"messages": [{"role": "system", "content": "be brief"}, ASK, ANSWER, ASK, ANSWER]},
        {"messages": [ASK, {**ANSWER, "weight": 0}, ASK, {**ANSWER, "weight": 0.5}, ASK]},
        {"messages": [ASK, {**ANSWER, "thinking": "hm"}]},
        {"messages": [ASK, {**ANSWER, "content": "<think>hm</think>one"}, ASK, ANSWER]},
        {
            "messages": [
                *(ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}),
                *({"role": "tool", "content": "rain", "tool_call_id": "abcdefghi"}, ANSWER),
            ],
            "tools": [TOOL],
        },
        {"messages": [{**ASK, "content": "<|im_end|> <|eot_id|>"}, ANSWER]},
        {"messages": [ASK, ASK]},
    ],
    "pairs.jsonl": [
        {"prompt": "사과 한 개", "completion": " apple\n"},
        {"prompt": [ASK, ANSWER, ASK], "completion": [ANSWER]},
        {"prompt": "a", "completion": 2.0},
        {"prompt": "", "completion": "b"},
    ],
    "texts.jsonl": [{"text": "the quick brown fox\n" * i} for i in (1, 9, 40)],
    "choices.jsonl": [{"query": "q", "choices": ["a", "b"], "gold": i} for i in (0, 1, 2)],
    "shares.jsonl": [{"conversations": [{"from": "human", "value": "q"}, {"human": "b"}]}],
}


def tokens_of(path, tokenizer, document):
    """A digest of the tokens, weights and conversations of a file, and of what is wrong with it."""
    layout, faults, records = open_records(SourceRequest(str(path)))
    recipe = Recipe(tokenizer, 100, Rendering(document=document))
    made = ChunkTokenizer(recipe).records(list(records), layout)
    digest = hashlib.sha256(json.dumps([layout.format, made.records]).encode())
    for name in ("ids", "starts", "stops", "span_weights", "lengths", "lines", "owners"):
        digest.update(np.ascontiguousarray(getattr(made.block, name)).tobytes())
    for conversation in made.conversations:
        digest.update(conversation.replace(str(path.parent).encode(), b""))
    digest.update(str([(f.line, f.code) for f in (*faults, *made.faults.listed)]).encode())
    return digest.hexdigest()


@pytest.mark.parametrize("case", RECORDED)
def test_fixed_rows_have_the_tokens_of_the_version(case, tmp_path):
    name, document = case.split()
    tokenizer = base_tokenizer()
    if name != "chatml":
        tokenizer.chat_template = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    assert tokenizer.chat_template != TEMPLATE or name == "chatml"
    for file, rows in ROWS.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / file).write_text(text, encoding="utf-8")
    digest = hashlib.sha256()
    for path in (*FOREIGN, *(tmp_path / name for name in ROWS)):
        digest.update(tokens_of(path, tokenizer, document).encode())
    assert (TOKENS_VERSION, digest.hexdigest()) == (VERSION, RECORDED[case])
