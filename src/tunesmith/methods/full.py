"""Full fine-tuning: every weight of the base is trained; fp32 masters, 16-bit products.

The masters are the model's own parameters, cast where they are used, so that weights, gradients
and AdamW's two moments take 16 bytes a parameter, and 20 with an average of the weights. Tied head
and embedding are one master.
"""

from functools import partial

import torch
from torch import nn

from tunesmith.config.methods import FullSettings
from tunesmith.core.errors import ConfigError
from tunesmith.engine.forward import Engine
from tunesmith.engine.shard import own_part, own_rows
from tunesmith.methods.adapter import Adapter, Tensors


def attach(engine: Engine, settings: FullSettings, *, name: str, **_start: object) -> Adapter:
    """Make every parameter of the base an fp32 master that is trained.

    Raises ConfigError for a 4-bit base.
    """
    model = engine.model
    if any(linear.is_four_bit for linear in engine.linears.values()):
        raise ConfigError(
            "The base's weights are 4-bit, which cannot be trained themselves.",
            remedy="Use method qlora, or the 16-bit base.",
        )
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.dtype != torch.float32:  # sharded ones are wide already
                parameter.data = parameter.data.float()
    model.requires_grad_(True)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())

    detach = partial(model.requires_grad_, False)
    return Adapter(name, settings, parameters, detach, frozen_base=False)


def scale_down_(adapter: Adapter, share: float, start: Tensors) -> None:
    """Make each weight W0 + ``share`` (W - W0), W0 its ``start`` (Wortsman et al. 2022, arXiv
    2109.01903, section 3).
    """
    began = start()
    with torch.no_grad():
        for name, master in adapter.parameters.items():
            own_part(master).lerp_(own_rows(began[name], master).to(own_part(master)), 1.0 - share)
