"""A family that is not in the table: does it run? Tried on a tiny random model of it, in fp32."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import count_text, percent
from tunesmith.engine.attention import NO_STREAM
from tunesmith.engine.batch import Document, PackedBatch
from tunesmith.engine.blocks import Kept
from tunesmith.engine.families import FAMILIES, TRIED, Family
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.models.quiet import quiet_transformers

LAYERS, VOCABULARY = 4, 97
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 4,
    "num_kv_shared_layers": LAYERS // 2,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ALWAYS = {"head_dim", "pad_token_id", "bos_token_id", "eos_token_id"}
LENGTHS, COMMON = (9, 5, 13), 6  # tokens of the documents, and of a beginning that they share
TOLERANCE = 1e-3  # of the largest value; a family that is supported is held to 1e-6 in float64
MAX_PARAMETERS = 5_000_000  # of a tiny model
SMALL_SHARE = 0.05  # of the layers' parameters, which adapters need not reach
OTHER_KEYS = ("_scale", "_scaling", "_multiplier")  # of configs, for what scales scores


@dataclass(frozen=True, slots=True)
class Contract:
    """What the packed stream needs, and how the family breaks it; None: it holds."""

    name: str
    broken: str | None


@dataclass(frozen=True, slots=True)
class FamilyCheck:
    """A family and its contracts, in the order in which they were tried; each needs the last."""

    family: str
    supported: bool
    contracts: Sequence[Contract]

    @property
    def broken(self) -> Contract | None:
        """The first contract that does not hold."""
        return next((each for each in self.contracts if each.broken), None)

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        return asdict(self)


def admit(config: PretrainedConfig) -> tuple[str, ...]:
    """Notes on a base's family; one that is not in the table runs if it keeps every contract.

    Raises ModelError for one that breaks a contract, and says how.
    """
    kind = config.model_type
    if kind in FAMILIES:
        return ()
    found = try_family(config)
    if found.broken is not None:
        raise ModelError(
            f'Model family `{kind}` is not supported: not "{found.broken.name}" '
            f"({found.broken.broken}).",
            remedy="`tunesmith model list --families` shows those that are.",
        )
    TRIED[kind] = _guess(config)
    return (
        f"the family {kind} is not one of those that tests cover; a tiny random model of it keeps "
        f"all {len(found.contracts)} contracts of the packed stream",
    )


def try_family(config: PretrainedConfig) -> FamilyCheck:
    """Try the contracts on a tiny model of this config's family, until one is broken."""
    found: list[Contract] = []
    with quiet_transformers():
        for name, attempt in _Trial(config).attempts().items():
            try:
                broken = attempt()
            except ModelError as error:
                broken = error.message.removesuffix(".")
            except Exception as error:
                broken = f"it fails: {_last_line(error)}"
            found.append(Contract(name, broken))
            if broken:
                break
    return FamilyCheck(config.model_type, config.model_type in FAMILIES, found)


def _last_line(error: Exception) -> str:
    """Its kind and what it says in the end, where libraries put the cause."""
    kind, last = type(error).__name__, (str(error).splitlines() or [""])[-1].strip()
    return last if _NAMES_KIND.match(last) else f"{kind}: {last}"


_NAMES_KIND = re.compile(r"\w+Error: ")


class _Trial:
    """A tiny model of a family, and what was computed of it so far."""

    def __init__(self, config: PretrainedConfig) -> None:
        self.config = config
        self.guess = FAMILIES.get(config.model_type) or _guess(config)
        self.texts = [_ids(length, seed) for seed, length in enumerate(LENGTHS)]
        self.tiny: PretrainedConfig | None = None

    def attempts(self) -> Mapping[str, Callable[[], str | None]]:
        """Each contract by its name."""
        return {
            "transformers makes a language model of it": self._makes,
            "its layers take the packed stream": self._runs,
            "documents of a stream do not change each other": self._alone,
            "scores equal transformers' own": self._same_scores,
            "gradients equal transformers' own": self._same_gradients,
            "a shared beginning equals a repeated one": self._shared,
            "token by token equals the whole text": self._decodes,
            "adapters reach its parameters": self._reached,
        }

    def _model(self) -> PreTrainedModel:
        assert self.tiny is not None
        torch.manual_seed(0)
        config = copy.deepcopy(self.tiny)  # a model writes into its own
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, 0.2)
                elif "norm" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        return model.float().eval()

    def _engine(self) -> Engine:
        return prepare_(self._model(), family=self.guess)

    def _makes(self) -> str | None:
        if self.config.is_encoder_decoder:
            return "it has an encoder beside its decoder: its answers do not continue a text"
        if self.config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return "transformers has no class of it that continues a text (AutoModelForCausalLM)"
        try:
            self.tiny = _shrunk(self.config)
        except Exception as error:  # of any kind: configs check themselves
            return f"its config cannot be made tiny: {_last_line(error)}"
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(self.tiny)
        if (count := made.num_parameters()) > MAX_PARAMETERS:
            return (
                f"its config names its sizes in other ways, so that no tiny model of it can be "
                f"made ({count_text(count)} parameters)"
            )
        self._model()
        return None

    def _runs(self) -> str | None:
        decoder = self._model().get_decoder()
        if not hasattr(decoder, "layers"):
            return f"{type(decoder).__name__} keeps its layers elsewhere than in `layers`"
        try:
            self._hidden(self._engine(), self.texts)
        except RuntimeError as error:
            if str(error) != NO_STREAM:
                raise
            return "its layers do not hand on the stream to their attention"
        return None

    def _hidden(self, engine: Engine, texts: Sequence[Sequence[int]], share: int = 0) -> Tensor:
        with torch.no_grad():
            return engine.hidden_states(_packed(texts, share=share))

    def _alone(self) -> str | None:
        engine = self._engine()
        apart = torch.cat([self._hidden(engine, [text]) for text in self.texts])
        if _differ(self._hidden(engine, self.texts), apart):
            return f"they do: layers that keep a state of their own? ({_kinds(self.config)})"
        return None

    def _same_scores(self) -> str | None:
        model, engine = self._model(), self._engine()
        with torch.no_grad():
            theirs = torch.cat([model(input_ids=torch.tensor([t])).logits[0] for t in self.texts])
            ours = engine.head.logits(self._hidden(engine, self.texts))
        if not _differ(ours, theirs):
            return None
        ratio = float((ours * theirs).sum() / ours.square().sum())
        if _differ(ours * ratio, theirs):
            return "they differ: attention, a mask or the head has something of its own"
        keys = [k for k, v in _scalings(self.config) if abs(v - ratio) < TOLERANCE * abs(ratio)]
        return (
            f"the head's scores are multiplied by {ratio:.4g} ({', '.join(keys) or 'a constant'})"
        )

    def _same_gradients(self) -> str | None:
        model, engine = self._model(), self._engine()
        for each in (model, engine.model):
            each.requires_grad_(True)
        batch = _packed(self.texts)
        losses = [loss_sum(engine.hidden_states(batch), batch, engine.head)]
        for text in self.texts:
            scores = model(input_ids=torch.tensor([text])).logits[0, :-1]
            wanted = torch.tensor(text[1:])
            losses.append(nn.functional.cross_entropy(scores, wanted, reduction="sum"))
        torch.autograd.backward(losses)
        ours = dict(engine.model.named_parameters())
        theirs = {name: each.grad for name, each in model.named_parameters()}
        largest = max(float(g.abs().max()) for g in theirs.values() if g is not None)
        for name, other in theirs.items():
            mine = ours[name].grad
            if (mine is None) != (other is None):
                return f"those of {name} differ"
            # Some are 0 but for rounding, as of a bias that the softmax takes away.
            if other is not None and _differ(mine, other, floor=TOLERANCE * largest):
                return f"those of {name} differ"
        return None

    def _shared(self) -> str | None:
        engine, head = self._engine(), _ids(COMMON, 9)
        texts = [head + text for text in self.texts]
        with torch.no_grad():
            batches = [_packed(texts), _packed(texts, share=4)]
            losses = [loss_sum(engine.hidden_states(b), b, engine.head) for b in batches]
        return "the losses differ" if _differ(*losses) else None

    def _decodes(self) -> str | None:
        engine, text = self._engine(), self.texts[-1]
        whole, cache = self._hidden(engine, [text]), engine.cache(slots=1, capacity=len(text))
        states = []
        with torch.no_grad():
            for at in range(len(text)):
                before = (Kept(cache, 0, at),) if at else ()
                one = Document(0, 1, prefix=before, keep=(cache, 0))
                states.append(engine.hidden_states(_unlabelled([text[at]], [one])))
        return "the states differ" if _differ(torch.cat(states), whole) else None

    def _reached(self) -> str | None:
        engine = self._engine()
        reached = {*engine.parameters, *(f"{name}.weight" for name in engine.linears)}
        layers = dict(engine.model.get_decoder().layers.named_parameters())
        others = {n: p for n, p in layers.items() if not any(r.endswith(n) for r in reached)}
        # Norms, and the convolutions of single channels, are small in a base of any use.
        left = sum(p.numel() for p in others.values() if p.dim() > 1 and p.shape[1] > 1)
        share = left / sum(p.numel() for p in layers.values())
        most = max(others, key=lambda name: others[name].numel(), default="")
        if share <= SMALL_SHARE:
            return None
        return f"{percent(share)} are in no linear layer or experts (such as {most})"


def _guess(config: PretrainedConfig) -> Family:
    """What the config says of windows, for want of an entry in the table."""
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        return Family(config.model_type, "some layers")
    given = getattr(config, "sliding_window", None)
    return Family(config.model_type, "all layers" if given else "none")


def _shrunk(config: PretrainedConfig) -> PretrainedConfig:
    """The same settings with a tiny shape, and with every kind of layer."""
    given = config.get_text_config().to_dict()
    given = {key: value for key, value in given.items() if key != "quantization_config"}
    names = type(config.get_text_config()).attribute_map  # GPT-J's n_embd is the hidden_size
    sizes = {names.get(key, key): size for key, size in SIZES.items()}
    always = {key for key in ALWAYS if not isinstance(getattr(type(config), key, None), property)}
    small = {k: v for k, v in sizes.items() if given.get(k) or k in always}
    whole_kinds = list(given.get("layer_types") or ())
    kinds = (list(dict.fromkeys(whole_kinds)) * LAYERS)[:LAYERS]
    if kinds:
        small["layer_types"] = kinds  # type: ignore[assignment]
    if apart := given.pop("per_layer_config", None):  # what single layers have of their own
        first = {kind: apart.get(whole_kinds.index(kind)) for kind in kinds}
        own = {layer: first[kind] for layer, kind in enumerate(kinds) if first[kind]}
        small["per_layer_config"] = own  # type: ignore[assignment]
    layers = given.get("num_hidden_layers")
    cut = {
        key: (value * LAYERS)[:LAYERS]
        for key, value in given.items()
        if isinstance(value, list) and len(value) == layers and key != "layer_types"
    }
    return AutoConfig.for_model(**{**given, **cut, **small})


def _scalings(config: PretrainedConfig) -> Iterator[tuple[str, float]]:
    """The config's keys that may scale scores, with what they would multiply them by."""
    for key, value in config.to_dict().items():
        if key.endswith(OTHER_KEYS) and isinstance(value, int | float) and value:
            yield f"times {key}", float(value)
            yield f"divided by {key}", 1 / value


def _kinds(config: PretrainedConfig) -> str:
    kinds = dict.fromkeys(getattr(config.get_text_config(), "layer_types", None) or ())
    return ", ".join(kinds) or "its config names no kinds of layers"


def _differ(ours: Any, theirs: Tensor, *, floor: float = 0.0) -> bool:
    scale = max(float(theirs.abs().max()), floor) or 1.0
    return float((ours - theirs).abs().max()) > TOLERANCE * scale


def _ids(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()


def _packed(texts: Sequence[Sequence[int]], *, share: int = 0) -> PackedBatch:
    rows = [Row(t, [0.0] + [1.0] * (len(t) - 1), key=i) for i, t in enumerate(texts)]
    return pack(rows, share=share)


def _unlabelled(ids: Sequence[int], documents: Sequence[Document]) -> PackedBatch:
    positions = torch.cat([d.offset + torch.arange(len(d)) for d in documents])
    none = torch.zeros(0, dtype=torch.int64)
    return PackedBatch(torch.tensor(ids), positions, tuple(documents), none, none, none.float())
