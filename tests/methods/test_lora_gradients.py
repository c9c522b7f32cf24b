"""The gradients of A and B equal those of Hugging Face PEFT on the same rows."""

import peft
import pytest
import torch
from safetensors.torch import load_file

from tests.families import FAMILIES, TRAITS, make_exact, tiny_model
from tests.methods.test_contract import rows
from tunesmith.adapters import store
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import pack

PARAMETERS = ["experts.gate_up_proj", "experts.down_proj", "router.weight"]


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys")
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_equal_pefts(family, dora, monkeypatch, tmp_path):
    make_exact(monkeypatch)
    has_experts = "experts" in TRAITS[family]  # which have no DoRA in PEFT
    config = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=["q_proj", "o_proj"] if has_experts and dora else "all-linear",
        target_parameters=PARAMETERS if has_experts and not dora else None,
        init_lora_weights=False,
        use_dora=dora,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(tiny_model(family), config, autocast_adapter_dtype=False)
    model.save_pretrained(tmp_path)
    expected = 0.0
    for row in rows("a"):
        ids = torch.tensor([row.ids])
        out = model(input_ids=ids).logits[0, :-1]
        expected = expected + torch.nn.functional.cross_entropy(out, ids[0, 1:], reduction="sum")
    expected.backward()
    theirs = {
        name.replace(".default", "").replace("vector.weight", "vector"): p.grad
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    engine = prepare_(tiny_model(family))
    adapter = store.load(engine, tmp_path, name="a")
    exact = load_file(tmp_path / store.TENSORS)
    for name, parameter in adapter.parameters.items():
        parameter.data = exact[name]
    adapter.refresh()
    batch = pack(rows("a"))
    loss = loss_sum(engine.hidden_states(batch), batch, engine.head)
    loss.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=1e-6)
    assert theirs.keys() == adapter.parameters.keys()
    for name, parameter in adapter.parameters.items():
        torch.testing.assert_close(parameter.grad, theirs[name], rtol=1e-6, atol=1e-6)
