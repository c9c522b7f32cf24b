"""T0: TRL's SFTTrainer with a LoRA of the same rank, everything else as TRL chooses."""

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from benchmarks.measure import print_result, side_options
from benchmarks.sides.clocked import clocked
from benchmarks.sides.peers import count_own_tokens_, lora, plain_arguments
from benchmarks.workload import ROWS_PER_STEP, chats


def main() -> None:
    """Train and print the JSON line."""
    options = side_options(__doc__, documents=["rows"]).parse_args()
    torch.set_num_threads(options.threads)
    trainer = clocked(SFTTrainer)(
        model=options.model,
        args=SFTConfig(**plain_arguments(options.steps)),
        train_dataset=Dataset.from_list(chats()[: options.steps * ROWS_PER_STEP]),
        peft_config=lora(),
    )
    if trainer.args.per_device_train_batch_size != ROWS_PER_STEP:
        raise SystemExit("TRL's default batch is no longer 8 rows; the comparison needs a new one.")
    trainer.train()
    count_own_tokens_(trainer.step_log, trainer.processing_class, options.steps)
    print_result("T0 trl defaults", trainer.step_log)


if __name__ == "__main__":
    main()
