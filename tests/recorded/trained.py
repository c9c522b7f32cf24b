"""A short training run of every method and variant, and what its adapter's bytes are."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.recorded.normal import ROOT

LORA = ("--method.kind", "lora", "--method.rank", "2", "--method.alpha", "4")
QLORA = ("--method.kind", "qlora", *LORA[2:])
VARIANTS: dict[str, tuple[str, ...]] = {
    "full": ("--method.kind", "full", "--train.lr", "0.001"),
    "prompt": ("--method.kind", "prompt", "--method.tokens", "3"),
    "prompt-text": ("--method.kind", "prompt", "--method.start_text", "a few letters"),
    "p-tuning": ("--method.kind", "p-tuning", "--method.tokens", "3"),
    "p-tuning-projection": (
        *("--method.kind", "p-tuning", "--method.tokens", "3"),
        *("--method.projection", "5"),
    ),
    "lora": LORA,
    "dora": (*LORA, "--method.dora", "true"),
    "rslora": (*LORA, "--method.rslora", "true"),
    "pissa": (*LORA, "--method.start", "pissa"),
    "olora": (*LORA, "--method.start", "olora"),
    "lora-dropout": (*LORA, "--method.dropout", "0.3"),
    "lora-fa": (*LORA, "--method.freeze_a", "true"),
    "lora-plus": (*LORA, "--method.loraplus_lr_ratio", "4"),
    "lora-new-tokens": (*LORA, "--method.new_tokens", "[<one>, <two>]"),
    "lora-patterns": (
        *(*LORA, "--method.targets", "[q_proj, down_proj]"),
        *("--method.rank_pattern", "q_proj=3", "--method.alpha_pattern", "down_proj=7"),
    ),
    "lora-bfloat16": (*LORA, "--method.dtype", "bfloat16"),
    "lora-continued": ("--method.kind", "lora", "--method.start", "runs/lora/adapter"),
    "lora-adamw8bit": (*LORA, "--train.optimizer", "adamw8bit", "--train.weight_decay", "0.1"),
    "lora-accumulated": (*LORA, "--train.tokens_per_micro_batch", "64", "--train.recompute=layers"),
    "qlora": QLORA,
    "loftq": (*QLORA, "--method.start", "loftq"),
}
TENSORS = ("adapter_model.safetensors", "model.safetensors")
# An adapter named its base by its whole path at the starting commit, and by its name since issue
# 20; all else in its config is compared.
BASE_NAMES = tuple(
    f'"base_model_name_or_path": "{name}"'.encode() for name in ("base", f"{ROOT}/base")
)
CONFIGS = ("adapter_config.json", "config.json")


@dataclass(frozen=True, slots=True)
class Trained:
    """A run's adapter, or its model: SHA-256 of its tensors and of its config."""

    folder: Path
    file: Path  # of its tensors
    tensors: str
    config: str

    def to_json(self) -> dict[str, str]:
        """Both hashes."""
        return {"tensors": self.tensors, "config": self.config}


def train_words(name: str) -> tuple[str, ...]:
    """The command line that trains a variant; its run is `runs/NAME`."""
    return ("train", "plain.yaml", *VARIANTS[name], "--out", f"runs/{name}")


def read_trained(run: Path) -> Trained:
    """What a run trained; commands run in the folder that ``run`` is relative to."""
    return read_folder(next(run / name for name in ("adapter", "model") if (run / name).is_dir()))


def read_folder(folder: Path) -> Trained:
    """An adapter, or a model where the base itself was trained."""
    tensors = next(folder / name for name in TENSORS if (folder / name).is_file())
    config = next(folder / name for name in CONFIGS if (folder / name).is_file())
    text = without_root(config, Path.cwd()).replace(*BASE_NAMES)
    return Trained(folder, tensors, sha256(tensors.read_bytes()), sha256(text))


def without_root(path: Path, root: Path) -> bytes:
    """A text file's bytes with ``root`` replaced by the name that it has in what is recorded."""
    return path.read_bytes().replace(str(root.resolve()).encode(), ROOT.encode())


def sha256(data: bytes) -> str:
    """As hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
