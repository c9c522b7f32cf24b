"""Recipes fit the schemas that their own programs publish (`make test-scale` installs those).

Nothing of Tunesmith is imported: those programs need other versions of what it needs.
"""

import importlib.util
import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "scale"


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def test_skypilot_takes_its_file():
    schemas = pytest.importorskip("sky.utils.schemas")
    from jsonschema import validate

    (task,) = documents("skypilot.yaml")
    validate(task, schemas.get_task_schema())
    validate(task["resources"], schemas.get_resources_schema())


def test_the_trainjob_has_fields_of_the_published_api_only():
    models = pytest.importorskip("kubeflow_trainer_api.models")
    (job,) = [each for each in documents("kubeflow.yaml") if each["kind"] == "TrainJob"]
    read = models.TrainerV1alpha1TrainJob.from_dict(job)
    assert read.to_dict() == job  # what it does not know, it drops


def test_the_other_objects_are_kubernetes_own():
    validator = pytest.importorskip("kubernetes_validate")
    others = [each for each in documents("kubeflow.yaml") if each["kind"] != "TrainJob"]
    assert len(others) == 2
    for each in others:
        validator.validate(each, validator.latest_version(), strict=True)


def test_ray_takes_the_trainer():
    pytest.importorskip("ray.train.torch")
    spec = importlib.util.spec_from_file_location("ray_train", FOLDER / "ray_train.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    made = recipe.trainer("tunesmith.yaml", "/shared/runs/x", 8, on_gpus=True)
    assert made.scaling_config.num_workers == 8
    assert made.run_config.failure_config.max_failures == 3
    assert list(inspect.signature(recipe.train_rank).parameters) == ["settings"]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_hadolint_finds_nothing(name):
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, str(ROOT / name)], capture_output=True, text=True)
    assert not re.sub(r"\s", "", done.stdout), done.stdout
