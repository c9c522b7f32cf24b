"""H: transformers' Trainer with PEFT's LoRA, or without it for full fine-tuning.

As its users run it without a GPU at its fastest: bf16, dynamic padding, no gradient checkpointing.
"""

import argparse

import torch
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from benchmarks.measure import method_options, print_result
from benchmarks.sides.clocked import clocked
from benchmarks.sides.peers import lora, plain_arguments
from benchmarks.workload import DOCUMENTS, ROWS_PER_STEP

# Weights, then whether products run under bf16 autocast.
PRECISIONS = {
    "bf16": (torch.bfloat16, True),
    "mixed": (torch.float32, True),
    "fp32": (torch.float32, False),
}


def main() -> None:
    """Train and print the JSON line."""
    parser = method_options(__doc__, sorted(PRECISIONS))
    parser.add_argument("--four-bit", action="store_true", help="NF4 by bitsandbytes")
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
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


def _model(options: argparse.Namespace) -> PreTrainedModel | PeftModel:
    weights, _ = PRECISIONS[options.precision]
    quantized = None
    if options.four_bit:
        quantized = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=weights,
        )
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=weights, quantization_config=quantized
    )
    if options.full:
        return model
    if options.adapter:
        return PeftModel.from_pretrained(model, options.adapter, is_trainable=True)
    if options.four_bit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return get_peft_model(model, lora(options.rank))


def _arguments(options: argparse.Namespace) -> TrainingArguments:
    return TrainingArguments(
        **plain_arguments(options.steps),
        per_device_train_batch_size=ROWS_PER_STEP,
        learning_rate=options.lr,
        lr_scheduler_type="constant" if options.constant_lr else "linear",
        bf16=PRECISIONS[options.precision][1],
        dataloader_pin_memory=False,
    )


if __name__ == "__main__":
    main()
