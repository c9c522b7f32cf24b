"""A pretended accelerator: tensors on ``meta``, of which what a GPU would wait for is counted.

On ``meta`` there are shapes and no numbers. What reads a number back, or copies without being
told not to wait, stops the host until a GPU has done all that was asked of it; here it counts, and
gets zeros. What mixes tensors of two devices is an error, as on a GPU.
"""

import traceback
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path
from unittest import mock

import torch
import transformers
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

import tunesmith
from tests.families import FAMILIES, SHAPE
from tunesmith.models.four_bit import quantize

META = torch.device("meta")
_PROGRAMS = [Path(module.__file__).parent for module in (tunesmith, transformers)]
_aten = torch.ops.aten
# Their result is as large as what they find, which the host must know.
_SIZED = (_aten.nonzero, _aten.masked_select, _aten._unique2, _aten.unique_dim)
# They copy from one device to the other; for the rest a scalar on the CPU is an argument.
_COPIES = (_aten._to_copy, _aten.copy_)


def meta_model(family, dtype=torch.bfloat16):
    """A tiny model without numbers."""
    config = AutoConfig.for_model(family, **{**SHAPE, **FAMILIES[family]})
    with META:
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model.to(dtype).eval()


class Accelerator(TorchDispatchMode):
    """While it is entered: ``waits`` counts what stops the host, by what and where.

    ``sent``: copies to the device that do not.

    Raises RuntimeError for an operation over tensors of two devices.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.sent, self._factories = Counter(), 0, _Factories(self)
        self._generators = mock.patch.object(torch, "Generator", _generator)

    def __enter__(self):
        self._factories.__enter__()
        self._generators.start()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._generators.stop()
        self._factories.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet is _aten._local_scalar_dense and args[0].is_meta:
            self.wait("read")
            return torch.zeros((), dtype=args[0].dtype).item()
        if packet in _COPIES:
            return self._copy(func, args, kwargs)
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        on_device = [t for t in tensors if t.is_meta]
        if not on_device:
            return func(*args, **kwargs)
        if strays := [t for t in tensors if not t.is_meta and t.dim()]:
            raise RuntimeError(f"{func} over {tuple(strays[0].shape)} of the CPU")
        if packet in _SIZED or _selects(packet, args):
            self.wait(str(packet))
        return func(*args, **kwargs)

    def wait(self, what):
        """Count that the host waits, and where."""
        frames = traceback.extract_stack()
        ours = [f for f in frames if any(map(Path(f.filename).is_relative_to, _PROGRAMS))]
        found = (ours or frames)[-1]
        self.waits[f"{what}: {Path(found.filename).name}:{found.lineno} ({found.name})"] += 1

    def _copy(self, func, args, kwargs):
        into = func.overloadpacket is _aten.copy_
        source = args[1] if into else args[0]
        target = args[0].device if into else kwargs.get("device") or source.device
        if source.device == target:
            return func(*args, **kwargs)
        waits = not (kwargs.get("non_blocking") or (into and len(args) > 2 and args[2]))
        if waits:
            self.wait(f"{source.device} to {target}")
        else:
            self.sent += 1
        if target == META:
            return func(*args, **kwargs)
        zeros = torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        return args[0].copy_(zeros) if into else zeros


def _selects(packet, args):
    """Whether something is indexed by a mask, which is searched for what is set."""
    if packet not in (_aten.index, _aten.index_put, _aten.index_put_):
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in chain(args[1]))


_Generator = torch.Generator


def _generator(device="cpu"):
    """A generator, also of the device that has none."""
    return _Generator("cpu" if torch.device(device) == META else device)


class _Factories(TorchFunctionMode):
    """Counts tensors that are made of numbers of the host on the device."""

    def __init__(self, accelerator):
        self.accelerator = accelerator

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = torch.device(kwargs.get("device") or "cpu")
        if func in (torch.tensor, torch.as_tensor) and device == META:
            self.accelerator.wait("tensor of numbers")
        return func(*args, **kwargs)


def four_bit_meta_(model):
    """The model with codes in place of its linear layers' weights, as a 4-bit folder loads."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            made = quantize(tuple(module.weight.shape), partial(_zeros, module.in_features))
            made.state.to(META)
            made.state.dtype = module.weight.dtype
            codes = torch.nn.Parameter(made.codes.to(META), requires_grad=False)
            codes.quant_state = made.state
            module.weight = codes
    return model


def _zeros(width, start, stop):
    return torch.zeros(stop - start, width, dtype=torch.bfloat16)
