"""The shape of a base from its modules, for families whose config has no rules here.

It takes transformers, and as long as that takes to load; the weights are not needed.
"""

from collections.abc import Iterator

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tunesmith.engine.config_shape import shape_of
from tunesmith.engine.families import FAMILIES, LayerKeys, layer_keys
from tunesmith.engine.shape import DecoderShape, LinearShape, ModelShape
from tunesmith.models.text_part import empty_model


def shape_of_base(config: PretrainedConfig) -> ModelShape:
    """The shape of a base by its config, whatever its family."""
    if config.get_text_config().model_type in FAMILIES:
        return shape_of(config.to_dict(), name=config.model_type)
    return shape_of_model(empty_model(config))


def shape_of_model(model: PreTrainedModel) -> ModelShape:
    """The shape of a model, which may be on the meta device."""
    config, decoder = model.config.get_text_config(), model.get_decoder()
    keys = layer_keys(config)
    layers = tuple(
        _layer(module, keys[i], config.num_attention_heads, config.hidden_size)
        for i, module in enumerate(decoder.layers)
    )
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    inside = {id(module) for layer in decoder.layers for module in layer.modules()}
    outer = tuple(
        linear
        for name, module in decoder.named_modules()
        if isinstance(module, nn.Linear) and id(module) not in inside
        for linear in [_linear(name, module)]
    )
    made = ModelShape(
        family=config.model_type,
        width=config.hidden_size,
        vocabulary=len(head.weight),
        tied=tied,
        context=int(getattr(config, "max_position_embeddings", 0) or 0),
        layers=layers,
        outer=outer,
    )
    count = sum(parameter.numel() for parameter in model.parameters())
    return ModelShape(
        made.family,
        made.width,
        made.vocabulary,
        tied,
        made.context,
        layers,
        outer,
        others=count - made.parameters,
    )


def _linear(name: str, module: nn.Linear) -> LinearShape:
    return LinearShape(name, module.in_features, module.out_features, module.bias is not None)


def _layer(module: nn.Module, keys: LayerKeys, heads: int, width: int) -> DecoderShape:
    linears = [_linear(n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear)]
    experts = list(_stacks(module))
    known = sum(each.parameters for each in (*linears, *experts))
    total = sum(parameter.numel() for parameter in module.parameters())
    wide = [each for each in linears if each.inputs == width and "attn" not in each.name]
    inner = max((each.outputs for each in wide), default=0)
    return DecoderShape(
        linears=tuple(linears),
        experts=tuple(experts),
        others=total - known,
        heads=heads if keys.heads else 0,
        key_heads=keys.heads,
        head_width=keys.width,
        window=None,
        inner=inner,
        gates=sum(each.outputs for each in wide) // inner if inner else 0,
        norms=sum(1 for n, p in module.named_parameters() if "norm" in n and len(p) == width),
        normed_heads=any("q_norm" in name for name, _ in module.named_parameters()),
    )


def _stacks(module: nn.Module) -> Iterator[LinearShape]:
    """Parameters [E, .., ..] of experts; how many a token takes is the config's."""
    for name, parameter in module.named_parameters():
        if parameter.dim() == 3 and "conv" not in name:
            count, one, other = parameter.shape
            yield LinearShape(name, other, one, count=count, used=min(count, 2))
