"""A base's tensors by the names that its files have, each dense."""

from collections.abc import Iterator

from torch import Tensor

from tunesmith.engine.forward import Engine


def named_tensors(engine: Engine) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor, one after the other; a tied head does not stand beside the embedding.

    A linear layer in 4 bit is dequantised as its forward does it, when its turn comes.
    """
    names = {module: name for name, module in engine.model.named_modules()}
    head = f"{names[engine.model.get_output_embeddings()]}.weight"
    for name, tensor in engine.model.state_dict().items():
        if engine.tied and name == head:
            continue
        linear = engine.linears.get(name.removesuffix(".weight"))
        if linear is not None and linear.four_bit is not None:
            yield name, linear.dense(engine.compute_dtype)
        else:
            yield name, tensor
