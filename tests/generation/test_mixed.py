"""Contract 7 at inference: one batch of base and adapters of every kind answers as each alone."""

import pytest
import torch

from tests.covering import covering, family_traits
from tests.families import STATES
from tests.variants import EXPERTS, FOUR_BIT, SHAPES, VARIANTS, attach, engine_for, fits
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.sampling import Sampling

IDS = ((71, 3, 90, 12, 33, 8, 60), (5, 9, 44))
# How a family decodes is held to the contract of blocks; here a shared head matters, or none.
TIES = family_traits([f for f in SHAPES if f != EXPERTS], only=("tied", "untied"))


def answers(engine, prompts):
    sampling = Sampling(max_new_tokens=6)
    made = generate(engine, prompts, stop_ids=frozenset(), sampling=sampling)
    return [answer.ids for answer in sorted(made, key=lambda answer: answer.row)]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("family", "four_bit"),
    [
        *covering(TIES, {False: ["16"], True: ["4"]}),
        *((family, False) for family in (EXPERTS, *STATES)),
    ],
)
def test_a_mixed_batch_answers_as_each_alone(family, four_bit, tmp_path):
    names = [n for n in VARIANTS if n != "full" and (not four_bit or n in (*FOUR_BIT, "prompt"))]
    names = [n for n in names if (four_bit or n not in FOUR_BIT) and fits(family, n)]
    if family in STATES:
        names = [*{VARIANTS[n].kind: n for n in names}.values()]
    engine = engine_for(family, FOUR_BIT[0] if four_bit else "lora", tmp_path / "base")
    for number, name in enumerate(names):
        adapter = attach(engine, name, tmp_path / "base", name=name)
        generator = torch.Generator().manual_seed(number)
        for parameter in adapter.trained.values():
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        adapter.refresh()
    prompts = [Prompt(ids, name) for ids in IDS for name in (None, *names)]
    together = answers(engine, prompts)
    assert together == [answers(engine, [prompt])[0] for prompt in prompts]
    assert len(set(together[: 1 + len(names)])) > len(names) // 2, "they answer alike"
