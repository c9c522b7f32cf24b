"""H: transformers' Trainer with PEFT's LoRA, or without it for full fine-tuning.

As its users run it without a GPU at its fastest: bf16, dynamic padding, no gradient checkpointing.
"""

import argparse
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from benchmarks.measure import print_result, side_options
from benchmarks.sides.clocked import clocked
from benchmarks.workload import DOCUMENTS, ROWS_PER_STEP

# Weights, then whether products run under bf16 autocast.
PRECISIONS = {
    "bf16": (torch.bfloat16, True),
    "mixed": (torch.float32, True),
    "fp32": (torch.float32, False),
}


def main() -> None:
    """Train and print the JSON line."""
    options = _options()
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="right")
    steps = DOCUMENTS[options.documents](tokenizer, options.steps)
    rows = [
        {"input_ids": d.ids, "attention_mask": [1] * len(d.ids), "labels": d.labels}
        for step in steps
        for d in step
    ]
    trainer = clocked(Trainer)(
        model=_model(options),
        args=_arguments(options),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    trainer.train()
    kind = "full" if options.full else "lora"
    print_result(f"H {kind} {options.precision}", trainer.step_log)


def _options() -> argparse.Namespace:
    parser = side_options(__doc__)
    parser.add_argument("--precision", choices=sorted(PRECISIONS), default="bf16")
    parser.add_argument("--full", action="store_true", help="train every weight, without PEFT")
    parser.add_argument("--adapter", help="a PEFT adapter folder to start from")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--constant-lr", action="store_true", help="instead of linear decay")
    options = parser.parse_args()
    if options.full and options.adapter:
        parser.error("--full trains no adapter; leave out --adapter")
    return options


def _model(options: argparse.Namespace) -> PreTrainedModel | PeftModel:
    weights, _ = PRECISIONS[options.precision]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=weights)
    if options.full:
        return model
    if options.adapter:
        return PeftModel.from_pretrained(model, options.adapter, is_trainable=True)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, lora)


def _arguments(options: argparse.Namespace) -> TrainingArguments:
    return TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=ROWS_PER_STEP,
        max_steps=options.steps,
        learning_rate=options.lr,
        lr_scheduler_type="constant" if options.constant_lr else "linear",
        bf16=PRECISIONS[options.precision][1],
        use_cpu=True,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to=[],
    )


if __name__ == "__main__":
    main()
