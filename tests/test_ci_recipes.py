"""Recipes for build servers: their commands exist, and a plain shell holds to the verdict."""

import json
import os
import shlex
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.runs.tiny import base_folder, rows_file
from tests.source import ROOT
from tunesmith.cli.main import main

FOLDER = ROOT / "examples" / "ci"
STATUS = {"yes": 0, "no": 3, "cannot-tell": 4}


def read(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def scripts():
    """The shell lines of each recipe, without the installation."""
    (job,) = read("github.yaml")["jobs"].values()
    github = [step["run"] for step in job["steps"] if "run" in step]
    found = {"github": github, "gitlab": read("gitlab.yaml")["verdict"]["script"]}
    return {name: [x for x in lines if "pip install" not in x] for name, lines in found.items()}


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_every_command_of_a_recipe_exists_with_its_flags(name, capsys):
    words = [shlex.split(line.split("||")[-1]) for line in scripts()[name]]
    assert len(words) == 2
    for first, *rest in words:
        assert first == "tunesmith"
        assert main([rest[0], "--help"]) == 0
        shown = capsys.readouterr().out
        assert not [flag for flag in rest if flag.startswith("--") and f"{flag} " not in shown]


def test_what_a_recipe_writes_is_what_it_uploads():
    (job,) = read("github.yaml")["jobs"].values()
    uploaded = job["steps"][-1]["with"]["path"].split()
    gitlab = read("gitlab.yaml")["verdict"]["artifacts"]
    assert set(uploaded) == {*gitlab["paths"], gitlab["reports"]["junit"]}
    for lines in scripts().values():
        assert {"verdict.xml", "verdict.md"} <= set(shlex.split(lines[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_a_recipe_run_in_a_shell_ends_as_its_verdict_says(name, tmp_path):
    (tmp_path / "data").mkdir()
    base_folder(tmp_path / "base")
    rows_file(tmp_path / "data" / "train.jsonl")
    config = {
        "model": "base",
        "dtype": "float32",
        "data": {"train": "data/train.jsonl", "eval": 0.25},
        "train": {"steps": 4, "rows_per_step": 3},
        "evaluate": {"checks": [{"kind": "exact"}], "max_new_tokens": 4, "forgetting": "none"},
    }
    (tmp_path / "tunesmith.yaml").write_text(yaml.safe_dump(config))
    command = tmp_path / "tunesmith"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tunesmith "$@"\n')
    command.chmod(0o755)
    own = {"TUNESMITH_HOME": str(tmp_path / "home"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment = {**os.environ, **own, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(["bash", "-ec", scripts()[name][0]], cwd=tmp_path, env=environment)
    run = tmp_path / "runs" / "candidate"
    verdict = json.loads((run / "evaluation.json").read_text())["verdict"]
    assert done.returncode == STATUS[verdict["answer"]] != 0
    assert ET.parse(tmp_path / "verdict.xml").find(".//failure").get("type") == verdict["answer"]
    assert verdict["text"].split(".")[0] in (tmp_path / "verdict.md").read_text()
