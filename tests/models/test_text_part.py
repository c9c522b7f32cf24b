"""The language model of a whole class: contract 1, and its towers are not loaded."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests.engine.test_contract import TOLERANCE, assert_same_gradients, rows
from tests.families import SHAPE
from tests.whole import (
    KINDS,
    PROCESSOR,
    make_whole_exact,
    tower_tensors,
    whole_folder,
    whole_model,
)
from tunesmith.core.progress import SILENT
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import pack
from tunesmith.models.four_bit import four_bit_of, quantized
from tunesmith.models.load import load_base, read_config
from tunesmith.models.text_part import remove_towers_, towers_of

PLACES = SHAPE["vocab_size"] - 4  # from here on ids stand for images


def trainable(model):
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_packed_text_equals_the_whole_class_row_by_row(kind, monkeypatch):
    make_whole_exact(monkeypatch)
    made = [replace(row, ids=[i if i < PLACES else 5 for i in row.ids]) for row in rows()]
    whole, logits, total = trainable(whole_model(kind)), [], 0
    for row in made:
        out = whole(input_ids=torch.tensor([row.ids])).logits[0]
        logits.append(out.detach())
        losses = torch.nn.functional.cross_entropy(
            out[:-1], torch.tensor(row.ids[1:]), reduction="none"
        )
        total = total + (losses * torch.tensor(row.weights[1:], dtype=losses.dtype)).sum()
    total.backward()
    model = whole_model(kind)
    remove_towers_(model)
    engine = prepare_(model)
    trainable(model)
    hidden = engine.hidden_states(batch := pack(made))
    loss = loss_sum(hidden, batch, engine.head)
    loss.backward()
    torch.testing.assert_close(engine.head.logits(hidden), torch.cat(logits), **TOLERANCE)
    torch.testing.assert_close(loss, total, **TOLERANCE)
    towers = tuple(f"{name}." for name in towers_of(model).modules)
    expected = {n: p.grad for n, p in whole.named_parameters() if not n.startswith(towers)}
    assert_same_gradients({n: p.grad for n, p in model.named_parameters()}, expected)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_language_model_is_loaded_and_its_names_are_the_whole_classs(
    kind, tmp_path, capfd
):
    base = load_base(str(whole_folder(tmp_path, kind)), dtype="float32", device="cpu")
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    capfd.readouterr()
    expected, found = whole.state_dict(), base.model.state_dict()
    towers = towers_of(base.model).modules
    assert towers
    assert {n for n in expected if not n.startswith(towers)} == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    (note,) = [note for note in base.notes if note.startswith("not loaded")]
    assert note == f"not loaded, as rows are text: {', '.join(towers)}"
    assert not any(note.startswith("not used") for note in base.notes)
    assert base.context == 256


def test_loading_reports_no_tower_as_a_fault(tmp_path, home, caplog):
    load_base(str(whole_folder(tmp_path, "gemma3")), dtype="float32", device="cpu")
    assert "UNEXPECTED" not in caplog.text


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", KINDS)
def test_the_4_bit_copy_is_a_whole_class_with_its_towers_as_they_were(kind, tmp_path):
    base = whole_folder(tmp_path / "base", kind)
    config = read_config(base, trust_remote_code=False)
    copy = quantized(base, config, dtype=torch.float32, progress=SILENT)
    before, towers = tower_tensors(base), tower_tensors(copy)
    assert before.keys() == towers.keys()
    assert all(torch.equal(towers[name], tensor) for name, tensor in before.items())
    assert (copy / PROCESSOR).is_file()
    loaded = load_base(str(base), dtype="float32", device="cpu", four_bit=True)
    engine = prepare_(loaded.model)
    assert all(linear.is_four_bit for linear in engine.linears.values())
    whole = AutoModelForImageTextToText.from_pretrained(
        copy, dtype=torch.float32, device_map={"": "cpu"}
    )
    for name, module in whole.named_modules():  # bitsandbytes multiplies no matrix this small
        if name in engine.linears:
            assert torch.equal(four_bit_of(module).dense(), engine.linears[name].dense()), name
        elif isinstance(module, torch.nn.Linear):
            assert four_bit_of(module) is None, name
