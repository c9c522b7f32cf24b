"""Recipes for clusters: what they run is a command line that exists."""

import ast
import re
import shlex
import subprocess

import pytest
import yaml

from tests.source import ROOT
from tests.test_docs import commands
from tunesmith.cli.main import app, main
from tunesmith.cli.train import read_words

FOLDER = ROOT / "examples" / "scale"
PAGE = ROOT / "docs" / "scale.md"
RECIPES = ("train.sbatch", "kubeflow.yaml", "skypilot.yaml", "ray_train.py")
# Of the manual of sbatch, those that a recipe may need.
SBATCH = {
    *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "time"),
    *("signal", "requeue", "open-mode", "output", "error", "partition", "account", "gres"),
}
VALUES = {"CONFIG": "tunesmith.yaml", "MIRROR": "s3://bucket/runs/x", "ranks": "4"}


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def trainjob():
    (job,) = [each for each in documents("kubeflow.yaml") if each["kind"] == "TrainJob"]
    return job


def scripts():
    """The shell of each recipe."""
    (sky,) = documents("skypilot.yaml")
    return {
        "train.sbatch": (FOLDER / "train.sbatch").read_text(encoding="utf-8"),
        "kubeflow.yaml": trainjob()["spec"]["trainer"]["args"][0],
        "skypilot.yaml: setup": sky["setup"],
        "skypilot.yaml: run": sky["run"],
    }


def lines(script):
    """Commands of a script as words, continued lines joined."""
    joined = re.sub(r"\\\n\s*|(?<=\|\|)\n\s*", " ", script)
    for line in re.split(r"\n|\|\|", joined):
        if not line.strip().startswith("#"):
            yield shlex.split(line)


def torchruns():
    """The words after `torchrun` in each recipe."""
    for name, script in scripts().items():
        for words in lines(script):
            if "torchrun" in words:
                yield name, words[words.index("torchrun") + 1 :]


def trainings():
    """The words after `tunesmith train` in each recipe; `set --` gives those of "$@"."""
    for name, script in scripts().items():
        every = list(lines(script))
        given = [words[2:] for words in every if words[:2] == ["set", "--"]]
        for words in every:
            if "tunesmith" in words:
                rest = words[words.index("tunesmith") + 1 :]
                assert rest.pop(0) == "train"
                for arguments in given if rest == ["$@"] else [rest]:
                    yield name, [re.sub(r"\$\{?(\w+)\}?", value, word) for word in arguments]
    for words in ast_lists(FOLDER / "ray_train.py"):
        yield "ray_train.py", words


def value(match):
    return VALUES.get(match[1], "runs/x")


def is_list(node):
    return isinstance(node, ast.List)


def ast_lists(path):
    """The lists that begin `--resume` or name the config, as their words would be."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.IfExp):
            for side in filter(is_list, (node.body, node.orelse)):
                yield [each.value if isinstance(each, ast.Constant) else "x" for each in side.elts]


def test_each_recipe_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {
        *RECIPES,
        "requirements.txt",
    }
    assert not [name for name in RECIPES if f"../examples/scale/{name}" not in text]


@pytest.mark.parametrize("name", scripts())
def test_shell_is_valid(name):
    done = subprocess.run(["bash", "-n"], input=scripts()[name], text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_directives_of_slurm_stand_before_the_first_command_and_exist():
    text = (FOLDER / "train.sbatch").read_text(encoding="utf-8")
    head = text[: re.search(r"^[^#\s]", text, re.M).start()]
    found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.M)
    assert len(found) == text.count("#SBATCH") == head.count("#SBATCH")
    assert {name for name, _ in found} <= SBATCH
    assert dict(found)["ntasks-per-node"] == "1"  # torchrun starts the ranks of a machine


def test_torchrun_takes_what_it_is_given():
    from torch.distributed.run import get_args_parser

    found = dict(torchruns())
    assert set(found) == {"train.sbatch", "kubeflow.yaml"}
    for words in found.values():
        numbers = {"$SLURM_JOB_NUM_NODES": "2", "$SLURM_GPUS_ON_NODE": "4"}
        read = get_args_parser().parse_args([numbers.get(word, word) for word in words])
        assert (read.module, read.training_script) == (True, "tunesmith")


def test_torchrun_gives_its_ranks_nearly_the_time_that_the_scheduler_gives():
    text = (FOLDER / "train.sbatch").read_text(encoding="utf-8")
    limit = int(re.search(r"^#SBATCH --signal=TERM@(\d+)$", text, re.M)[1])
    given = int(re.search(r"^export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=(\d+)", text, re.M)[1])
    assert 30 < given < limit
    spec = yaml.safe_dump(trainjob())
    environment = {each["name"]: each["value"] for each in trainjob()["spec"]["trainer"]["env"]}
    assert f"terminationGracePeriodSeconds: {limit}\n" in spec
    assert environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == str(given)


@pytest.mark.parametrize(("name", "words"), trainings(), ids=lambda each: str(each)[:60])
def test_every_training_is_a_command_line_that_exists(name, words):
    from typer.main import get_command

    group = get_command(app)
    command = group.get_command(None, "train")
    context = command.make_context("train", list(words), resilient_parsing=False)
    resume = context.params["resume"]
    config, _ = read_words(context.args, command="train")
    assert (config is None) == (resume is not None)  # each recipe begins or resumes


def test_each_recipe_both_begins_a_run_and_resumes_it():
    found = {name: [] for name in RECIPES}
    for name, words in trainings():
        found[name.partition(":")[0]].append(words[0] == "--resume")
    assert all(sorted(kinds) == [False, True] for kinds in found.values()), found


def test_the_page_shows_commands_that_exist(capsys):
    shown = commands("docs/scale.md")
    assert len(shown) > 3
    for command in shown:
        words = shlex.split(command)[1:]
        depth = 2 if words[0] in {"adapters", "data", "model", "rag", "runs"} else 1
        assert main([*words[:depth], "--help"]) == 0, command


def test_a_pod_has_what_its_volumes_name():
    job, kinds = trainjob(), {each["kind"]: each for each in documents("kubeflow.yaml")}
    (patch,) = job["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = replicated["template"]["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    claim = volumes["shared"]["persistentVolumeClaim"]["claimName"]
    assert claim == kinds["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    assert replicated["name"] == container["name"] == "node"


def test_the_config_of_the_kubernetes_recipe_is_one(tmp_path):
    from tunesmith.config import load_run_config

    (config,) = [each for each in documents("kubeflow.yaml") if each["kind"] == "ConfigMap"]
    (tmp_path / "c.yaml").write_text(config["data"]["tunesmith.yaml"])
    assert load_run_config(tmp_path / "c.yaml", {}).data.train == "/shared/train.jsonl"
