"""What transformers, PEFT, TRL, LLaMA-Factory and Axolotl call a setting, and the key of ours."""

OURS = {
    "r": "method.rank",
    "lora_r": "method.rank",
    "lora_rank": "method.rank",
    "lora_alpha": "method.alpha",
    "lora_dropout": "method.dropout",
    "lora_target": "method.targets",
    "lora_target_modules": "method.targets",
    "target_modules": "method.targets",
    "use_dora": "method.dora",
    "init_lora_weights": "method.init",
    "num_virtual_tokens": "method.tokens",
    "learning_rate": "train.lr",
    "lr_scheduler_type": "train.schedule",
    "lr_scheduler": "train.schedule",
    "warmup_ratio": "train.warmup_steps",
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "max_steps": "train.steps",
    "batch_size": "train.rows_per_step",
    "micro_batch_size": "train.rows_per_step",
    "per_device_train_batch_size": "train.rows_per_step",
    "gradient_accumulation_steps": "train.rows_per_step",
    "gradient_checkpointing": "train.recompute",
    "eval_steps": "train.evaluate_steps",
    "early_stopping_patience": "train.patience",
    "optim": "train.optimizer",
    "max_seq_length": "data.max_tokens",
    "max_length": "data.max_tokens",
    "sequence_len": "data.max_tokens",
    "cutoff_len": "data.max_tokens",
    "val_set_size": "data.eval",
    "dataset_text_field": "data.map",
    "model_name_or_path": "model",
    "base_model": "model",
    "output_dir": "out",
    "metric_for_best_model": "train.best_by",
}


def ours(name: str) -> str | None:
    """Our key for a setting that goes by another name elsewhere, whatever section it was given in;
    None where it has none.
    """
    return OURS.get(name.rpartition(".")[2].lower())
