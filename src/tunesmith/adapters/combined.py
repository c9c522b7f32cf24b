"""Several adapters combined layer by layer, factored to a LoRA and written in PEFT's format."""

import dataclasses
import functools
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith import __version__
from tunesmith.adapters import fit, store
from tunesmith.adapters.card import card_text
from tunesmith.adapters.combine_rules import Linear, MergeLayer, MergeMethod, described
from tunesmith.adapters.folder import CARD, Origin, own_name, write_origin
from tunesmith.adapters.products import Delta, Product, RelativeError, blocks
from tunesmith.adapters.sources import AdapterSource, require_alike
from tunesmith.core import files
from tunesmith.core.errors import AdapterError, ConfigError, ModelError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.chat_text import same_template
from tunesmith.engine.forward import Engine
from tunesmith.methods import table
from tunesmith.methods.adapter import Changes
from tunesmith.models.cache import folder_bytes
from tunesmith.models.load import holds_tokenizer, read_tokenizer
from tunesmith.models.names import portable_name


@dataclass(frozen=True, slots=True)
class Combination:
    """Adapters of one base; each product counts its weight times before the method sees it.

    A single adapter has nothing to be combined with: every method returns it unchanged, times its
    weight. ``seed`` determines what a method draws. Raises AdapterError for different bases (see
    ``sources.require_alike``), ConfigError for weights that do not fit.
    """

    sources: Sequence[AdapterSource]
    weights: Sequence[float]
    method: MergeMethod = field(default_factory=Linear)
    seed: int = 0
    trust_bases: bool = False

    def __post_init__(self) -> None:
        _require_weights(self.sources, self.weights)
        require_alike(self.sources, trust_bases=self.trust_bases)

    @property
    def layers(self) -> list[str]:
        """Every layer that any of the adapters has, in the order in which they are met."""
        return list(dict.fromkeys(name for source in self.sources for name in source.shapes))

    def delta(self, layer: str) -> Delta:
        """The sum that they add to a layer's W."""
        products = [
            product.times(weight)
            for source, weight in zip(self.sources, self.weights, strict=True)
            if (product := source.product(layer)) is not None
        ]
        method = self.method if len(self.sources) > 1 else Linear()
        return method(products, MergeLayer(layer, len(self.sources), self.seed))

    def changes(self, engine: Engine) -> Changes:
        """How merging all of it into the base, without a rank, changes the weights.

        Each delta exists only while its weight is changed. Raises AdapterError for a base other
        than theirs. ``merge.save_changed`` writes the model.
        """
        for source in self.sources:
            found = fit.of_tensors(source.folder, engine, source.tensors)
            fit.require(source.folder, found)
        return {f"{name}.weight": functools.partial(self._merged, name) for name in self.layers}

    def _merged(self, layer: str, weight: Tensor) -> Tensor:
        delta, total = self.delta(layer), weight.clone()
        for start, stop in blocks(delta.shape):
            total[start:stop] += delta.rows(start, stop).to(total)
        return total


def _require_weights(sources: Sequence[AdapterSource], weights: Sequence[float]) -> None:
    if not sources or len(weights) != len(sources):
        raise ConfigError(
            f"There are {pluralize(len(sources), 'adapter')} and "
            f"{pluralize(len(weights), 'weight')}.",
            remedy="Give at least one adapter, and a weight for each.",
        )
    if odd := [weight for weight in weights if not math.isfinite(weight)]:
        raise ConfigError(f"Weights {odd} are not finite numbers.", remedy="Give finite weights.")


@dataclass(frozen=True, slots=True)
class Fit:
    """How a delta becomes s B A.

    ``rank`` at most; None keeps the rank that the method gives. ``exact``: by the whole singular
    value decomposition of a dense delta, in place of randomized subspace iteration (arXiv
    0909.4061, algorithm 4.4). ``dtype``: of A and B as they are stored; None: the widest format
    of the adapters.
    """

    rank: int | None = None
    exact: bool = False
    dtype: torch.dtype | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ConfigError(f"rank is {self.rank}.", remedy="Set it to 1 or more.")


def fitted(delta: Delta, fit: Fit) -> Product:
    """The delta as a product of at most ``fit.rank``, or of its own where it needs no more.

    Raises ConfigError for a dense delta without a rank, AdapterError for numbers that are too
    large for ``fit.dtype``.
    """
    rank = fit.rank or delta.rank
    if rank is None:
        raise ConfigError(
            "This method gives dense matrices, which are not a LoRA of a small rank.",
            remedy="Give a rank to cut them to, or merge the combination into the base.",
        )
    product = delta.nearest(rank, exact=fit.exact, seed=fit.seed).to(fit.dtype or delta.dtype)
    if not (product.a.isfinite().all() and product.b.isfinite().all()):
        raise AdapterError(
            f"The combination has numbers that {product.dtype} cannot hold.",
            remedy="Save it in float32, or give smaller weights.",
        )
    return product


@dataclass(frozen=True, slots=True)
class Combined:
    """A combination's folder; ``errors``, ||D - s B A|| / ||D||: what rank and format lose."""

    folder: Path
    bytes: int
    ranks: dict[str, int]  # by layer
    errors: RelativeError


def save(
    folder: Path, combination: Combination, fit: Fit, *, phase: PhaseProgress = UNSEEN
) -> Combined:
    """Write the adapter so that Hugging Face PEFT loads it over the same base; complete or absent.

    One layer's delta exists at a time, and ``phase`` counts the layers. Raises AdapterError for a
    folder that exists already and for what ``Combination`` refuses, RunError where the folder
    cannot be written.
    """
    files.require_new(folder)
    stored = functools.reduce(torch.promote_types, [s.dtype for s in combination.sources])
    fit = dataclasses.replace(fit, dtype=fit.dtype or stored)
    products: dict[str, Product] = {}
    errors = RelativeError()
    layers = combination.layers
    for done, layer in enumerate(layers):
        phase.at(done, len(layers))
        delta = combination.delta(layer)
        products[layer] = fitted(delta, fit)
        errors.add(layer, delta.distance(products[layer]), delta.norm())
    origin = _origin(combination)

    own = _shared_tokenizer([source.folder for source in combination.sources])

    def beside(into: Path) -> None:
        if own is not None:
            own.save_pretrained(into)
        write_origin(into, origin, combined=_described(combination, errors))

    base = origin.published if origin else portable_name(combination.sources[0].base)
    factors = {layer: (each.a, each.b, each.scale) for layer, each in products.items()}
    config, tensors = table.from_products(factors, _targets(combination))
    card = _card(combination, errors, base)
    store.write(folder, config, tensors, base=base, card=card, beside=beside)
    ranks = {layer: product.rank for layer, product in products.items()}
    return Combined(folder, folder_bytes(folder), ranks, errors)


def copy(made: Combined, folder: Path, *, remark: str) -> Combined:
    """The same adapter in another folder, with a remark added to its card; complete or absent.

    Raises AdapterError for a folder that is there already, RunError where it cannot be written.
    """
    files.require_new(folder)

    def fill(into: Path) -> None:
        shutil.copytree(made.folder, into, dirs_exist_ok=True)
        with (into / CARD).open("a", encoding="utf-8") as card:
            card.write(f"\n{remark}\n")

    files.publish(folder, fill)
    return dataclasses.replace(made, folder=folder, bytes=folder_bytes(folder))


def _targets(combination: Combination) -> list[str]:
    """The last parts of names where every config names them so, else the whole names."""
    leaves = [source.leaves for source in combination.sources]
    named = [each for each in leaves if each is not None]
    if len(named) < len(leaves):
        return sorted(combination.layers)
    return sorted(frozenset().union(*named))


def _shared_tokenizer(folders: Sequence[Path]) -> PreTrainedTokenizerBase | None:
    """The tokenizer that all adapters bring with one chat template; None where they do not."""
    if not all(map(holds_tokenizer, folders)):
        return None
    try:
        found = [read_tokenizer(folder, trust_remote_code=False) for folder in folders]
    except ModelError:  # which also alone is asked through the base's
        return None
    first, *others = found
    is_one = bool(first.chat_template) and all(same_template(each, first) for each in others)
    return first if is_one else None


def _origin(combination: Combination) -> Origin | None:
    """That of the first adapter that has one; kind and how rows were written where all agree."""
    origins = [source.origin for source in combination.sources]
    first = next((each for each in origins if each is not None), None)
    if first is None:
        return None
    kinds = {each.kind for each in origins if each is not None}
    kind = kinds.pop() if len(kinds) == 1 else table.COMBINED_KIND
    systems = {each.system for each in origins if each is not None}
    system = first.system if len(systems) == 1 else None
    options = [each.template_options for each in origins if each is not None]
    alike = all(each == options[0] for each in options)
    return dataclasses.replace(
        first,
        base=portable_name(first.base),
        kind=kind,
        system=system,
        template_options=options[0] if alike else {},
    )


def _described(combination: Combination, errors: RelativeError) -> dict[str, object]:
    return {
        "adapters": [
            {"name": own_name(source.folder), "weight": weight}
            for source, weight in zip(combination.sources, combination.weights, strict=True)
        ],
        "method": described(combination.method),
        "seed": combination.seed,
        "error": errors.overall,
    }


def _card(combination: Combination, errors: RelativeError, base: str) -> str:
    weighted = zip(combination.sources, combination.weights, strict=True)
    parts = "\n".join(f"- {weight:g} x {own_name(source.folder)}" for source, weight in weighted)
    method = ", ".join(f"{key} {value}" for key, value in described(combination.method).items())
    text = f"# Combined adapters\n\nAdapters for {base}, combined with Tunesmith {__version__}:\n\n"
    text += f"{parts}\n\n"
    text += f"Method: {method}, seed {combination.seed}. "
    text += f"Relative error of the stored product, ||D - s B A|| / ||D||: {errors.overall:.2e}."
    return card_text(text, base=base, more={"tags": [table.COMBINED_KIND]})
