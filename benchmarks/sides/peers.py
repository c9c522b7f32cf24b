"""What do all sides on transformers' Trainer share? PEFT's LoRA, and a Trainer that only trains."""

import tempfile
from typing import Any

from peft import LoraConfig
from transformers import PreTrainedTokenizerBase

from benchmarks.measure import StepLog
from benchmarks.workload import steps_of_rows


def lora(rank: int = 16, **others: Any) -> LoraConfig:
    """The LoRA of every side, in PEFT's words."""
    return LoraConfig(
        r=rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM", **others
    )


def plain_arguments(steps: int) -> dict[str, Any]:
    """Arguments of a Trainer that trains so many steps on the processor and saves nothing."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "max_steps": steps,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": [],
    }


def count_own_tokens_(log: StepLog, tokenizer: PreTrainedTokenizerBase, steps: int) -> None:
    """Count the rows' own tokens, as for every side: TRL keeps the newline behind the last turn."""
    log.tokens = [sum(len(d.ids) for d in step) for step in steps_of_rows(tokenizer, steps)]
