"""The table of methods and their capabilities; nothing else in the program names a method."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from tunesmith.config.methods import AnyMethod
from tunesmith.config.settings import Settings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.engine.term import Term
from tunesmith.methods import (
    full,
    ia3,
    lora_peft,
    lora_variants,
    p_tuning,
    prompt,
    token_rows,
    virtual_tokens,
)
from tunesmith.methods.adapter import NO_WORDS, Adapter, Changes, Tensors, Words
from tunesmith.methods.peft import Config, PeftFormat, Stored

MERGED, PEFT = "merged", "peft"  # the forms of a result that other programs take


@dataclass(frozen=True, slots=True)
class Method:
    """How a method attaches, what it can do, and its format on disk.

    ``scale_down_`` multiplies an adapter's effect by a share, where ``scales_down`` allows it for
    its settings; the base's initial weights by name are for a method that changed them. ``facts``
    are what a list of adapters shows of settings, `rank` or `virtual_tokens` first.
    """

    attach: Callable[..., Adapter]
    rate: float  # peak learning rate for a base of width 2000
    min_rows: int  # from about here results are steady: docs/data-quality.md
    peft: PeftFormat | None  # None: the base itself is trained, the result is a whole model
    check: Callable[[Engine, Any], None] = lambda engine, settings: None  # noqa: ARG005
    own_tokens: bool = False  # may train rows for new tokens
    init_text: bool = False  # may start from a text
    scale_down_: Callable[[Adapter, float, Tensors], None] | None = None
    scales_down: Callable[[Any], bool] = lambda settings: True  # noqa: ARG005
    facts: Callable[[Any], dict[str, object]] = lambda settings: {}  # noqa: ARG005

    @property
    def trains_base(self) -> bool:
        """Whether it trains every weight: alone on its base, with a model as its result."""
        return self.peft is None

    @property
    def exports(self) -> tuple[str, ...]:
        """The forms that other programs read the result in, the best known first."""
        return (*([MERGED] if self.mergeable else []), *([PEFT] if self.peft else []))

    @property
    def mergeable(self) -> bool:
        """Whether an adapter can become part of its base's weights."""
        return self.peft is not None and self.peft.terms is not None


_LORA = Method(
    lora_variants.attach,
    rate=5e-4,
    min_rows=50,
    peft=lora_peft,
    check=lora_variants.check,
    own_tokens=True,
    scale_down_=lora_variants.scale_down_,
    scales_down=lambda settings: not settings.dora,
    facts=lora_peft.facts,
)
METHODS: dict[str, Method] = {
    "lora": _LORA,
    # Its rate is measured: docs/methods.md, "The rate `auto`".
    "qlora": replace(_LORA, rate=7.5e-4),
    "full": Method(full.attach, rate=5e-5, min_rows=200, peft=None, scale_down_=full.scale_down_),
    "prompt": Method(
        prompt.attach,
        rate=1.1e-2,
        min_rows=100,
        peft=prompt,
        init_text=True,
        facts=virtual_tokens.facts,
    ),
    "p-tuning": Method(
        p_tuning.attach,
        rate=2e-2,
        min_rows=100,
        peft=p_tuning,
        check=p_tuning.check,
        init_text=True,
        facts=virtual_tokens.facts,
    ),
    "ia3": Method(
        ia3.attach,
        rate=2e-2,  # between the best two of docs/methods.md, "Learning rates"
        min_rows=50,  # taken from lora, not measured
        peft=ia3,
        scale_down_=ia3.scale_down_,
        facts=ia3.facts,
    ),
}
# Narrower bases take larger steps: the exponent that Thinking Machines fitted over llama models
# ("LoRA Without Regret" and tinker-cookbook's hyperparam_utils, 2025).
WIDTH, EXPONENT = 2000, 0.781
# The kind that a combination of adapters is stored as, and what makes its config and tensors.
COMBINED_KIND, from_products = "lora", lora_peft.from_products


def row(kind: object) -> Method | None:
    """What a kind can do; None for an unknown one, as a foreign origin may hold."""
    return METHODS.get(str(kind))


def of(settings: Settings) -> Method:
    """What the method of these settings can do."""
    return METHODS[getattr(settings, "kind", "")]


def attach(
    engine: Engine,
    settings: AnyMethod,
    *,
    name: str = "default",
    seed: int = 0,
    words: Words = NO_WORDS,
) -> Adapter:
    """Attach a new adapter of the kind that ``settings`` names; ``words`` are for its start.

    The rows of new tokens are trained with it, where the method may have some.
    """
    found = of(settings)
    adapter = found.attach(engine, settings, name=name, seed=seed, words=words)
    if not (found.own_tokens and words.new_tokens):
        return adapter
    rows = token_rows.attach(engine, words.new_tokens, name=name)

    def detach() -> None:
        adapter.detach()
        engine.vocabularies.pop(name, None)

    return replace(adapter, parameters={**adapter.parameters, **rows}, detach=detach)


def learning_rate(kind: str, width: int) -> float:
    """The peak learning rate of `auto` for a base of hidden width ``width``, two digits."""
    return float(f"{METHODS[kind].rate * (WIDTH / width) ** EXPONENT:.1e}")


def merge(engine: Engine, adapter: Adapter) -> Changes:
    """How merging an adapter changes the base; AdapterError where there is nothing to merge."""
    found = of(adapter.settings)
    if not found.mergeable:
        raise _nothing_to_merge(found, f"of method {getattr(adapter.settings, 'kind', '?')}")
    terms = {n: t for n, each in engine.seams.items() if (t := each.terms.get(adapter.name))}
    if not terms:
        raise AdapterError(
            f"Adapter {adapter.name!r} is not attached to this base.", remedy="Load it beside it."
        )
    changes = _merged(engine, terms, terms.__getitem__)
    return {**changes, **token_rows.merge(engine, adapter.name)}


def merge_stored(engine: Engine, config: Config, tensors: Stored, folder: Path) -> Changes:
    """``merge`` of the adapter in ``folder``; a layer's tensors are read when it is merged.

    ``engine`` may be a base without weights.
    """
    form = reader_of(config, folder)
    if form.terms is None:
        found = next(each for each in METHODS.values() if each.peft is form)
        raise _nothing_to_merge(found, f"of kind {config.get('peft_type')}")
    terms = form.terms(config, tensors)
    changes = _merged(engine, terms, lambda module: terms[module]())
    return {**changes, **token_rows.merge_stored(config, tensors)}


def _merged(engine: Engine, modules: Iterable[str], term_of: Callable[[str], Term]) -> Changes:
    """W' and, where the base has one, the bias of each layer; W' of each parameter."""

    def weight(module: str, old: Tensor) -> Tensor:
        term = term_of(module)
        return engine.parameters[module].merged(term, old) if module in named else term.merged(old)

    def bias(module: str, old: Tensor) -> Tensor:
        return term_of(module).merged_bias(old)

    named = engine.parameters.keys()
    biased = [n for n in modules if n in engine.linears and engine.linears[n].bias is not None]
    return {
        **{n if n in named else f"{n}.weight": partial(weight, n) for n in modules},
        **{f"{module}.bias": partial(bias, module) for module in biased},
    }


def _nothing_to_merge(found: Method, which: str) -> AdapterError:
    if found.trains_base:
        return AdapterError(
            "A full fine-tune has nothing to merge: its result is a whole model.",
            remedy="Use the folder model/ of its run.",
        )
    return AdapterError(
        f"An adapter {which} has nothing to merge: its virtual tokens precede the text, and no "
        "weight of the base changes.",
        remedy="Keep the adapter beside the base, or train with method lora, which can be merged.",
    )


def scales_down(adapter: Adapter) -> bool:
    """Whether an adapter can be scaled down."""
    found = of(adapter.settings)
    return found.scale_down_ is not None and found.scales_down(adapter.settings)


def scale_down_(adapter: Adapter, share: float, start: Tensors) -> None:
    """Multiply an adapter's effect by ``share``; AdapterError where it cannot be scaled down.

    ``start`` gives the base's initial weights by name, for a method that changed them.
    """
    found = of(adapter.settings).scale_down_
    if found is None or not scales_down(adapter):
        raise AdapterError("An adapter with these settings cannot be scaled down.")
    found(adapter, share, start)


def peft_of(adapter: Adapter) -> PeftFormat:
    """The format of an adapter's method."""
    found = of(adapter.settings).peft
    assert found is not None, "a whole model is not an adapter folder"
    return found


def reader_of(config: Config, folder: Path) -> PeftFormat:
    """The format that an adapter_config.json names; AdapterError for one that is not known."""
    formats = {name: m.peft for m in METHODS.values() if m.peft for name in m.peft.PEFT_TYPES}
    kind = config.get("peft_type")
    if kind not in formats:
        which = f"of kind {kind!r}" if kind else "without a peft_type in adapter_config.json"
        raise AdapterError(
            f"{folder}: adapters {which} are not supported.",
            remedy=f"Supported are {', '.join(sorted(formats))}.",
        )
    return formats[str(kind)]
