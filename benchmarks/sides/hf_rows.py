"""PEFT and transformers' Trainer over given rows: from a saved adapter, at given learning rates."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftConfig, PeftModel
from transformers import PreTrainedModel, Trainer, TrainingArguments

from benchmarks.measure import print_result
from benchmarks.sides.clocked import clocked
from benchmarks.sides.peers import plain_arguments

UNSUPERVISED = -100


def main() -> None:
    """Train, save the adapter and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of the base")
    parser.add_argument("work", type=Path, help="JSON: steps of rows, rates, clip")
    parser.add_argument("start", help="folder of the adapter to start from")
    parser.add_argument("end", help="folder to save into")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    work = json.loads(given.work.read_text(encoding="utf-8"))
    base = transformers.AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.bfloat16)
    model = _trainable(base, given.start)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(trained, lr=1.0, weight_decay=0.0, fused=True)
    rates = work["rates"]
    at = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rates[min(step, len(rates) - 1)])
    trainer = clocked(Trainer)(
        model=model,
        args=TrainingArguments(
            **plain_arguments(len(rates)),
            per_device_train_batch_size=len(work["steps"][0]),
            max_grad_norm=work["clip"],
            bf16=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=[labelled(row) for step in work["steps"] for row in step],
        data_collator=transformers.DataCollatorForSeq2Seq(
            transformers.AutoTokenizer.from_pretrained(given.model, padding_side="right")
        ),
        optimizers=(adam, at),
    )
    trainer.train()
    model.save_pretrained(given.end)
    print_result("PEFT", trainer.step_log)


def _trainable(base: PreTrainedModel, start: str) -> PeftModel:
    """The adapter, to be trained on; PEFT loads virtual tokens for use only, unless told after."""
    if not PeftConfig.from_pretrained(start).is_prompt_learning:
        return PeftModel.from_pretrained(base, start, is_trainable=True)
    model = PeftModel.from_pretrained(base, start)
    model.active_peft_config.inference_mode = False
    model.prompt_encoder.requires_grad_(True)
    return model


def labelled(row: dict[str, Any]) -> dict[str, list[int]]:
    """A row of ids and weights as the Trainer's collator takes it."""
    ids = row["ids"]
    pairs = zip(ids, row["weights"], strict=True)
    labels = [i if weight else UNSUPERVISED for i, weight in pairs]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


if __name__ == "__main__":
    main()
