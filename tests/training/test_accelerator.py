"""A step on a pretended accelerator: nothing on the wrong device, one wait, one copy a stream.

``tests.accelerator`` counts what a GPU would be waited for. It has no numbers and no clock: that
results are right is what every other test is for, and how fast they come only a GPU can say.
"""

import contextlib
from dataclasses import replace

import pytest
import torch

from tests.accelerator import META, Accelerator, four_bit_meta_, meta_model
from tests.families import FAMILIES, TRAITS
from tests.training.test_retention import documents
from tests.training.tiny import adam, dataset, plan
from tests.variants import FOUR_BIT, TEXT, VARIANTS, VIRTUAL
from tunesmith.config import LoraSettings, TrainSettings
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.methods.adapter import Words
from tunesmith.training import optimizer as eight_bit
from tunesmith.training.events import StepDone
from tunesmith.training.gradients import streams_of
from tunesmith.training.job import Job, Member, Round
from tunesmith.training.loop import train
from tunesmith.training.retention import Retention, teacher_states

NEW_TOKENS = {97: (5, 6), 98: (), 4: (4,)}


# Transformers' own forward makes a number into a tensor of the device, in each sparse layer.
THEIR_WAITS = {"gemma3n_text": "modeling_gemma3n.py"}


def engine_for(family, *, four_bit=False):
    model = meta_model(family)
    return prepare_(four_bit_meta_(model) if four_bit else model, torch.bfloat16)


def member(engine, settings, folder, *, name="a", recompute="none", **options):
    """``options``: whether it is ``retained``, its ``optimizer``, and words of its start."""
    retained, optimizer = options.pop("retained", False), options.pop("optimizer", "adamw")
    adapter = table.attach(engine, settings, name=name, seed=0, words=Words(**options))
    settings = TrainSettings(rows_per_step=3, save_steps=100, retention=None, optimizer=optimizer)
    job = Job(engine, adapter, dataset(), None, settings, folder)
    if retained:
        made = documents()
        job = replace(job, retention=Retention(made, teacher_states(engine, made), 0.7, 0.6, 3))
        if not adapter.frozen_base:
            engine.base_head_weight = engine.head_weight.detach().clone()
    own = plan(recompute=recompute, tokens_per_micro_batch=20)
    return Member(job, own, adam(job))


def assert_waits_once(*members, layouts=0):
    """In a step the host waits for its losses, when all of it is asked for, and for nothing else.

    Each stream is one copy; where there are new tokens, so is where they are, and so are its
    ``layouts`` for attention. Recurrent states have more, of where they begin.
    """
    with Accelerator() as accelerator:
        done = next(e for each, e in train(members) if isinstance(e, StepDone) or each.error)
    assert isinstance(done, StepDone)
    waits = dict(accelerator.waits)
    family = members[0].job.engine.model.config.model_type
    traits, theirs = TRAITS[family], THEIR_WAITS.get(family, "no other")
    waits = {place: count for place, count in waits.items() if theirs not in place}
    if "experts" in traits:  # CUDA's own product of groups takes their ends from the device
        waits = {place: count for place, count in waits.items() if "groups.py" not in place}
    (place,), (count,) = zip(*waits.items(), strict=True)
    assert place.startswith("meta to cpu: gradients.py")
    assert "_read" in place
    assert count == 1
    if "recurrent state" not in traits:
        new_tokens = bool(members[0].job.engine.vocabularies)
        assert accelerator.sent == streams_in(members) * (1 + new_tokens + layouts)


def streams_in(members):
    """Of the first step."""
    going = [Round(each, each.job.steps(0), 0, 0) for each in members]
    for each in going:
        each.draw()
    return len(streams_of(going, tokens=20))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_of_every_family(family, tmp_path):
    assert_waits_once(member(engine_for(family), LoraSettings(rank=2), tmp_path))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in FOUR_BIT])
def test_a_step_of_every_method_and_variant(variant, tmp_path):
    settings, text = VARIANTS[variant], TEXT if variant in VIRTUAL else ()
    family = "qwen3_moe" if getattr(settings, "target_parameters", ()) else "gemma2"
    assert_waits_once(member(engine_for(family), settings, tmp_path, init_text=text))


METHODS = {
    "lora": LoraSettings(rank=2),
    "dropout": LoraSettings(rank=2, dropout=0.3, dora=True),
    "tokens": LoraSettings(rank=2, new_tokens=["<a>", "<b>", "c"]),
    "prompt": PromptSettings(tokens=3),
    "projection": PTuningSettings(tokens=3, projection=8),
    "full": VARIANTS["full"],
}


FEATURES = [
    *(("dropout", {"recompute": recompute}) for recompute in RECOMPUTE[1:]),
    *((method, {"recompute": RECOMPUTE[-1]}) for method in METHODS if method != "dropout"),
    *((method, {"retained": True}) for method in ("tokens", "full")),
    *((method, {"four_bit": True}) for method in ("dropout", "projection")),
    *((method, {"optimizer": "adamw8bit"}) for method in ("lora", "full")),
]


@pytest.mark.parametrize(("method", "features"), FEATURES, ids=str)
def test_a_step_with_every_feature(method, features, tmp_path, monkeypatch):
    monkeypatch.setattr(eight_bit, "SMALLEST", 64)
    for signed in (True, False):
        eight_bit._tables(META, signed=signed)  # once in a process
    engine = engine_for("qwen3", four_bit=features.get("four_bit", False))
    options = {key: value for key, value in features.items() if key != "four_bit"}
    options |= {"new_tokens": NEW_TOKENS} if method == "tokens" else {}
    assert_waits_once(member(engine, METHODS[method], tmp_path, **options))


def test_adapters_that_train_together_are_read_together(tmp_path):
    engine = engine_for("gemma3_text")
    members = [
        member(engine, METHODS[name], tmp_path / name, name=name)
        for name in ("lora", "dropout", "prompt", "projection")
    ]
    assert_waits_once(*members)


@pytest.mark.parametrize(
    "read",
    [
        lambda x, _: x.sum().item(),
        lambda x, _: bool(x[0, 0] > 0),
        lambda x, _: x.tolist(),
        lambda x, _: x[x > 0],
        lambda _, rows: rows.to(META),
        lambda x, _: torch.tensor([1, 2], device=x.device),
    ],
)
def test_the_pretended_accelerator_counts_what_waits(read):
    with Accelerator() as accelerator, contextlib.suppress(NotImplementedError):
        read(torch.ones(3, 2, device=META), torch.tensor([0]))
    assert accelerator.waits.total() == 1


def test_the_pretended_accelerator_refuses_tensors_of_the_host():
    with Accelerator(), pytest.raises(RuntimeError, match=r"index_select.*of the CPU"):
        torch.ones(3, 2, device=META).index_select(0, torch.tensor([0]))
