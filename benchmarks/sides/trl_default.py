"""T0: TRL's SFTTrainer with a LoRA of the same rank, everything else as TRL chooses."""

import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from benchmarks.measure import print_result, side_options
from benchmarks.sides.clocked import clocked
from benchmarks.workload import ROWS_PER_STEP, chats, steps_of_rows


def main() -> None:
    """Train and print the JSON line."""
    options = side_options(__doc__, documents=["rows"]).parse_args()
    torch.set_num_threads(options.threads)
    trainer = clocked(SFTTrainer)(
        model=options.model,
        args=SFTConfig(
            output_dir=tempfile.mkdtemp(),
            max_steps=options.steps,
            use_cpu=True,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to=[],
        ),
        train_dataset=Dataset.from_list(chats()[: options.steps * ROWS_PER_STEP]),
        peft_config=LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    if trainer.args.per_device_train_batch_size != ROWS_PER_STEP:
        raise SystemExit("TRL's default batch is no longer 8 rows; the comparison needs a new one.")
    trainer.train()
    # TRL keeps the newline behind the last turn; the rows' own tokens are counted for every side.
    steps = steps_of_rows(trainer.processing_class, options.steps)
    trainer.step_log.tokens = [sum(len(d.ids) for d in step) for step in steps]
    print_result("T0 trl defaults", trainer.step_log)


if __name__ == "__main__":
    main()
