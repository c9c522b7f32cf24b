"""The table of methods: everything else asks it and knows no method by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tunesmith.config.methods import AnyMethod
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.methods import full, lora, lora_peft, p_tuning, prompt, virtual_tokens
from tunesmith.methods.adapter import NO_WORDS, Adapter, Changes, Difference, Tensors, Words


def _plain_write(adapter: Adapter) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in adapter.parameters.items()}


def _plain_read(tensors: Mapping[str, Tensor], adapter: Adapter) -> Mapping[str, Tensor]:  # noqa: ARG001
    return tensors


@dataclass(frozen=True, slots=True)
class PeftFormat:
    """How a method's adapter is written and read in PEFT's format.

    ``write`` gives the stored tensors by name, ``read`` the parameters' from them; ``differences``
    are those between what a run asks for and what ``from_peft`` found, on a base that fits.
    ``merge`` is ``Method.merge`` for an adapter that lies in its folder.
    """

    peft_type: str
    to_peft: Callable[[Adapter, Engine], dict[str, object]]
    from_peft: Callable[[Mapping[str, object], Mapping[str, Tensor]], Any]
    misfits: Callable[[Engine, Mapping[str, Tensor]], list[str]]
    differences: Callable[[Engine, Any, Any], list[Difference]]
    merge: Callable[[Mapping[str, object], Mapping[str, Tensor]], Changes]
    also_read: frozenset[str] = frozenset()  # other types of PEFT's with the same result on disk
    write: Callable[[Adapter], Mapping[str, Tensor]] = _plain_write
    read: Callable[[Mapping[str, Tensor], Adapter], Mapping[str, Tensor]] = _plain_read


@dataclass(frozen=True, slots=True)
class Method:
    """How a method attaches and merges, where its learning rate starts, its format on disk.

    ``merge`` raises AdapterError where there is nothing to merge.
    """

    attach: Callable[..., Adapter]
    rate: float  # peak learning rate for a base of width 2000
    peft: PeftFormat | None = None  # None: the result is a whole model
    check: Callable[[Engine, Any], None] = lambda engine, settings: None  # noqa: ARG005
    merge: Callable[[Engine, Adapter], Changes] = field(kw_only=True)
    weaken_: Callable[[Adapter, float, Tensors], None] | None = None


_LORA = PeftFormat(
    "LORA",
    lora_peft.to_peft,
    lora_peft.from_peft,
    lora_peft.misfits,
    lora_peft.differences,
    lora_peft.merge,
    write=lora_peft.write,
)
_LORA_METHOD = Method(
    lora.attach, 5e-4, _LORA, check=lora.check, merge=lora.merge, weaken_=lora.weaken_
)
METHODS: dict[str, Method] = {
    "lora": _LORA_METHOD,
    "qlora": replace(_LORA_METHOD, rate=7.5e-4),  # measured: docs/methods.md, "The rate `auto`"
    "full": Method(full.attach, 5e-5, merge=full.refuse_merge, weaken_=full.weaken_),
    "prompt": Method(
        prompt.attach,
        1.1e-2,
        PeftFormat(
            "PROMPT_TUNING",
            prompt.to_peft,
            prompt.from_peft,
            prompt.misfits,
            virtual_tokens.differences,
            virtual_tokens.refuse_merge_of,
            also_read=frozenset({"P_TUNING"}),
        ),
        merge=virtual_tokens.refuse_merge,
    ),
    "p-tuning": Method(
        p_tuning.attach,
        2e-2,
        PeftFormat(
            "PREFIX_TUNING",
            p_tuning.to_peft,
            p_tuning.from_peft,
            p_tuning.misfits,
            virtual_tokens.differences,
            virtual_tokens.refuse_merge_of,
            write=p_tuning.write,
            read=p_tuning.read,
        ),
        merge=virtual_tokens.refuse_merge,
    ),
}
# Narrower bases take larger steps: the exponent that Thinking Machines fitted over llama models
# ("LoRA Without Regret" and tinker-cookbook's hyperparam_utils, 2025).
WIDTH, EXPONENT = 2000, 0.781


def attach(
    engine: Engine,
    settings: AnyMethod,
    *,
    name: str = "default",
    seed: int = 0,
    words: Words = NO_WORDS,
) -> Adapter:
    """Attach a new adapter of the kind that ``settings`` names; ``words`` are for its start."""
    return METHODS[settings.kind].attach(engine, settings, name=name, seed=seed, words=words)


def learning_rate(kind: str, width: int) -> float:
    """The peak learning rate of `auto` for a base of hidden width ``width``, two digits."""
    return float(f"{METHODS[kind].rate * (WIDTH / width) ** EXPONENT:.1e}")


def merge(engine: Engine, adapter: Adapter) -> Changes:
    """What merging an adapter makes of the base; AdapterError where there is nothing to merge."""
    return _of(adapter).merge(engine, adapter)


def weakens(adapter: Adapter) -> bool:
    """Whether an adapter can be given a share of its strength."""
    return _of(adapter).weaken_ is not None and not getattr(adapter.settings, "dora", False)


def weaken_(adapter: Adapter, share: float, start: Tensors) -> None:
    """Give an adapter a share of its strength; AdapterError where it ``weakens`` not.

    ``start`` gives the base's weights by name, for what changed them.
    """
    weaken = _of(adapter).weaken_
    if weaken is None:
        raise AdapterError("An adapter of this method cannot be weakened.")
    weaken(adapter, share, start)


def peft_of(adapter: Adapter) -> PeftFormat:
    """The format of an adapter's method."""
    found = _of(adapter).peft
    assert found is not None, "a whole model is not an adapter folder"
    return found


def _of(adapter: Adapter) -> Method:
    return METHODS[getattr(adapter.settings, "kind", "")]


def reader_of(config: Mapping[str, object], folder: Path) -> PeftFormat:
    """The format that an adapter_config.json names; AdapterError for one that is not known."""
    formats = {
        name: m.peft
        for m in METHODS.values()
        if m.peft
        for name in (m.peft.peft_type, *m.peft.also_read)
    }
    kind = config.get("peft_type")
    if kind not in formats:
        which = f"of kind {kind!r}" if kind else "without a peft_type in adapter_config.json"
        raise AdapterError(
            f"{folder}: adapters {which} are not supported.",
            remedy=f"Supported are {', '.join(sorted(formats))}.",
        )
    return formats[str(kind)]
