"""A base's weights as transformers' model has them, and as files have them.

Files may hold a layer's experts one by one, under other names, or in MXFP4. Transformers knows how
for each family, and converts while it loads and saves; here it is asked about one tensor.
"""

import copy
import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

if TYPE_CHECKING:  # modeling_utils imports the package `kernels` where that is installed
    from transformers import PreTrainedModel
    from transformers.core_model_loading import WeightConverter

BLOCKS, SCALES = "_blocks", "_scales"  # of a stack in MXFP4: its 4-bit numbers, and their exponents
Read = Callable[[str], Tensor]  # a stored tensor by its name


def as_stored(model: "PreTrainedModel", tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a model under the names, and cut as, its family's files have them."""
    from transformers.core_model_loading import revert_weight_conversion

    found: dict[str, Tensor] = revert_weight_conversion(model, dict(tensors))
    return found


def read_converted(folder: Path, stored: Sequence[str], name: str, read: Read) -> Tensor | None:
    """The tensor that the model calls ``name``, of the ``stored`` ones; None where they lack it."""
    if name + BLOCKS in stored:
        return dequantized(read(name + BLOCKS), read(name + SCALES))
    found = _sources(folder, tuple(stored)).get(name)
    if found is None:
        return None
    (transform, sources), config = found, AutoConfig.from_pretrained(folder, local_files_only=True)
    if transform is None:
        return read(sources[0][0])
    transform = copy.deepcopy(transform)
    for key, pattern in sources:
        transform.add_tensor(name, key, pattern, read(key))
    (made,) = transform.convert(name, config=config).values()
    tensor: Tensor = made[0] if isinstance(made, list) else made
    return tensor


def dequantized(blocks: Tensor, scales: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A stack [E, D_in, D_out] of blocks [E, D_out, n, 16] and scales [E, D_out, n] in MXFP4."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    stack: Tensor = convert_moe_packed_tensors(blocks, scales, dtype=dtype)
    return stack


Sources = tuple["WeightConverter | None", list[tuple[str, str]]]


@functools.lru_cache(maxsize=4)
def _sources(folder: Path, stored: tuple[str, ...]) -> Mapping[str, Sources]:
    """What makes each tensor of the model: stored names with the patterns that they match."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    transforms = get_model_conversion_mapping(model)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    by_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
    found: dict[str, Sources] = {}
    patterns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in sorted(stored, key=dot_natural_key):
        name, pattern = rename_source_key(key, renamings, converters)
        patterns[name].append((key, pattern or ""))
        found[name] = (by_pattern[pattern] if pattern else None, patterns[name])
    return found
