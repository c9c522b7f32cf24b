"""A configuration object of PEFT, as `method` takes it from Python."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

from tunesmith.core.errors import ConfigError

SAME = {
    "r": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "use_rslora": "rslora",
    "use_dora": "dora",
    "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
}
STARTS = {True: None, "pissa": "pissa", "olora": "olora"}
# What changes nothing of a training.
IDLE = frozenset(
    {
        *("task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision"),
        *("inference_mode", "auto_mapping", "megatron_core", "qalora_group_size"),
    }
)
REMEDY = "Give ts.LoRA(...) or another method of ours: `tunesmith train --help` lists their keys."


class PeftConfig(Protocol):
    """What a configuration of PEFT has."""

    peft_type: Any

    def to_dict(self) -> dict[str, Any]:
        """Every setting by its name."""


def is_peft_config(value: object) -> TypeGuard[PeftConfig]:
    """Whether it is one, without importing PEFT."""
    return hasattr(value, "peft_type") and hasattr(value, "to_dict")


def method_of(config: PeftConfig) -> dict[str, object]:
    """The same LoRA as keys of `method`; raises ConfigError for what ours does not have.

    PEFT's own defaults are kept, so that what is not said means what it means there.
    """
    values = config.to_dict()
    kind = str(getattr(values["peft_type"], "value", values["peft_type"]))
    if kind != "LORA":
        raise ConfigError(
            f"method: a PEFT configuration of type {kind} is not read.", remedy=REMEDY
        )
    used = {*SAME, *IDLE, "target_modules", "target_parameters", "init_lora_weights", "bias"}
    odd = [f"{key}={value!r}" for key, value in values.items() if key not in used and value]
    if values.get("bias") not in (None, "none"):
        odd.append(f"bias={values['bias']!r}")
    start = values.get("init_lora_weights", True)
    if start not in STARTS:
        odd.append(f"init_lora_weights={start!r}")
    if odd:
        raise ConfigError(
            f"method: LoraConfig has {', '.join(odd)}, as ours does not.", remedy=REMEDY
        )
    targets = values.get("target_modules")
    if targets is None:
        raise ConfigError(
            "method: LoraConfig has no target_modules, and PEFT's choice depends on the model.",
            remedy='Name them: target_modules="all-linear", or ["q_proj", "v_proj"].',
        )
    found = {ours: _plain(values[key]) for key, ours in SAME.items() if key in values}
    named = targets if isinstance(targets, str) else sorted(targets)
    if parameters := values.get("target_parameters"):
        found["target_parameters"] = sorted(parameters)
    return {"kind": "lora", **found, "targets": named, "init": STARTS[start]}


def _plain(value: object) -> object:
    """A value; patterns the other way round, as PEFT takes the first that fits, ours the last."""
    return dict(reversed(list(value.items()))) if isinstance(value, Mapping) else value
