"""LoRA on stacked experts and routers in PEFT's format (`target_parameters`): names and shapes.

PEFT wraps the module of a parameter, and the wrapper again for the module's next parameter, so that
tensors are called by the depth: `experts.base_layer.lora_A` and `experts.lora_A`. Which parameter a
depth belongs to follows from their order in the module.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from torch import Tensor

from tunesmith.engine.forward import Engine
from tunesmith.methods.peft import Config
from tunesmith.methods.targets import matches

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


def stored_parameters(
    config: Config, paths: Collection[str], stacked: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """The wrapper of each parameter that an adapter has tensors for, by the parameter's name.

    ``paths`` are all layers and wrappers, ``stacked`` those whose shapes are of several experts.
    Also what is wrong: modules of which the config names more or fewer parameters than it has.
    """
    targets = [str(each) for each in _listed(config.get("target_parameters"))]
    depths = Counter(path.replace(INNER, "") for path in paths)
    found: dict[str, str] = {}
    odd = []
    for module, depth in depths.items():
        leaves = {
            target.rpartition(".")[2]
            for target in targets
            if _holds(module, target.rpartition(".")[0], module in stacked or depth > 1)
        }
        if len(leaves) == depth:
            found |= wrappers([f"{module}.{leaf}" for leaf in leaves])
        elif leaves or depth > 1:
            odd.append(f"target_parameters names {len(leaves)} parameters of {module}, not {depth}")
    return found, odd


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
