"""A combination written as a LoRA adapter in PEFT's format."""

import dataclasses
import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from tunesmith import __version__
from tunesmith.adapters import combine_table, store
from tunesmith.adapters.combination import Combination, Fit, fitted
from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.adapters.products import Product, RelativeError
from tunesmith.core import files
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.methods import table
from tunesmith.models.cache import folder_bytes


@dataclass(frozen=True, slots=True)
class Combined:
    """A combination's folder, and ``errors``, ||D - s B A|| / ||D||: what rank and format lose."""

    folder: Path
    bytes: int
    ranks: dict[str, int]  # by layer
    errors: RelativeError


def save(
    folder: Path,
    combination: Combination,
    fit: Fit,
    *,
    phase: PhaseProgress = UNSEEN,
) -> Combined:
    """Write the adapter so that Hugging Face PEFT loads it over the same base; complete or absent.

    One layer's delta exists at a time, and ``phase`` counts the layers. Raises AdapterError for a
    folder that is there already and for what ``Combination`` refuses, RunError where the folder
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

    def beside(into: Path) -> None:
        if origin is not None:
            write_origin(into, origin, combined=_described(combination, errors))

    base = combination.sources[0].base
    form = table.METHODS[table.combined_kind()].peft
    assert form is not None
    assert form.from_products is not None
    factors = {layer: (each.a, each.b, each.scale) for layer, each in products.items()}
    config, tensors = form.from_products(factors, _targets(combination))
    store.write(
        folder,
        config,
        tensors,
        base=base,
        card=_card(combination, errors, origin.base if origin else base),
        beside=beside,
    )
    ranks = {layer: product.rank for layer, product in products.items()}
    return Combined(folder, folder_bytes(folder), ranks, errors)


def copy(made: Combined, folder: Path, *, remark: str) -> Combined:
    """The same adapter in another folder, its card with a remark more; complete or absent.

    Raises AdapterError for a folder that is there already, RunError where it cannot be written.
    """
    files.require_new(folder)

    def fill(into: Path) -> None:
        shutil.copytree(made.folder, into, dirs_exist_ok=True)
        with (into / store.CARD).open("a", encoding="utf-8") as card:
            card.write(f"\n{remark}\n")

    files.publish(folder, fill)
    return dataclasses.replace(made, folder=folder, bytes=folder_bytes(folder))


def _targets(combination: Combination) -> list[str]:
    """The last parts of names where every adapter is told so, else the whole names."""
    leaves = [source.leaves for source in combination.sources]
    named = [each for each in leaves if each is not None]
    if len(named) < len(leaves):
        return sorted(combination.layers)
    return sorted(frozenset().union(*named))


def _origin(combination: Combination) -> Origin | None:
    """That of the first adapter that has one; the kind where all agree on it."""
    origins = [source.origin for source in combination.sources]
    first = next((each for each in origins if each is not None), None)
    if first is None:
        return None
    kinds = {each.kind for each in origins if each is not None}
    return Origin(
        first.base, first.sha256, kinds.pop() if len(kinds) == 1 else table.combined_kind()
    )


def _described(combination: Combination, errors: RelativeError) -> dict[str, object]:
    return {
        "adapters": [
            {"folder": str(source.folder), "weight": weight}
            for source, weight in zip(combination.sources, combination.weights, strict=True)
        ],
        "method": combine_table.described(combination.method),
        "seed": combination.seed,
        "error": errors.overall,
    }


def _card(combination: Combination, errors: RelativeError, base: str) -> str:
    parts = "\n".join(
        f"- {weight:g} x {source.folder}"
        for source, weight in zip(combination.sources, combination.weights, strict=True)
    )
    settings = combine_table.described(combination.method)
    method = ", ".join(f"{key} {value}" for key, value in settings.items())
    return (
        f"---\nbase_model: {base}\nlibrary_name: peft\n---\n\n"
        f"Adapters for {base}, combined with Tunesmith {__version__}:\n\n{parts}\n\n"
        f"Method: {method}, seed {combination.seed}. Relative error of the stored "
        f"product, ||D - s B A|| / ||D||: {errors.overall:.2e}.\n"
    )
