"""What files alone can refuse is refused before torch is imported: in an instant, not in eight
seconds.
"""

import json
import subprocess
import sys

import pytest

TAKEN, ROWS = "taken", "rows.jsonl"
CHECKED = ("train", "--data", ROWS, "--evaluate.checks", "exact")
PROBES, TEXTS = ("--evaluate.forgetting.probes",), ("--train.retention.texts",)
CASES = {
    ("chat", "nope"): "nope is not a run, adapter or base: there is no such folder, nor runs/nope.",
    ("chat", "runs/nope"): "runs/nope is not a run, adapter or base: there is no such folder.",
    ("chat", "--adapter", "nope"): "nope is not an adapter",
    ("runs", "show", "nope"): "nope is not a run",
    ("report", "nope"): "nope holds no run",
    ("train", "--resume", "nope"): "nope holds no run",
    ("train", "--data", "nope.jsonl"): "nope.jsonl: does not exist",
    ("train", "nope.yaml"): "nope.yaml: does not exist",
    ("train", "--data", ROWS, "--model", "nope"): "'nope' is not a folder, .gguf file or known",
    ("train", "--data", ROWS, "--model", "runs/nope"): "'runs/nope' is not a folder",
    ("train", "--data", ROWS, "--out", TAKEN): "taken is not empty and holds no run",
    ("train", "--data", ROWS, "--method.init", "nope"): "method.init: there is not a folder nope",
    ("train", "--data", ROWS, "--method.rank", "x"): "--method.rank: ",
    ("train", "--data", "other.jsonl"): "other.jsonl:1: ",
    ("train", "--data", ROWS, "--data.map", "prompt=que"): "que",
    ("train", "--data", "empty.jsonl"): "empty.jsonl:3: ",
    ("evaluate", "nope"): "nope is not a run",
    ("evaluate", "nope", "--data", ROWS): "nope is not a run, adapter or base",
    ("evaluate", TAKEN, "--data", "nope.jsonl"): "nope.jsonl: does not exist",
    ("compare", "--data", "nope.jsonl", "--methods", "lora,prompt"): "nope.jsonl: does not exist",
    ("compare", "--resume", "nope"): "nope holds no comparison",
    ("search", "--data", "nope.jsonl"): "nope.jsonl: does not exist",
    ("search", "--resume", "nope"): "nope holds no search",
    ("data", "curve", "--data", "nope.jsonl"): "nope.jsonl: does not exist",
    ("data", "curve", "--resume", "nope"): "nope holds no comparison",
    ("data", "check", "nope.jsonl"): "nope.jsonl: does not exist",
    ("data", "show", "nope.jsonl"): "nope.jsonl: does not exist",
    ("data", "check", "other.jsonl"): "other.jsonl:1: ",
    ("data", "show", "other.jsonl"): "other.jsonl:1: ",
    ("data", "check", ROWS, "--model", "nope"): "'nope' is not a folder, .gguf file or known",
    ("init", "nope.csv"): "nope.csv: does not exist",
    ("init", ROWS, "--out", TAKEN): "taken: exists already",
    ("serve", "--model", "nope"): "nope is not a run, adapter or base",
    ("serve", "--adapter", "nope"): "nope is not an adapter",
    (*CHECKED, *PROBES, "nope.jsonl"): "evaluate.forgetting.probes: nope.jsonl: d",
    (*CHECKED, *PROBES, "nope"): "there is no probe `nope`",
    (*CHECKED, "--evaluate.knowledge", "nope.jsonl"): "nope.jsonl: does not exist",
    ("train", "--data", ROWS, *TEXTS, "nope.txt"): "train.retention.texts: nope.txt: does not",
    ("adapters", "show", "nope"): "nope is not an adapter",
    ("adapters", "verify", "nope"): "nope is not an adapter",
    ("adapters", "export", "nope", "--to", "gguf", "--out", "o"): "nope is not an adapter",
    ("adapters", "conflicts", "nope", "no"): "nope is not an adapter",
    ("adapters", "merge", "nope", "no", "--method", "ties", "--out", "o"): "nope is not an adapter",
}
SCRIPT = """
import contextlib, io, json, os, sys
from tunesmith.cli.main import main
found = []
os.chdir(sys.argv[1])
for words in json.loads(sys.stdin.read()):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = main(words)
    found.append([status, said.getvalue(), "torch" in sys.modules])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """Every command line in one process: its status, what it says, and whether torch is there."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / TAKEN).mkdir()
    (folder / TAKEN / "mine").write_text("")
    (folder / ROWS).write_text('{"prompt": "a", "completion": "b"}\n' * 9)
    (folder / "other.jsonl").write_text('{"message": "a", "routing": "b"}\n' * 9)
    row = {"prompt": "a", "completion": "b"}
    lines = [json.dumps(each) for each in (row, row, {**row, "completion": ""})]
    (folder / "empty.jsonl").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        input=json.dumps(list(CASES)),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_it_is_refused_before_torch_is_imported(words, refused):
    status, said, has_torch = refused[words]
    assert CASES[words] in said
    assert status == 1
    assert not has_torch
