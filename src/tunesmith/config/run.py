"""One run: what is trained on what, how, and how it is evaluated."""

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, NonNegativeInt, field_validator, model_validator

from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.config.methods import LoraSettings, MethodSettings
from tunesmith.config.settings import (
    DROP_NAMES,
    TOO_LONG,
    DropName,
    Settings,
    StorageUrl,
    TemplateOptions,
    Tracker,
    read_names,
)

AUTO: Literal["auto"] = "auto"
TOKEN_ACCURACY: Literal["token_accuracy"] = "token_accuracy"
# Training rows answered at a held-out loss where `auto` answers any: a fifth of them, within these.
ANSWERED, MAX_ANSWERED = 48, 96
Format = Literal[
    "auto",
    "chat",
    "prompt-completion",
    "sharegpt",
    "alpaca",
    "query-response",
    "multiple-choice",
    "text",
]
Overflow = Literal["error", "truncate", "drop"]
OptimizerKind = Literal["adamw", "adamw8bit"]
Recompute = Literal["none", "activations", "layers"]  # from what keeps most to what keeps least
RECOMPUTE: tuple[Recompute, ...] = get_args(Recompute)
DEFAULT_OPTIMIZER: OptimizerKind = "adamw"


def _numbers_are_names(value: object) -> object:
    """A column that is called by its place may be written as a number."""
    if not isinstance(value, dict):
        return value
    return {
        ours: str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        for ours, name in value.items()
    }


Columns = Annotated[dict[str, str], BeforeValidator(_numbers_are_names)]


class DataSource(Settings):
    """One file, how often its rows count beside the others', and what of it is not as in `data`."""

    path: str
    weight: float = Field(1.0, gt=0)
    format: Format | None = None
    map: Columns | None = None
    encoding: str | None = None
    delimiter: str | None = None
    part: str | None = None


class DataSettings(Settings):
    """Where the rows come from and how they become documents."""

    train: str | tuple[DataSource, ...] = Field(
        description="a file, a folder of them, s3://..., hf:OWNER/NAME, or a list of these"
    )
    eval: float | str | tuple[DataSource, ...] = Field(
        0.1, description="share held out, a file, or 0 for none"
    )
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the held-out rows that choose the checkpoint, the scale and settings "
        "of a search; the others alone are scored. 0: all do both",
    )
    share: float = Field(1.0, gt=0, le=1, description="share of the training rows that is used")
    format: Format = Field("auto", description="layout of a row; auto recognizes and reports it")
    map: Columns = Field({}, description="standard column: its name in the file")
    encoding: str = Field("auto", description="of text files, as in utf-8, cp949, cp1252, utf-16")
    delimiter: str | None = Field(None, description="between columns of a table: , ; tab | ...")
    part: str | None = Field(None, description="which sheet, JSON list, file of a zip, or split")
    overflow: Overflow = Field("error", description="what happens to rows longer than max_tokens")
    max_tokens: int | None = Field(None, ge=2, description="longest document; null: the context")
    document: Literal["row", "answer"] = Field(
        "row", description="a whole row, or each trained answer after the prompt served for it"
    )
    control_tokens: Literal["refuse", "text"] = Field(
        "refuse", description="the chat template's control tokens in a message; text: plain text"
    )
    licence: str | None = Field(None, description="of the rows, as the adapter's card names it")
    system: str | None = Field(
        None, description="system message of rows without one, in training and when asked"
    )
    template_options: TemplateOptions = Field(
        {}, description="variables of the chat template, as in enable_thinking=false"
    )
    drop: tuple[DropName, ...] = Field(
        (), description=f"rows to drop, which are counted: {', '.join(DROP_NAMES)}"
    )

    @field_validator("drop", mode="before")
    @classmethod
    def _known_names(cls, value: object) -> object:
        return read_names(value)

    @field_validator("system")
    @classmethod
    def _a_system_prompt_says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty: write the system prompt, or leave the key out")
        return value

    @field_validator("train", "eval", mode="before")
    @classmethod
    def _paths_are_sources(cls, value: object) -> object:
        if isinstance(value, dict):
            return [value]
        if isinstance(value, list | tuple):
            return [{"path": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("eval")
    @classmethod
    def _one_share_or_file(
        cls, value: float | str | tuple[DataSource, ...]
    ) -> float | str | tuple[DataSource, ...]:
        if isinstance(value, float) and not 0 <= value < 1:
            raise ValueError("a share must be at least 0 and below 1")
        if isinstance(value, tuple) and len(value) != 1:
            raise ValueError("one file is held out: name it, or a folder of several")
        if isinstance(value, tuple) and value[0].weight != 1.0:
            raise ValueError("a weight has no effect on rows that are held out")
        return value

    @model_validator(mode="after")
    def _what_is_dropped_is_there(self) -> "DataSettings":
        if TOO_LONG in self.drop and self.overflow == "truncate":
            raise ValueError(f"drop has {TOO_LONG}, and overflow is truncate: give one of them")
        if "leakage" in self.drop and self.held is None:
            raise ValueError("drop has leakage, which has no effect unless eval is a file")
        return self

    @property
    def long_rows(self) -> Overflow:
        """What happens to rows longer than max_tokens, by whichever key it was set."""
        return "drop" if TOO_LONG in self.drop else self.overflow

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The training files as a list, whatever way they were given."""
        return (DataSource(path=self.train),) if isinstance(self.train, str) else self.train

    @property
    def held(self) -> DataSource | None:
        """The file that is held out, where one is named."""
        if isinstance(self.eval, str):
            return DataSource(path=self.eval)
        return self.eval[0] if isinstance(self.eval, tuple) else None

    @property
    def held_share(self) -> float:
        """The share of the training rows that is held out; 0 where a file is, or none."""
        return self.eval if isinstance(self.eval, float) else 0.0

    @property
    def holds_out(self) -> bool:
        """Whether rows are held out: a file of them, or a share."""
        return self.held is not None or self.held_share > 0


RETAINED_TOKEN = 1.2  # what one computes, by a token of a row


class RetentionSettings(Settings):
    """Texts in every step whose next-token distributions stay those of the base."""

    kl_weight: float = Field(
        1.0, gt=0, description="of KL(base || tuned) of a token, beside the task's loss"
    )
    share: float = Field(0.25, gt=0, le=10, description="their tokens in a step, by its rows'")
    texts: str | tuple[str, ...] = Field(
        AUTO, description="files of texts or chats; auto: written once by the base itself"
    )

    @property
    def work(self) -> float:
        """What a step computes more, as a share: measured (docs/log.md, "Retention")."""
        return RETAINED_TOKEN * self.share


class TrainSettings(Settings):
    """How long, how fast and how carefully the loop trains."""

    epochs: float | Literal["auto"] | None = Field(
        AUTO, description="passes; auto: by the number of rows; null: 3, the former default"
    )
    steps: int | None = Field(None, ge=1, description="optimizer steps, instead of epochs")
    minutes: float | None = Field(None, gt=0, description="time limit, instead of epochs")
    tokens_per_step: int | Literal["auto"] | None = Field(
        AUTO, description="tokens a step; auto: about 3 to 8 rows; null: 4096, the former default"
    )
    rows_per_step: int | None = Field(None, ge=1, description="rows a step, instead of tokens")
    tokens_per_micro_batch: int | Literal["auto"] = Field(
        "auto", description="tokens computed at once; auto: by measured memory"
    )
    lr: float | Literal["auto"] = Field("auto", description="peak learning rate; auto: by method")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="decay after warm-up"
    )
    warmup_steps: int | Literal["auto"] = Field("auto", description="auto: 3 % of the steps")
    optimizer: OptimizerKind = Field(
        DEFAULT_OPTIMIZER,
        description="adamw8bit: its state takes 2 bytes a weight, not 8 (arXiv 2110.02861)",
    )
    weight_decay: float = Field(
        0.0, ge=0, description="AdamW decay of all that is trained but vectors (norms, biases)"
    )
    max_grad_norm: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    load_balance: float = Field(
        0.0, ge=0, description="of even use of a mixture's experts, where its router is trained"
    )
    recompute: Recompute | Literal["auto"] = Field(
        "auto",
        description="computed again in backward to save memory: activations (of norms, gated units "
        "and attention) or whole layers; auto: as much as is needed",
    )
    shard: bool | Literal["auto"] = Field(
        "auto",
        description="shard the base's layers over the ranks; auto: where it does not fit on one",
    )
    save_steps: int = Field(100, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints kept, beside the best")
    evaluate_steps: int | None = Field(
        None, ge=1, description="steps between held-out losses; null: as save_steps"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="stop after so many held-out losses without one that is better by 0.001",
    )
    average_steps: NonNegativeInt | Literal["auto"] = Field(
        AUTO,
        description="steps of the weights' moving average, whose held-out loss is measured and "
        "which is the result; auto: a pass where held-out rows may end the passes of auto early; "
        "0: none",
    )
    answer_rows: NonNegativeInt | Literal["auto"] = Field(
        AUTO,
        description="training rows answered at held-out losses: the best checkpoint passes the "
        f"first check as often as any; auto: a fifth of them, {ANSWERED} to {MAX_ANSWERED}, where "
        "passes are auto, rows are held out and the check is a rule; 0: the loss alone chooses",
    )
    best_by: Literal["auto", "loss", "token_accuracy"] = Field(
        AUTO,
        description="which checkpoint is best: of the lowest held-out loss, or of most held-out "
        "tokens right; auto: token_accuracy where the first check compares with a reference",
    )
    retention: RetentionSettings | None = Field(
        default_factory=RetentionSettings,
        description="keep what the base writes elsewhere: default, none, or its keys",
    )
    seed: int = Field(0, ge=0, description="order of rows, starts and dropout")
    threads: int | None = Field(None, ge=1, description="processor threads; null: torch's choice")
    trackers: tuple[Tracker, ...] = Field((), description="also send curves and results there")
    tensorboard: bool = Field(False, description="also write TensorBoard files (extra)")

    @field_validator("retention", mode="before")
    @classmethod
    def _a_word_means_settings(cls, value: object) -> object:
        return None if value == "none" else {} if value == "default" else value

    @field_validator("recompute", mode="before")
    @classmethod
    def _a_switch_means_layers(cls, value: object) -> object:
        words = dict.fromkeys(("true", "yes", "on"), "layers")
        words |= dict.fromkeys(("false", "no", "off"), "none")
        return words.get(str(value).lower(), value)

    @field_validator("lr", "epochs", "tokens_per_step")
    @classmethod
    def _is_positive(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float | int) and value <= 0:
            raise ValueError("must be above 0")
        return value

    @model_validator(mode="after")
    def _one_length_and_one_step_size(self) -> "TrainSettings":
        lengths = [
            name
            for name in ("epochs", "steps", "minutes")
            if getattr(self, name) not in (None, AUTO)
        ]
        if len(lengths) > 1:
            raise ValueError(f"give one of epochs, steps and minutes, not {' and '.join(lengths)}")
        if self.tokens_per_step not in (None, AUTO) and self.rows_per_step is not None:
            raise ValueError("give tokens_per_step or rows_per_step, not both")
        return self

    @property
    def work(self) -> float:
        """What a step computes, by what its rows alone do."""
        return 1 + (self.retention.work if self.retention else 0)

    @property
    def average_window(self) -> int:
        """Steps of the weights' moving average; 0 where there is none, as where `auto` is left."""
        return 0 if self.average_steps == AUTO else int(self.average_steps)

    @property
    def answered_rows(self) -> int:
        """Training rows answered at a held-out loss; 0 for none, as where `auto` is left."""
        return 0 if self.answer_rows == AUTO else int(self.answer_rows)

    def may_average(self, *, has_held: bool) -> bool:
        """Whether a moving average may be kept, once the passes are chosen."""
        chosen = self.average_steps == AUTO and self.passes_are_auto and has_held
        return chosen or self.average_window > 0

    @property
    def passes_are_auto(self) -> bool:
        """Whether the number of passes is still to be chosen from the rows."""
        return self.epochs == AUTO and self.steps is None and self.minutes is None


class RunConfig(Settings):
    """Everything a run needs; what is not given here is resolved and written beside the run."""

    goal: str | None = Field(None, description="one sentence: what the fine-tune is for")
    model: str = Field(
        "smollm2-135m-instruct",
        description="short name, folder, .gguf or hub id; auto: the best known one that fits here",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: bfloat16 where the hardware has it, else float16 on a GPU"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps, xpu")
    trust_remote_code: bool = Field(False, description="run code that a model folder brings")
    data: DataSettings
    method: MethodSettings = Field(default_factory=LoraSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    out: str | None = Field(None, description="run folder; null: runs/NAME-OF-DATA-METHOD")
    mirror: StorageUrl | None = Field(None, description="s3://...: gets copies of the run folder")
