"""The settings of each fine-tuning method, by its `kind`."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.config.method_note import MethodNote
from tunesmith.config.settings import Settings, nested_models

_FOUR_BIT = frozenset({"qlora"})
OTHER_NAMES = {"prefix": "p-tuning"}
TAKEN_STARTS = frozenset({"pissa", "olora", "loftq"})
LEARNING_RATE_HELP = "peak learning rate, or auto: from the method and the width of the base"


def kind_named(name: str) -> str:
    """The kind that a name means; a kind is its own name."""
    return OTHER_NAMES.get(name, name)


SavedFormat = Annotated[
    Literal["float32", "bfloat16", "float16"],
    Field(description="number format of the saved adapter; it is trained in float32"),
]
Targets = Annotated[
    Literal["all-linear"] | tuple[str, ...],
    Field(
        description="all-linear, or linear layers by their last names (q_proj) or globs "
        "(*.layers.0.*)"
    ),
]


def _one_name_is_a_list(value: object) -> object:
    return [value] if isinstance(value, str) and value != "all-linear" else value


class _OneMethod(Settings):
    """What `epochs: auto` takes: passes until there are enough steps, and at most so many
    (docs/methods.md, "Steps and passes").
    """

    enough_steps: ClassVar[int] = 150
    max_epochs: ClassVar[int] = 10


class LoraSettings(_OneMethod):
    """LoRA (arXiv 2106.09685): a low-rank term beside each chosen linear layer."""

    notes: ClassVar[dict[str, MethodNote]] = {
        "lora": MethodNote(
            name="LoRA",
            trains="two thin matrices for each linear layer: about 1 to 4 % of the weights",
            strengths="a fraction of the memory of full; a small adapter file; the base stays as "
            "it is, so one copy of it carries many adapters",
            weaknesses="learns much new knowledge less well than full; rank and targets must be "
            "chosen",
            use_when="first, always: format, style, labels, tone, a narrow skill",
            measured="thirty intents 94 %, polite endings 81 %, Korean reviews 68.5 %: two points "
            "behind full on intents, no clear difference to it elsewhere",
        ),
        "qlora": MethodNote(
            name="QLoRA",
            trains="as lora, on linear layers in 4-bit precision (NF4)",
            strengths="the base takes about a quarter of the memory: larger bases fit",
            weaknesses="a little slower than lora, as weights are dequantized at every use; the "
            "adapter belongs to the 4-bit base",
            use_when="the base does not fit in 16-bit precision",
            measured="thirty intents 95 %, polite endings 81 %, Korean reviews 67 %: as good as "
            "lora there, and about two points behind it on summaries and English reviews",
        ),
    }
    init_words: ClassVar[frozenset[str]] = TAKEN_STARTS
    # what a search tries beside the rate, and what keeps its ratio to a value that it changes
    searched: ClassVar[dict[str, tuple[object, ...]]] = {
        "rank": (4, 8, 16, 32, 64),
        "targets": ("all-linear", ("*attn*",)),
    }
    scales_with: ClassVar[dict[str, str]] = {"alpha": "rank"}
    kind: Literal["lora", "qlora"] = "lora"
    rank: int = Field(16, ge=1, description="rank R of the term B A")
    alpha: float = Field(32.0, gt=0, description="scale numerator: the term counts alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of inputs of A that are dropped")
    targets: Targets = "all-linear"
    target_parameters: tuple[str, ...] = Field(
        (),
        description="experts or routers by the last names of their parameters "
        "(experts.gate_up_proj, experts.down_proj) or globs",
    )
    rslora: bool = Field(False, description="scale by alpha / sqrt(rank) (arXiv 2312.03732)")
    rank_pattern: dict[str, int] = Field(
        {}, description="another rank for layers by last name or glob"
    )
    alpha_pattern: dict[str, float] = Field(
        {}, description="another alpha for layers by last name or glob"
    )
    new_tokens: tuple[str, ...] = Field(
        (), description="tokens that are added to the vocabulary, or already there, and trained"
    )
    dora: bool = Field(False, description="train each layer's row norms beside (arXiv 2402.09353)")
    freeze_a: bool = Field(False, description="LoRA-FA: train B only (arXiv 2308.03303)")
    loraplus_lr_ratio: float = Field(
        1.0, gt=0, description="LoRA+: B's learning rate over A's (arXiv 2402.12354)"
    )
    dtype: SavedFormat = "float32"
    init: str | None = Field(
        None,
        description="null, pissa, olora, loftq (for qlora), or a LoRA folder to continue from",
    )

    _targets = field_validator("targets", "target_parameters", mode="before")(_one_name_is_a_list)

    @field_validator("new_tokens")
    @classmethod
    def _tokens_are_texts_of_their_own(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not token.strip() for token in value) or len(set(value)) < len(value):
            raise ValueError("each token must be a text, and be given once")
        return value

    @field_validator("rank_pattern")
    @classmethod
    def _ranks_are_positive(cls, value: dict[str, int]) -> dict[str, int]:
        if any(rank < 1 for rank in value.values()):
            raise ValueError("every rank must be at least 1")
        return value

    @field_validator("alpha_pattern")
    @classmethod
    def _alphas_are_positive(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(0 < alpha < math.inf for alpha in value.values()):
            raise ValueError("every alpha must be a number above 0")
        return value

    @model_validator(mode="after")
    def _parameters_have_plain_terms(self) -> "LoraSettings":
        """As in PEFT: the x of a stack of experts is not at hand where its term is added."""
        asked = {"dropout": self.dropout > 0, "dora": self.dora, "init": self.init in TAKEN_STARTS}
        if self.target_parameters and (odd := [key for key, is_set in asked.items() if is_set]):
            raise ValueError(
                f"{' and '.join(odd)} and target_parameters do not go together: terms on experts "
                "are plain LoRA, as in PEFT; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _loftq_needs_four_bit(self) -> "LoraSettings":
        if self.init == "loftq" and self.kind != "qlora":
            raise ValueError(
                "init: loftq corrects the error of 4-bit quantization; it needs kind: qlora"
            )
        return self


class FullSettings(_OneMethod):
    """Full fine-tuning: every weight of the base is trained."""

    notes: ClassVar[dict[str, MethodNote]] = {
        "full": MethodNote(
            name="Full fine-tuning",
            trains="every weight of the base",
            strengths="the most room to learn: new knowledge, another language, large data",
            weaknesses="about 16 bytes of memory a weight; the result is a whole model; forgets "
            "more of what the base could do",
            use_when="LoRA at a high rank is not enough, the data is large, and memory is there",
            measured="thirty intents 96 %, polite endings 81 %, Korean reviews 70.5 %: clearly "
            "ahead of lora only on intents (lora 94 %)",
        )
    }
    init_words: ClassVar[frozenset[str]] = frozenset()
    kind: Literal["full"] = "full"
    init: str | None = Field(None, description="a model folder of a `full` run to continue from")


DEFAULT_VIRTUAL_TOKENS = 20
VirtualTokens = Annotated[
    int | None,
    Field(
        ge=1,
        description="virtual tokens P; null: as many as init_text has, else "
        f"{DEFAULT_VIRTUAL_TOKENS}",
    ),
]
VirtualInit = Annotated[
    str, Field(description="text, sample (of the vocabulary), random, or an adapter folder")
]
InitText = Annotated[
    str | None, Field(description="the text whose tokens are the initial virtual tokens")
]
VIRTUAL_INITS = frozenset({"text", "sample", "random"})


def _text_is_the_start(values: object) -> object:
    """``init_text`` alone implies `init: text`."""
    if isinstance(values, dict) and values.get("init_text") and "init" not in values:
        return {**values, "init": "text"}
    return values


def _text_and_start_agree(settings: "VirtualTokenSettings") -> "VirtualTokenSettings":
    if settings.init_text and init_path(settings) is not None:
        raise ValueError(
            "an adapter folder brings its own virtual tokens; leave out init_text, or the folder"
        )
    if (settings.init == "text") != bool(settings.init_text):
        raise ValueError("init: text and init_text belong together")
    return settings


class PromptSettings(_OneMethod):
    """Prompt tuning (arXiv 2104.08691): virtual tokens before every document."""

    notes: ClassVar[dict[str, MethodNote]] = {
        "prompt": MethodNote(
            name="(Soft) prompt tuning",
            trains="P virtual tokens before the text: P x the base's width, often some ten "
            "thousand numbers",
            strengths="the smallest adapter; the base's layers do exactly what they did; can start "
            "from an instruction's own tokens",
            weaknesses="learns least, and slowly; the P tokens are computed with every prompt; "
            "nothing to merge",
            use_when="a task that the base nearly does, or many tiny adapters",
            measured="thirty intents 47 % with 20 tokens and 66 % with 100, polite endings 38 % "
            "and 52 %; seeds differ much; English reviews 93 %, Korean reviews at "
            "chance, as the base hardly reads Korean",
        )
    }
    init_words: ClassVar[frozenset[str]] = VIRTUAL_INITS
    searched: ClassVar[dict[str, tuple[int, ...]]] = {"tokens": (10, 20, 50, 100)}
    enough_steps: ClassVar[int] = 600
    max_epochs: ClassVar[int] = 40
    kind: Literal["prompt"] = "prompt"
    tokens: VirtualTokens = None
    init: VirtualInit = "sample"
    init_text: InitText = None

    _init = model_validator(mode="before")(_text_is_the_start)
    _agreement = model_validator(mode="after")(_text_and_start_agree)


class PTuningSettings(_OneMethod):
    """P-Tuning v2, prefix tuning (arXiv 2110.07602, 2101.00190): keys and values in every layer."""

    notes: ClassVar[dict[str, MethodNote]] = {
        "p-tuning": MethodNote(
            name="P-Tuning v2, prefix tuning (also: prefix)",
            trains="P keys and values before the text, in every layer",
            strengths="steers every layer, yet small; costs almost nothing at inference; the base "
            "stays as it is",
            weaknesses="learns less than LoRA; layers with a sliding window lose it in long texts; "
            "nothing to merge",
            use_when="classification and style with little data, many small adapters over one base",
            measured="thirty intents 87 %, polite endings 72 %: between prompt and lora, in a "
            "twentieth of lora's bytes; English reviews 92 %, Korean reviews at "
            "chance, as the base hardly reads Korean",
        )
    }
    init_words: ClassVar[frozenset[str]] = VIRTUAL_INITS
    searched: ClassVar[dict[str, tuple[int, ...]]] = {"tokens": (10, 20, 50, 100)}
    kind: Literal["p-tuning", "prefix"] = Field(
        "p-tuning", description="prefix is another name of p-tuning"
    )
    tokens: VirtualTokens = None
    init: VirtualInit = "sample"
    init_text: InitText = None
    projection: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="width of an MLP that makes the keys and values (arXiv 2101.00190, section "
        "4.3); null: they are trained themselves",
    )

    _init = model_validator(mode="before")(_text_is_the_start)
    _agreement = model_validator(mode="after")(_text_and_start_agree)

    _one_name = field_validator("kind")(kind_named)

    @model_validator(mode="after")
    def _an_mlp_begins_anew(self) -> "PTuningSettings":
        if self.projection is not None and init_path(self) is not None:
            raise ValueError(
                "an adapter folder holds keys and values without an MLP; leave out "
                "projection, or set init to text, sample or random"
            )
        return self


class IA3Settings(_OneMethod):
    """IA3 (arXiv 2205.05638): vectors that scale outputs or inputs of linear layers."""

    notes: ClassVar[dict[str, MethodNote]] = {
        "ia3": MethodNote(
            name="IA3",
            trains="vectors that scale keys, values and the inputs of down_proj: about 0.04 % of "
            "the weights",
            strengths="a tiny adapter that can be merged; nothing to choose but the learning rate",
            weaknesses="learns less than lora, and needs a high learning rate",
            use_when="many small adapters over one base, a task that the base nearly does",
            measured="not yet on the tasks of docs/methods.md",
        )
    }
    init_words: ClassVar[frozenset[str]] = frozenset()
    kind: Literal["ia3"] = "ia3"
    targets: Targets = ("k_proj", "v_proj", "down_proj")
    feedforward: tuple[str, ...] | None = Field(
        None,
        description="targets whose inputs are scaled in place of their outputs; null: down_proj "
        "where it is one",
    )
    dtype: SavedFormat = "float32"
    init: str | None = Field(None, description="an IA3 adapter folder to continue from")

    _names = field_validator("targets", "feedforward", mode="before")(_one_name_is_a_list)


VirtualTokenSettings = PromptSettings | PTuningSettings
AnyMethod = LoraSettings | FullSettings | VirtualTokenSettings | IA3Settings
MethodSettings = Annotated[AnyMethod, Field(discriminator="kind")]


def method_notes() -> dict[str, MethodNote]:
    """Every kind that `method.kind` takes, with its note."""
    members = nested_models(MethodSettings)
    return {kind: note for m in members for kind, note in getattr(m, "notes", {}).items()}


def default_methods() -> dict[str, AnyMethod]:
    """The settings of every kind as they are unless something is given."""
    members = [m for m in nested_models(MethodSettings) if hasattr(m, "notes")]
    return {kind: m(kind=kind) for m in members for kind in m.notes}  # type: ignore[misc]


def needs_four_bit(kind: object) -> bool:
    """Whether a method needs a base whose linear layers are 4-bit; False for no method."""
    return kind in _FOUR_BIT


def first_kind(*, four_bit: bool) -> str:
    """The kind to take where none is named, over a 4-bit base or not."""
    return next(kind for kind in method_notes() if needs_four_bit(kind) == four_bit)


def init_path(settings: AnyMethod) -> str | None:
    """The folder that a run continues from, where ``init`` names one."""
    return None if settings.init in settings.init_words else settings.init
