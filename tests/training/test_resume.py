"""Contract 8 for every method and variant: a resumed run is the unbroken one, bit for bit."""

import pytest
import torch

from tests.covering import pairs
from tests.families import STATES
from tests.methods.test_contract import base_digest
from tests.training.test_loop import resumed, run
from tests.training.tiny import dataset, plan, tensors
from tests.variants import SHAPES, VARIANTS, attach, engine_for
from tunesmith.config import TrainSettings
from tunesmith.training.events import Ended, HeldOut
from tunesmith.training.job import Job

# A checkpoint holds tensors by name; of all that a family does, a shared one alone matters to it.
TIES = ("tied", "untied")
pytestmark = pytest.mark.usefixtures("home")


def job_of(family, variant, tmp_path, *, run_folder, held=True):
    engine = engine_for(family, variant, tmp_path / "base")
    return Job(
        engine=engine,
        adapter=attach(engine, variant, tmp_path / "base", seed=1),
        rows=dataset(),
        held=dataset(4, seed=9) if held else None,
        settings=TrainSettings(rows_per_step=3, save_steps=2, lr=1e-2),
        folder=tmp_path / run_folder,
    )


@pytest.mark.parametrize(
    ("family", "variant"),
    [*pairs(SHAPES, VARIANTS, only=TIES), *zip(STATES, ("full", "prompt", "lora"), strict=True)],
)
def test_stopped_and_resumed_equals_unbroken_and_the_base_stays(family, variant, tmp_path):
    unbroken = job_of(family, variant, tmp_path, run_folder="a")
    before = base_digest(unbroken.engine.model)
    assert run(unbroken, plan(steps=5))[-1] == Ended(5, "done")
    frozen = unbroken.adapter.frozen_base
    assert (base_digest(unbroken.engine.model) == before) == frozen
    first = job_of(family, variant, tmp_path, run_folder="b")
    run(first, plan(steps=5), stop_after=3)
    second = job_of(family, variant, tmp_path, run_folder="b")
    state, optimizer = resumed(second)
    run(second, plan(steps=5), state=state, optimizer=optimizer)
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_evaluation_between_steps_changes_nothing(variant, tmp_path):
    jobs = [
        job_of("gemma2", variant, tmp_path, run_folder=str(held), held=held)
        for held in (True, False)
    ]
    held_out = [
        any(isinstance(event, HeldOut) for event in run(job, plan(steps=4))) for job in jobs
    ]
    assert held_out == [True, False]
    for name, expected in tensors(jobs[0]).items():
        assert torch.equal(tensors(jobs[1])[name], expected), name
