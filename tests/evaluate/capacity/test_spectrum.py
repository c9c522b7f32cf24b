"""Singular values from the factors alone are those of the full product."""

import math

import pytest
import torch

from tests.models.tiny import tiny_model
from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import prepare_
from tunesmith.evaluate.capacity.spectrum import singular_values, spectra
from tunesmith.methods import lora


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("rank", "wide", "tall"), [(1, 7, 5), (4, 30, 20), (8, 6, 9), (8, 40, 3)])
def test_values_are_those_of_the_full_product(rank, wide, tall):
    a, b = random(rank, wide), random(tall, rank, seed=1)
    full = torch.linalg.svdvals(2.5 * b @ a)
    found = singular_values(a, b, scale=2.5)
    count = min(rank, wide, tall)
    assert found.shape == (count,)
    torch.testing.assert_close(found, full[:count], rtol=1e-9, atol=1e-9)


def test_turning_and_stretching_the_factors_against_each_other_changes_nothing():
    a, b, mix = random(4, 12), random(9, 4, seed=1), random(4, 4, seed=2)
    other = singular_values(torch.linalg.solve(mix, a), b @ mix)
    torch.testing.assert_close(other, singular_values(a, b), rtol=1e-8, atol=1e-8)


def test_the_full_product_is_never_made():
    rows = 60_000  # whose product would take 29 GB
    values = singular_values(torch.ones(2, rows), torch.ones(rows, 2))
    assert values[0].item() == pytest.approx(2 * rows)


def test_factors_that_do_not_fit_or_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"A \[2, 3\] and B \[4, 3\] have no product"):
        singular_values(torch.ones(2, 3), torch.ones(4, 3))
    with pytest.raises(ValueError, match="no number"):
        singular_values(torch.full((1, 2), math.nan), torch.ones(2, 1))


def attached(**settings):
    engine = prepare_(tiny_model("llama"), torch.float32)
    adapter = lora.attach(engine, LoraSettings(rank=3, alpha=6, **settings), name="mine")
    return engine, adapter


def test_every_layer_with_a_term_is_there_with_its_scale():
    engine, adapter = attached(targets=("q_proj", "o_proj"))
    for parameter in adapter.parameters.values():
        parameter.data = torch.randn_like(parameter)
    found = spectra(engine, "mine")
    assert {name.rpartition(".")[2] for name in found} == {"q_proj", "o_proj"}
    for name, values in found.items():
        term = engine.linears[name].terms["mine"]
        full = torch.linalg.svdvals(2.0 * (term.b @ term.a).detach().double())[:3]
        assert values == pytest.approx(full.tolist())
    assert spectra(engine, "other") == {}


def test_an_untrained_adapter_has_values_of_zero_whatever_its_start():
    for start in ("uniform", "pissa"):
        engine, _ = attached(**({} if start == "uniform" else {"start": start}))
        for values in spectra(engine, "mine").values():
            assert max(values) < 1e-5


def test_a_layer_that_is_no_number_is_named():
    engine, adapter = attached(targets=("q_proj",))
    next(iter(adapter.parameters.values())).data.fill_(math.inf)
    with pytest.raises(ValueError, match=r"layers\.\d\.self_attn\.q_proj: "):
        spectra(engine, "mine")
