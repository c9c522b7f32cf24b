"""LoRA adapters as products that are added to a base, read one layer at a time."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tunesmith.adapters import fit
from tunesmith.adapters.fit import EARLIER
from tunesmith.adapters.folder import Origin, StoredTensors, read_config, read_origin
from tunesmith.adapters.products import Product
from tunesmith.core.errors import AdapterError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.term import Term
from tunesmith.methods import table, token_rows
from tunesmith.methods.peft import Terms

SHOWN = 5  # faults in a message


@dataclass(frozen=True, slots=True)
class LayerShape:
    """R and s of the product beside one layer, and the layer's widths D_out and D_in."""

    rank: int
    scale: float
    widths: tuple[int, int]


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """One adapter's folder: W + s B A beside each of its layers.

    ``base`` is what its config names, ``origin`` what Tunesmith wrote about it, ``leaves`` the last
    parts of layer names that its config targets; None where it names layers in another way.
    """

    folder: Path
    base: str
    origin: Origin | None
    terms: Terms
    shapes: Mapping[str, LayerShape]  # by layer
    leaves: frozenset[str] | None
    tensors: StoredTensors

    @property
    def dtype(self) -> torch.dtype:
        """That A and B are stored in."""
        return self.tensors[next(iter(self.tensors))].dtype

    def product(self, layer: str) -> Product | None:
        """s B A of a layer in float32 or wider; None where it has none.

        Raises AdapterError for values that are not finite.
        """
        if layer not in self.shapes:
            return None
        term = self.terms[layer]()
        a, b = term.product()
        if not (a.isfinite().all() and b.isfinite().all()):
            raise AdapterError(
                f"{self.folder}: {layer} holds values that are not finite.",
                remedy=EARLIER,
            )
        return Product(a, b, term.scale)


def read(folder: Path, *, trusted: bool = False) -> AdapterSource:
    """The adapter in a PEFT folder, ours or another's.

    Raises AdapterError for one that is damaged, for one that does not only add products, and,
    unless ``trusted``, for one whose files are not as they were written.
    """
    fit.require(folder, fit.of_files(folder, trusted=trusted))
    config = read_config(folder)
    tensors = StoredTensors(folder)
    form = table.reader_of(config, folder)
    if form.terms is None:
        kind = form.from_peft(config, tensors).kind
        raise AdapterError(
            f"{folder}: a {kind} adapter adds nothing to the weights: its virtual tokens precede a "
            "text, and those of two adapters do not add up.",
            remedy="Use it by itself, or train a LoRA adapter on its data.",
        )
    terms = form.terms(config, tensors)
    _require_sum(folder, config, next(iter(terms.values()))())
    shapes = {}
    for layer, read_term in terms.items():
        term = read_term()
        a, b = term.product()
        shapes[layer] = LayerShape(term.rank, term.scale, (len(b), a.shape[1]))
    base, origin = str(config.get("base_model_name_or_path") or ""), read_origin(folder)
    leaves = _leaves(config)
    return AdapterSource(folder, base, origin, terms, shapes, leaves, tensors)


def require_alike(sources: Sequence[AdapterSource], *, trust_bases: bool = False) -> None:
    """Raise AdapterError for adapters of different bases; it lists all faults.

    Bases are compared by the hash that Tunesmith wrote of all files or of the weights, else by
    their name in the config. With ``trust_bases`` the widths of the layers decide where only the
    names differ.
    """
    pairs = itertools.combinations(sources, 2)
    differing = [(pair, _differing(*pair, trust_bases)) for pair in pairs]
    faults = [fault for _, found in differing for fault in found]
    if faults:
        named = any(None in (a.origin, b.origin) for (a, b), found in differing if found)
        two_names = " If it is one base under two names, confirm it with --force."
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise AdapterError(
            f"These adapters belong to different bases: {'; '.join(faults[:SHOWN])}{more}.",
            remedy="Only adapters of the same base can be added up. Train one of them "
            f"over the other's base.{two_names * (named and not trust_bases)}",
        )


def _differing(first: AdapterSource, other: AdapterSource, trust_bases: bool) -> list[str]:
    a, b = first.origin, other.origin
    if a is not None and b is not None:
        weights = [each.parts.get("weights") for each in (a, b)]
        same = a.sha256 == b.sha256 or (weights[0] is not None and weights[0] == weights[1])
        names = (f"{a.base!r} ({a.sha256[:8]})", f"{b.base!r} ({b.sha256[:8]})")
    else:
        same, names = trust_bases or first.base == other.base, (repr(first.base), repr(other.base))
    faults = []
    if not same:
        faults.append(f"{first.folder} names {names[0]}, {other.folder} names {names[1]}")
    return faults + [
        f"{layer} is {list(mine.widths)} in {first.folder}, {list(shape.widths)} in {other.folder}"
        for layer, shape in other.shapes.items()
        if (mine := first.shapes.get(layer, shape)).widths != shape.widths
    ]


def _require_sum(folder: Path, config: Mapping[str, object], term: Term) -> None:
    """Raise AdapterError for an adapter whose terms are not only s B A."""
    remedy = "Merge it into its base first and train the others over that model"
    if term.a is None:
        reason = "it multiplies the outputs of W, so what it adds depends on W and is not a product"
    elif term.norms is not None:
        reason = (
            "DoRA scales the rows of W + s B A to trained norms, so what it adds depends on W and "
            "is not a product"
        )
        remedy += "; or train it again without method.dora"
    elif ids := token_rows.ids_of(config):
        own = pluralize(len(ids), "token")
        reason = f"it has trained rows for {own} of its own, which replace the base's rows"
    elif config.get("target_parameters"):
        reason = "it has terms on experts or routers (target_parameters), which are not combined"
    else:
        return
    raise AdapterError(f"{folder}: {reason}: two of them do not add up.", remedy=f"{remedy}.")


def _leaves(config: Mapping[str, object]) -> frozenset[str] | None:
    targets = config.get("target_modules")
    parts = any(config.get(key) for key in ("layers_to_transform", "exclude_modules"))
    if parts or not isinstance(targets, list) or any("." in str(each) for each in targets):
        return None
    return frozenset(map(str, targets))
