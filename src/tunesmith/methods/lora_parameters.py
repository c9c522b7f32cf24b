"""LoRA on stacked experts and routers in PEFT's format (`target_parameters`): names and shapes.

PEFT wraps the module of a parameter, and the wrapper again for the module's next parameter, so that
tensors are called by the depth: `experts.base_layer.lora_A` and `experts.lora_A`. Which parameter a
depth belongs to follows from their order in the module.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.methods.peft import CONFIG, REMEDY, Config, number, pattern
from tunesmith.methods.targets import matches, of_layer

SHOWN = 3  # faults in a message
INNER = ".base_layer"
LAST = "down_proj"  # of a module's parameters, in every family


def wrappers(parameters: Sequence[str]) -> dict[str, str]:
    """PEFT's name of the wrapper of each of these parameters, which are all that have a term."""
    found, depths = {}, Counter[str]()
    for name in sorted(parameters, key=lambda name: not name.endswith(f".{LAST}")):
        module = name.rpartition(".")[0]
        found[name] = module + INNER * depths[module]
        depths[module] += 1
    return found


def stored_parameters(config: Config, rows: Mapping[str, int]) -> dict[str, str]:
    """The wrapper of each parameter that an adapter has tensors for, by the parameter's name.

    ``rows`` are those of A by the names of all layers and wrappers. Raises AdapterError for a
    module of which the config names more or fewer parameters than it has tensors for.
    """
    patterns, rank = pattern(config, "rank_pattern"), number(config, "r", math.nan)
    targets = [str(each).rpartition(".") for each in _listed(config.get("target_parameters"))]
    depths = Counter(path.replace(INNER, "") for path in rows)
    found: dict[str, str] = {}
    odd = []
    for module, depth in depths.items():
        is_stack = depth > 1 or rows[module] != of_layer(patterns, module, rank)
        leaves = {leaf for stem, _, leaf in targets if _holds(module, stem, is_stack)}
        if len(leaves) == depth:
            found |= wrappers([f"{module}.{leaf}" for leaf in leaves])
        elif leaves or depth > 1:
            odd.append(f"{len(leaves)} of {module}, which has tensors of {depth}")
    if odd:
        raise AdapterError(
            f"{CONFIG}: target_parameters {config.get('target_parameters')!r} names the parameters "
            f"{'; '.join(odd[:SHOWN])}.",
            remedy=REMEDY,
        )
    return found


def stated_rank(config: Config, name: str, a: Tensor, b: Tensor) -> int:
    """R of a parameter's term, which only the config states: A and B hold all experts together.

    Raises AdapterError where they cannot.
    """
    rank = of_layer(pattern(config, "rank_pattern"), name, number(config, "r", math.nan))
    if math.isnan(rank) or len(a) != b.shape[-1] or len(a) % rank:
        raise AdapterError(
            f"{CONFIG}: r and rank_pattern give {name} the rank {rank:g}, its tensors A "
            f"{list(a.shape)} and B {list(b.shape)} have another.",
            remedy=REMEDY,
        )
    return int(rank)


def _holds(module: str, stem: str, is_stack: bool) -> bool:
    """Whether a target with this stem is a parameter of a module."""
    return matches(module, stem) if stem else is_stack


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else []


def misfit(engine: Engine, path: str, part: str, tensor: Tensor) -> str | None:
    """How A or B (``part``) beside a parameter does not fit the base; None where it does.

    Of a module with two stacks either may be meant: only the config says which.
    """
    module = path.replace(INNER, "")
    seams = [s for name, s in engine.parameters.items() if name.rpartition(".")[0] == module]
    if not seams:
        return f"{path} is not a linear layer of it"
    axis = 1 if part == "A" else 0
    widths = [seam.in_features if part == "A" else seam.out_features for seam in seams]
    for seam, width in zip(seams, widths, strict=True):
        rows = tensor.shape[1 - axis]
        if tensor.dim() == 2 and tensor.shape[axis] == width and rows % (seam.experts or 1) == 0:
            return None
    expected = " or ".join(map(str, dict.fromkeys(widths)))
    return f"{path}.lora_{part} has shape {list(tensor.shape)}, its width is {expected}" + (
        f", of {seams[0].experts} experts" if seams[0].experts else ""
    )


def experts_of(rows: int, rank: int) -> int | None:
    """E of an A with this many rows; None for one matrix."""
    return rows // rank if rows > rank else None
