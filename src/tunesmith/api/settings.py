"""The settings of a run as Python gives them: keywords, settings objects, mappings, a file."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from tunesmith.api.sources import Data, as_source
from tunesmith.config import checks as _checks
from tunesmith.config import checks_reference as _reference
from tunesmith.config.keys import config_keys
from tunesmith.config.load import (
    SETTINGS,
    Flags,
    load_run_config,
    merged,
    read_yaml,
    run_config,
    with_kind,
)
from tunesmith.config.methods import (
    FullSettings,
    IA3Settings,
    LoraSettings,
    PromptSettings,
    PTuningSettings,
)
from tunesmith.config.peft_config import PeftConfig, is_peft_config, method_of
from tunesmith.config.renamed import with_new_names
from tunesmith.config.run import RunConfig
from tunesmith.config.settings import Settings
from tunesmith.core.errors import ConfigError, ModelError, UsageError

Keywords = TypeVar("Keywords", bound=Mapping[str, object])

LoRA, Full, Prompt, PTuning = LoraSettings, FullSettings, PromptSettings, PTuningSettings
IA3 = IA3Settings


def QLoRA(**settings: Any) -> LoraSettings:  # as LoRA is written
    """LoRA over a base whose linear layers are in 4-bit (NF4), with LoRA's settings."""
    return LoraSettings(kind="qlora", **settings)


class checks:  # written `ts.checks.Json(...)`, as a module would be
    """The settings of every check, by its kind: ``ts.checks.Json(schema="schema.json")``."""

    Exact = _reference.ExactSettings
    Label = _reference.LabelSettings
    Number = _reference.NumberSettings
    Json = _checks.JsonSettings
    Regex = _checks.RegexSettings
    StartsWith = _checks.StartsWithSettings
    EndsWith = _checks.EndsWithSettings
    Contains = _checks.ContainsSettings
    NotContains = _checks.NotContainsSettings
    MaxWords = _checks.MaxWordsSettings
    MaxSentences = _checks.MaxSentencesSettings
    Language = _checks.LanguageSettings
    Steps = _reference.StepsSettings
    Slots = _reference.SlotsSettings
    Rouge = _reference.RougeSettings
    Bleu = _reference.BleuSettings
    Chrf = _reference.ChrfSettings
    Similarity = _checks.SimilaritySettings
    Style = _checks.StyleSettings
    Sql = _checks.SqlSettings
    Python = _checks.PythonSettings
    Judge = _checks.JudgeSettings
    ToolCall = _checks.ToolCallSettings
    Refusal = _checks.RefusalSettings


Method = str | Settings | PeftConfig | Mapping[str, object]
CheckGiven = str | Settings | Mapping[str, object]
ConfigGiven = str | Path | Mapping[str, object] | RunConfig


class RunKeywords(TypedDict, total=False):
    """What any verb that trains takes, each a key of the config; the rest goes into ``settings``.

    ``config``: a file, a mapping or a RunConfig to start from. ``settings``: any further keys,
    nested or dotted: ``{"train": {"patience": 2}, "data.overflow": "drop"}``. ``model``: a short
    name, a folder, a hub id, or a transformers model in memory, with ``tokenizer`` beside it or as
    a pair. ``minutes``, ``epochs`` and ``steps`` (optimizer steps) exclude each other.
    """

    model: object
    tokenizer: object
    method: Method
    checks: CheckGiven | Sequence[CheckGiven]
    eval: Data | float
    goal: str
    out: str | Path
    epochs: float
    steps: int
    minutes: float
    lr: float
    seed: int
    device: str
    dtype: str
    config: ConfigGiven | None
    settings: Mapping[str, object] | None


_KEYS = {
    "model": "model",
    "method": "method",
    "checks": "evaluate.checks",
    "eval": "data.eval",
    "goal": "goal",
    "out": "out",
    "epochs": "train.epochs",
    "steps": "train.steps",
    "minutes": "train.minutes",
    "lr": "train.lr",
    "seed": "train.seed",
    "device": "device",
    "dtype": "dtype",
}


@contextlib.contextmanager
def holding(keywords: Keywords) -> Iterator[Keywords]:
    """The keywords with ``model`` named; inside, that name is the caller's model in memory.

    A model that is named already passes through. The model is never changed: modules of our own
    work on the same tensors. Raises ModelError for what cannot be a base.
    """
    model, tokenizer = keywords.get("model"), keywords.get("tokenizer")
    if isinstance(model, tuple) and len(model) == 2:
        model, tokenizer = model
    if is_named(model):
        if tokenizer is not None:
            raise UsageError("tokenizer goes with a model in memory; a named model has its own.")
        yield keywords
        return
    from transformers import PreTrainedTokenizerBase

    from tunesmith.models import in_memory

    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UsageError(
            "A model in memory comes with its tokenizer.",
            remedy="Give model=(model, tokenizer), or tokenizer=tokenizer beside it.",
        )
    plain_model = in_memory.require_plain(model)
    held = in_memory.HeldModel(plain_model, tokenizer)
    folder = in_memory.folder_of(held)
    given = {**keywords, "model": str(folder)}
    given.pop("tokenizer", None)
    given.setdefault("dtype", _dtype_name(plain_model.dtype))
    given.setdefault("device", str(plain_model.device))
    with in_memory.holding(held, folder):
        yield given  # type: ignore[misc]  # the same keys


def is_named(model: object) -> bool:
    """Whether a base is given by its name or folder, and not as a model in memory."""
    return model is None or isinstance(model, str) or hasattr(model, "__fspath__")


def _dtype_name(dtype: object) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "bfloat16"):
        raise ModelError(
            f"The model is in {name}.",
            remedy="Load it with from_pretrained(..., dtype=torch.bfloat16), or torch.float32.",
        )
    return name


@contextlib.contextmanager
def config_given(data: object, keywords: RunKeywords) -> Iterator[RunConfig]:
    """The checked config of a verb's data and keywords; inside, a model in memory is its base."""
    with holding(keywords) as given:
        yield config_of(overrides_of(data, given), given.get("config"))


@contextlib.contextmanager
def config_unless(
    resume: str | Path | None, data: object, keywords: RunKeywords
) -> Iterator[RunConfig | None]:
    """``config_given``, or None for what ``resume`` continues; UsageError where both are given."""
    if resume is not None:
        require_alone(resume, data, **keywords)
        yield None
        return
    with config_given(data, keywords) as config:
        yield config


def require_alone(resume: str | Path, data: object, **given: object) -> None:
    """Raise UsageError where ``resume`` comes with anything else: it uses the run's own config."""
    if data is not None or any(given.values()):
        raise UsageError(f"resume uses the config in {resume}; it takes nothing else.")


def plain(value: object) -> object:
    """Settings objects, PEFT's too, and paths as a YAML file would have them."""
    if isinstance(value, Settings):
        given = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
        kind = getattr(value, "kind", None)
        return given if kind is None else {"kind": kind, **given}
    if is_peft_config(value):
        return method_of(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def nested(values: Mapping[str, object]) -> dict[str, object]:
    """Dotted keys put where they belong: ``{"train.lr": 1}`` is ``{"train": {"lr": 1}}``."""
    found: dict[str, object] = {}
    for key, value in values.items():
        inner = nested(value) if isinstance(value, Mapping) else value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        assert isinstance(inner, dict)
        found = merged(found, inner)
    return found


def _remedy_of(keyword: str, known: Iterable[str]) -> str:
    """Where a keyword that is none belongs, or which one is meant."""
    named = [key for key in config_keys() if key.rpartition(".")[2] == keyword]
    if named:
        places = " or ".join(f'settings={{"{key}": ...}}' for key in named)
        return f"It is a key of a config: {places}."
    near = difflib.get_close_matches(keyword, known, n=1)
    return f"Did you mean {near[0]}?" if near else "Other keys go into settings={...}."


def overrides_of(data: object, keywords: Mapping[str, object]) -> Mapping[str, object]:
    """What keywords and ``settings`` set, nested as in a file; rows in memory become files.

    Raises UsageError for a keyword that is not known. ``model`` is a name already.
    """
    known = {*RunKeywords.__annotations__}
    if unknown := [name for name in keywords if name not in known]:
        remedy = _remedy_of(unknown[0], known)
        raise UsageError(f"There is no keyword {', '.join(unknown)}.", remedy=remedy)
    settings = keywords.get("settings")
    settings = {} if settings is None else settings
    assert isinstance(settings, Mapping)
    given: dict[str, object] = {} if data is None else {"data.train": as_source(data)}
    for name, key in _KEYS.items():
        value = keywords.get(name)
        value = as_source(value) if name == "eval" else plain(value)
        if value is None:
            continue
        if name == "method" and isinstance(value, str):
            value = {"kind": value}
        given[key] = value
    if isinstance(settings, Flags):  # of a command line, which messages then name
        return Flags(merged(nested(given), settings))
    named = nested({k: plain(v) for k, v in settings.items()})
    return merged(nested(given), with_new_names(named))


def config_of(overrides: Mapping[str, object], config: object = None) -> RunConfig:
    """The checked config of a start with overrides; ConfigError with every fault."""
    path, values = start_of(config, overrides)
    if isinstance(overrides, Flags):
        return load_run_config(path, overrides)
    if path is not None:
        values = merged(with_kind(read_yaml(path)), values)
    if "data" not in values:
        raise ConfigError("No training data is given.", remedy="Give it first: train(DATA, ...).")
    return run_config(values, path=path or Path(SETTINGS), flags={})


def start_of(
    config: object, overrides: Mapping[str, object]
) -> tuple[Path | None, Mapping[str, object]]:
    """The file to start from, and what overrides it.

    A mapping or a RunConfig is merged into what overrides it. Raises ConfigError for anything else.
    """
    if config is None or isinstance(config, str | Path):
        return None if config is None else Path(config).expanduser(), overrides
    if isinstance(config, RunConfig | Mapping):
        start = plain(config)
        assert isinstance(start, dict)
        return None, merged(with_kind(with_new_names(nested(start))), overrides)
    raise ConfigError(f"config is a path, a mapping or a RunConfig, not {type(config).__name__}.")
