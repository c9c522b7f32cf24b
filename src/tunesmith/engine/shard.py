"""A base whose layers are sharded over ranks (FSDP2): each is whole only while it is used.

Embedding, head and what else is outside the layers stay whole on every rank. All ranks must make
the same passes in the same order.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core import ranks
from tunesmith.core.errors import ModelError
from tunesmith.core.rank_sum import sum_over_ranks_
from tunesmith.core.rank_tasks import ask_for, helping, settle

# Tasks of all ranks: a pass through all layers, and one parameter, by its number.
_PASS, _WHOLE = "pass", "whole"
_NUMBER = "_tunesmith_number"


def whole(parameter: Tensor) -> Tensor:
    """A sharded parameter put together; any other tensor as it is.

    Ranks that wait for values of others take part in it.
    """
    if not is_sharded(parameter):
        return parameter
    ask_for(_WHOLE, getattr(parameter, _NUMBER))
    found: Tensor = parameter.full_tensor()  # type: ignore[attr-defined]
    return found


def is_sharded_model(decoder: nn.Module) -> bool:
    """Whether ``shard_`` sharded its layers."""
    return hasattr(decoder, "unshard")


@contextlib.contextmanager
def sharded_pass(decoder: nn.Module, embedded: Tensor) -> Iterator[None]:
    """Around a pass of ``embedded`` through layers that may be sharded.

    In one without gradients the ranks that wait for values of others take part. Those with
    gradients all ranks make alike, so that each layer has a gradient whatever is trained in it.
    """
    if not is_sharded_model(decoder):
        yield
    elif torch.is_grad_enabled():
        settle()
        if not embedded.requires_grad:
            embedded.requires_grad_()
        yield
    else:
        ask_for(_PASS)
        yield
        # else it would fetch layers of this pass again in the next backward, which others do not
        decoder.reset_iter_state()  # type: ignore[operator]


def own_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a sharded tensor, in the same memory; any other one as it is."""
    local = getattr(tensor, "to_local", None)
    return tensor if local is None else local()


def own_rows(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor the part that this rank holds of ``like``; all where that is whole."""
    if is_sharded(tensor) or not is_sharded(like):
        return own_part(tensor)
    from torch.distributed.tensor import distribute_tensor

    mesh, where = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return own_part(distribute_tensor(tensor.to(like.device), mesh, where, src_data_rank=None))


def is_sharded(tensor: Tensor) -> bool:
    """Whether other ranks hold parts of it."""
    return hasattr(tensor, "full_tensor")


def clip_(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale gradients down to a norm of ``limit`` at most; the norm before, of all ranks' parts."""
    trained = list(parameters)
    gradients = [p.grad for p in trained if p.grad is not None]
    parts = [own_part(each) for each in gradients if is_sharded(each)]
    if not parts:
        return nn.utils.clip_grad_norm_(trained, limit)
    shared = [each for each in gradients if not is_sharded(each)]
    squares = nn.utils.get_total_norm(parts) ** 2
    sum_over_ranks_([squares])
    norm = (squares + nn.utils.get_total_norm(shared) ** 2).sqrt()
    torch._foreach_mul_([*parts, *shared], (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def shard_(
    model: PreTrainedModel, device: torch.device, *, dtype: torch.dtype | None = None
) -> None:
    """Shard the parameters of each decoder layer over all ranks; move the model to ``device``.

    A layer after the other, so that the device never holds more than its part and one layer. With
    a ``dtype`` parameters are cast to it. Gradients of a layer are summed over ranks in backward.
    Raises ModelError where layers share weights.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _require_own_parameters(model)
    if device.type != "cpu":
        torch.accelerator.set_device_index(device)
    mesh = init_device_mesh(device.type, (ranks.size(),))
    decoder, parts = model.get_decoder(), []
    for layer in decoder.layers:
        _cast_(layer.parameters(), dtype)
        scalars = {p for p in layer.parameters() if p.dim() == 0}  # which cannot be sharded
        part = fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
        part.set_gradient_divide_factor(1.0)  # the loss is over the count of all ranks
        part.set_force_sum_reduction_for_comms(True)  # gloo has no other
        _move_(layer, device)
        parts.append(part)
    rest = {p for p in model.parameters() if not is_sharded(p)}
    _cast_(rest, dtype)
    _move_(model, device)
    fully_shard(decoder, mesh=mesh, ignored_params=rest)  # fetches one layer ahead
    tensors = list(model.parameters())
    for number, tensor in enumerate(tensors):
        setattr(tensor, _NUMBER, number)

    @torch.no_grad()
    def help_pass(_: object) -> None:
        for part in parts:
            part.unshard()
            part.reshard()

    helping(_PASS, help_pass)
    helping(_WHOLE, lambda number: tensors[number].full_tensor())


def _require_own_parameters(model: PreTrainedModel) -> None:
    layers = model.get_decoder().layers
    each = sum(len(list(layer.parameters())) for layer in layers)
    if each > len(list(layers.parameters())):
        raise ModelError(
            f"{type(model).__name__} cannot be sharded: its layers share weights.",
            remedy="Set train.shard to false, or use another base.",
        )


def _cast_(parameters: Iterable[nn.Parameter], dtype: torch.dtype | None) -> None:
    for parameter in parameters:
        if dtype is not None and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def _move_(module: nn.Module, device: torch.device) -> None:
    """Move what FSDP left where it was: whole parameters, buffers, scales of 4-bit codes."""
    for tensor in (*module.parameters(), *module.buffers()):
        if not is_sharded(tensor):
            tensor.data = tensor.data.to(device)
    for each in module.modules():
        state: Any = getattr(each, "quant_state", None)
        if state is not None:
            state.to(device)
