"""A packed batch through a base: embeddings, transformers' own layers, last hidden states."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel

from tunesmith.config.run import Recompute
from tunesmith.core.errors import ModelError
from tunesmith.engine.attention import NAME
from tunesmith.engine.batch import PackedBatch, within
from tunesmith.engine.blocks import KeyValueCache, Prefix
from tunesmith.engine.device import send
from tunesmith.engine.experts import NAME as EXPERTS
from tunesmith.engine.experts import SeamExperts, seams_of
from tunesmith.engine.families import (
    Family,
    family_of,
    head_scores,
    layer_keys,
)
from tunesmith.engine.fused import fuse_
from tunesmith.engine.head import Head
from tunesmith.engine.linear import SeamLinear
from tunesmith.engine.memory import Workspace
from tunesmith.engine.mixers import Shape, reset_states_
from tunesmith.engine.router import SeamRouter, routers_of
from tunesmith.engine.shard import is_sharded_model, sharded_pass, whole
from tunesmith.engine.vocabulary import TokenRows, check_embedding, lookup
from tunesmith.models.load import longest_safe_position
from tunesmith.models.text_part import towers_of
from tunesmith.models.whole_classes import WHOLE_CLASSES


@dataclass(slots=True, eq=False)
class Engine:
    """A base that runs packed streams; its three seams are where adapters attach."""

    model: PreTrainedModel
    linears: dict[str, SeamLinear]
    embedding: nn.Embedding
    head_weight: Tensor
    scale: float
    softcap: float | None
    longest_position: int | None
    compute_dtype: torch.dtype
    states: dict[int, tuple[Shape, Shape]]  # what layers with a recurrent state keep of a text
    experts: dict[str, SeamExperts] = field(default_factory=dict)  # by parameter
    routers: dict[str, SeamRouter] = field(default_factory=dict)  # by parameter
    vocabularies: dict[str, TokenRows] = field(default_factory=dict)  # by adapter
    prefixes: dict[str, Prefix] = field(default_factory=dict)  # by adapter
    workspace: Workspace = field(default_factory=Workspace)
    base_head_weight: Tensor | None = None  # as it was, where it is trained and retained

    @property
    def seams(self) -> dict[str, SeamLinear | SeamExperts | SeamRouter]:
        """Where terms attach: linear layers by module, experts and routers by parameter."""
        return {**self.linears, **self.parameters}

    @property
    def parameters(self) -> dict[str, SeamExperts | SeamRouter]:
        """The seams of the experts and routers, in their order in the model."""
        return {**self.experts, **self.routers}

    @property
    def tied(self) -> bool:
        """Whether head and embedding are one tensor."""
        return self.head_weight is self.embedding.weight

    @property
    def head(self) -> Head:
        """The head as it scores rows now."""
        return Head(
            self.head_weight,
            self.scale,
            self.softcap,
            self.vocabularies,
            self.workspace,
            self.base_head_weight,
        )

    @property
    def is_sharded(self) -> bool:
        """Whether ranks hold parts of its layers."""
        return is_sharded_model(self.model.get_decoder())

    @property
    def config(self) -> PretrainedConfig:
        """The config of the language model, also where it is a part of the class."""
        config: PretrainedConfig = self.model.config.get_text_config()
        return config

    @property
    def other_modules(self) -> tuple[str, ...]:
        """Names of modules of the whole class that are no part of the language model."""
        return towers_of(self.model).parts

    @property
    def layer_vocabulary(self) -> int | None:
        """The number of ids that have an embedding of their own for each layer; None: no such."""
        if not getattr(self.config, "hidden_size_per_layer_input", None):
            return None
        return int(self.config.vocab_size_per_layer_input)

    @property
    def device(self) -> torch.device:
        """The base's device."""
        return self.head_weight.device

    def hidden_states(self, batch: PackedBatch, *, recompute: Recompute = "none") -> Tensor:
        """Last hidden states [T, D], after the final norm.

        ``recompute``: what is recomputed in backward. With `layers` a layer keeps its input only,
        with `activations` all but what is cheap: outputs of norms and gated units, and attention's
        probabilities. Raises ModelError where a position is beyond what the family's
        rotary embedding can pack.
        """
        limit = self.longest_position
        if limit is not None and (last := int(batch.on_host.positions.max())) >= limit:
            raise ModelError(
                f"A document reaches position {last}; beyond {limit} this "
                "model's rotary embedding depends on the whole call.",
                remedy=f"Set data.max_tokens to {limit}.",
            )
        embedded = self.embed(batch)
        decoder = self.model.get_decoder()
        # linear layers before the first layer and after the last one too
        with within(batch), sharded_pass(decoder, embedded):
            out = decoder(
                inputs_embeds=embedded[None],
                position_ids=batch.positions[None],
                use_cache=False,
                stream=batch,
                recompute=recompute if torch.is_grad_enabled() else "none",
                **self._inputs_by_layer(batch),
            )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def embed(self, batch: PackedBatch) -> Tensor:
        """Output of the embedding module for the stream's ids, [T, D] in the compute dtype.

        Rows of virtual tokens are their vectors.
        """
        rows = lookup(self.embedding, batch, self.vocabularies).to(self.compute_dtype)
        for document in batch.documents:
            if document.virtual is not None:
                at = torch.arange(document.start, document.stop, device=rows.device)
                rows = rows.index_copy(0, at, document.virtual.to(rows.dtype))
        return rows

    def scores(self, hidden: Tensor, adapters: Sequence[str | None]) -> Tensor:
        """Scores of the next token by id, [B, D] -> [B, V], each row over its adapter's vocabulary.

        Wider where an adapter has new tokens; they score -inf for everyone else.
        """
        owned = {a: self.vocabularies[a] for a in adapters if a and a in self.vocabularies}
        scores = self.head.logits(hidden)
        width = max(self.head.width(tokens) for tokens in (None, *owned.values()))
        if width > scores.shape[1]:
            scores = nn.functional.pad(scores, (0, width - scores.shape[1]), value=-torch.inf)
        for adapter, tokens in owned.items():
            mine = torch.tensor([i for i, a in enumerate(adapters) if a == adapter])
            (rows,) = send([mine], hidden.device)
            own = self.head.logits(hidden.index_select(0, rows), tokens)
            scores[rows, : own.shape[1]] = own
        return scores

    def prefix_length(self, adapter: str | None) -> int:
        """Positions that an adapter's own prefix takes in front of its documents."""
        prefix = self.prefixes.get(adapter or "")
        return prefix.length if prefix else 0

    def cache(self, slots: int, capacity: int) -> KeyValueCache:
        """An empty key/value cache for ``slots`` documents of up to ``capacity`` positions."""
        like = torch.empty(0, dtype=self.compute_dtype, device=self.device)
        keys = layer_keys(self.config)
        return KeyValueCache(keys, slots, capacity, like=like, states=self.states)

    def cache_bytes(self, capacity: int) -> int:
        """Bytes of a cache's slot of ``capacity`` positions."""
        numbers = sum(each.heads * each.width for each in set(layer_keys(self.config)))
        size = self.compute_dtype.itemsize
        states = sum(
            math.prod(inputs) * size + math.prod(state) * max(size, torch.float32.itemsize)
            for inputs, state in self.states.values()
        )
        return 2 * numbers * capacity * size + states

    def _inputs_by_layer(self, batch: PackedBatch) -> dict[str, Tensor]:
        """What the decoder adds in each layer beside the embeddings, where its family does so.

        It is looked up by token. Virtual tokens have none: they get the padding token's, as
        transformers gives images.
        """
        decoder = self.model.get_decoder()
        if self.layer_vocabulary is None:
            return {}
        ids = batch.ids.clone()
        for document in batch.documents:
            if document.virtual is not None:
                ids[document.start : document.stop] = self.config.pad_token_id
        return {"per_layer_inputs": decoder.get_per_layer_inputs(ids[None]).to(self.compute_dtype)}


def prepare_(
    model: PreTrainedModel,
    compute_dtype: torch.dtype | None = None,
    *,
    family: Family | None = None,
) -> Engine:
    """Turn a transformers causal model into an Engine, in place; the weights are not touched.

    ``family``: its row of the table, where it is not to be looked up. Raises ModelError for a
    family, head or rotary embedding that is not implemented.
    """
    config = model.config.get_text_config()
    scores = head_scores(config, family or family_of(config))
    whole = WHOLE_CLASSES.get(model.config.model_type)
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise ModelError(f"{type(model).__name__} has no language-model head without bias.")
    model.eval()
    model.requires_grad_(False)
    decoder = model.get_decoder()
    decoder.set_attn_implementation(NAME)
    linears: dict[str, SeamLinear] = {}
    for layer in decoder.layers:
        layer.forward = partial(_run_layer, layer.forward)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and module is not head:
            linears[name] = SeamLinear(module, name, len(linears))
            model.set_submodule(name, linears[name])
    experts, routers = seams_of(model), routers_of(model)
    if experts:
        model.set_experts_implementation(EXPERTS)
    fuse_(model)
    states = reset_states_(decoder)
    embedding = check_embedding(model.get_input_embeddings())
    return Engine(
        model=model,
        linears=linears,
        embedding=embedding,
        head_weight=embedding.weight if _is_tied(model) else head.weight,
        scale=scores.scale,
        softcap=scores.softcap if whole is None or whole.caps_scores else None,
        longest_position=longest_safe_position(config),
        compute_dtype=compute_dtype or head.weight.dtype,
        states=states,
        experts=experts,
        routers=routers,
    )


def _is_tied(model: PreTrainedModel) -> bool:
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head.is_meta:  # without memory
        return head is embedding
    return bool(head.data_ptr() == embedding.data_ptr())


def _run_layer(
    forward: Callable[..., Tensor],
    hidden: Tensor,
    *inputs: object,
    stream: PackedBatch | None = None,
    recompute: Recompute = "none",
    **others: object,
) -> Tensor:
    """One decoder layer with its stream current; recomputed in backward if requested."""
    if stream is None:
        raise RuntimeError("The base runs packed streams only; call Engine.hidden_states.")

    def run(x: Tensor) -> Tensor:
        with within(stream, recompute=recompute == "activations"):
            return forward(x, *inputs, stream=stream, **others)

    if recompute == "layers":
        result: Tensor = checkpoint(run, hidden, use_reentrant=False, preserve_rng_state=False)
        return result
    return run(hidden)


def named_tensors(engine: Engine) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor, one after the other; a tied head is not repeated.

    A 4-bit linear layer is dequantized as in its forward, when its turn comes.
    """
    names = {module: name for name, module in engine.model.named_modules()}
    head = f"{names[engine.model.get_output_embeddings()]}.weight"
    for name, tensor in engine.model.state_dict(keep_vars=True).items():
        if engine.tied and name == head:
            continue
        linear = engine.linears.get(name.removesuffix(".weight"))
        if linear is not None and linear.is_four_bit:
            yield name, linear.dense(engine.compute_dtype)
        else:
            yield name, whole(tensor).detach()
