"""A run over a mixture: what it reports, trains, stores and hands over."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.models.test_layout import MIXED
from tests.runs.tiny import base_folder, config, rows_file
from tunesmith.core.progress import Notice, Progress
from tunesmith.runs.run import train_run

pytestmark = pytest.mark.usefixtures("home")


def test_a_run_on_experts_reports_what_it_leaves_out_and_is_read_by_peft(tmp_path):
    base_folder(tmp_path / "base", "qwen3_moe", **MIXED["qwen3_moe"])
    rows_file(tmp_path / "rows.jsonl")
    method = {"kind": "lora", "rank": 2, "target_parameters": ["experts.down_proj"]}
    train = {"steps": 2, "rows_per_step": 3, "save_steps": 2, "lr": 0.01, "retention": "none"}
    events = []
    values = config(tmp_path, method=method, train=train, evaluate={})
    adapter = train_run(values, progress=Progress(events.append)).adapter
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any("2 stacks of experts are not among the targets" in each for each in notices)
    tensors = load_file(Path(adapter) / "adapter_model.safetensors")
    experts = {name: tensor for name, tensor in tensors.items() if "experts" in name}
    assert len(experts) == 2 * MIXED["qwen3_moe"]["num_hidden_layers"]
    assert any(tensor.any() for name, tensor in experts.items() if "lora_B" in name)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model.load_adapter(str(adapter))  # transformers' own way, through PEFT
    loaded = dict(model.named_parameters())
    mine = next(name for name in experts if "lora_B" in name)
    name = mine.removeprefix("base_model.model.").replace("lora_B", "lora_B.default")
    assert loaded[name].equal(experts[mine])
