"""Which base and which adapters a user means by MODEL, RUN and --adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.adapters.folder import CONFIG as ADAPTER_CONFIG
from tunesmith.adapters.folder import Origin, read_config, read_origin, system_of
from tunesmith.config.load import read_yaml
from tunesmith.config.methods import needs_four_bit
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import AdapterError, RunError
from tunesmith.models.catalog import find_entry
from tunesmith.models.hub_bases import find_hub_base
from tunesmith.models.names import is_hub_id, known_folder, may_be_on_hub, other_sources
from tunesmith.runs.folder import RunFolder

BASE = "base"
RUNS = Path("runs")  # where a run is found by its name alone
CONFIG = "config.yaml"


@dataclass(frozen=True, slots=True)
class Located:
    """The base's name, the adapters by the name each answers under, and who answers.

    A participant without an adapter (None) is the base as it is, or the model of a `full` run.
    ``system`` is the system message that the first participant which has one was trained under.
    ``run`` is the name of the `full` run whose model this is; None where it is no such.
    ``strangers``: adapters that answer over another base than their own; ``others``: those that
    were trained under another system message.
    """

    model: str
    adapters: Mapping[str, Path]
    participants: Mapping[str, str | None]
    four_bit: bool = False  # the base's linear layers, as the first adapter was trained over them
    strangers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    system: str | None = None
    run: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing where all are asked under one system message."""
        return (*self.strangers, *self.others)


@dataclass(frozen=True, slots=True)
class LocatedTarget:
    """One of the things named: its base, and its adapter unless it is a whole model."""

    name: str
    model: str
    adapter: Path | None
    whole_run: bool = False
    four_bit: bool = False

    @property
    def base(self) -> str:
        """What it was trained over, for people."""
        name = self.model or "a base that it does not name"
        return f"{name} (4-bit)" if self.four_bit else name

    @property
    def system(self) -> str | None:
        """The system message that it was trained under, if any."""
        return system_of(Path(self.model).expanduser() if self.adapter is None else self.adapter)


def locate(target: str | None, adapters: Sequence[str] = ()) -> Located:
    """What to load for a model, a run's folder or an adapter's, and further adapters over it.

    Without a target the base is that of the first adapter, or the default model; the adapter
    `base` is the base itself. Raises RunError or AdapterError for what cannot answer.
    """
    main = None if target is None else _find(target)
    if main is not None and main.whole_run and BASE in adapters:
        raise AdapterError(
            f"{target} trained the whole model: its base is not in memory beside it.",
            remedy="Ask the base in a chat of its own: tunesmith chat MODEL.",
        )
    others = [None if name == BASE else find_adapter(name) for name in adapters]
    known = [found for found in (main, *others) if found is not None]
    if known:
        require_base(known[0])
    model = known[0].model if known else str(RunConfig.model_fields["model"].default)
    base = known[0].base if known else model
    asked = list(others)
    if main is not None and (main.adapter is not None or not adapters):
        asked.insert(0, main)
    participants: dict[str, str | None] = {}
    paths: dict[str, Path] = {}
    for found in asked or [None]:
        name = _free_name(BASE if found is None else found.name, participants)
        adapter = None if found is None else found.adapter
        participants[name] = None if adapter is None else name
        if adapter is not None:
            paths[name] = adapter
    strangers = [
        f"{found.name} was trained over {found.base}, and answers over {base}"
        for found in others
        if found is not None and not (found.base == base or _is_same_base(found, known[0]))
    ]
    systems = {each.name: each.system for each in known if each.system}
    system = next(iter(systems.values()), None)
    other_systems = [
        f"{name} was trained under another system prompt than the one that all are asked under"
        for name, own in systems.items()
        if own != system
    ]
    four_bit = bool(known) and known[0].four_bit
    notes = tuple(strangers), tuple(other_systems)
    run = main.name if main is not None and main.whole_run else None
    return Located(model, paths, participants, four_bit, *notes, system, run)


def _is_same_base(one: LocatedTarget, other: LocatedTarget) -> bool:
    """Whether both were trained over the same weights, wherever these lie."""
    if one.adapter is None or other.adapter is None or one.four_bit != other.four_bit:
        return False
    origins = read_origin(one.adapter), read_origin(other.adapter)
    return all(origins) and len({each.sha256 for each in origins if each}) == 1


def require_known(target: str) -> None:
    """Raise RunError for a name of nothing that is here, unless the hub may have it as a base.

    Of a run without a result it raises that it has none.
    """
    found = _find(target)
    if found.adapter is not None or found.whole_run or find_entry(target) is not None:
        return
    if Path(target).expanduser().exists() or may_be_on_hub(target):
        return
    beside = "" if "/" in target else f", nor {RUNS / target}"
    raise RunError(
        f"{target} is not a run, adapter or base: there is no such folder{beside}.",
        remedy=f"`tunesmith runs list` shows the runs. {other_sources(target)}",
        code="model",
    )


def adapter_folders(names: Sequence[str]) -> dict[str, Path]:
    """Each adapter's folder by the name that it answers under; their bases need not be here.

    Raises RunError or AdapterError for what is no adapter.
    """
    found: dict[str, Path] = {}
    for name in names:
        own, folder = named_adapter(name)
        found[_free_name(own, found)] = folder
    return found


def find_adapter(name: str, root: Path = RUNS) -> LocatedTarget:
    """The adapter of a run's folder, of a run's name below ``root``, or in an adapter's folder.

    Raises AdapterError for what is none, RunError for a run without a result.
    """
    found = _find(name, root)
    if found.adapter is None:
        folder = Path(name).expanduser()
        if not folder.exists() and find_entry(name) is None:
            raise AdapterError(
                f"{name} is not an adapter: there is no such folder, nor {root / name}.",
                remedy="`tunesmith adapters list` shows those that are here.",
            )
        run = (folder / CONFIG).is_file()
        what = "its run trained the whole model" if run else f"there is no {ADAPTER_CONFIG} in it"
        remedy = "Give it as the model instead." if run else "Name an adapter's or a run's folder."
        raise AdapterError(f"{name} is not an adapter: {what}.", remedy=remedy)
    return found


def named_adapter(name: str, root: Path = RUNS) -> tuple[str, Path]:
    """The name and the folder of ``find_adapter``'s adapter."""
    found = find_adapter(name, root)
    assert found.adapter is not None
    return found.name, found.adapter


def _find(target: str, root: Path = RUNS) -> LocatedTarget:
    folder = Path(target).expanduser()
    by_name = [] if folder.exists() or find_entry(target) else [root / target]
    for place in (folder, *by_name):
        if (place / CONFIG).is_file():
            return _of_run(place)
        if (place / ADAPTER_CONFIG).is_file():
            return _of_adapter(place)
    return LocatedTarget(folder.name or target, target, None)


def _of_run(folder: Path) -> LocatedTarget:
    name, trained = folder.resolve().name, RunFolder(folder).require_trained()
    if not (trained / ADAPTER_CONFIG).is_file():
        return LocatedTarget(name, str(trained), None, whole_run=True)
    values = read_yaml(folder / CONFIG, warn=False)
    model = str(values.get("model", RunConfig.model_fields["model"].default))
    return LocatedTarget(name, model, trained, four_bit=_is_four_bit(values))


def _is_four_bit(config: Mapping[str, object]) -> bool:
    method = config.get("method")
    return isinstance(method, dict) and needs_four_bit(method.get("kind"))


def _of_adapter(folder: Path) -> LocatedTarget:
    """A PEFT folder; inside a run it is the run that knows which base was named."""
    run = folder.resolve().parent
    if folder.resolve().name == "adapter" and (run / CONFIG).is_file():
        return _of_run(run)
    model = str(read_config(folder).get("base_model_name_or_path") or "")
    name = folder.resolve().name
    if (origin := read_origin(folder)) is None:
        return LocatedTarget(name, model, folder)
    return LocatedTarget(name, _base(model, origin), folder, four_bit=needs_four_bit(origin.kind))


def _base(written: str, origin: Origin) -> str:
    """What to load: a short name or hub id, which is the same base everywhere; else what is here.

    A folder is the one where this base was last used, whatever it is called.
    """
    is_short = find_entry(origin.base) is not None or find_hub_base(origin.base) is not None
    if is_short or origin.base == origin.hub_id:
        return origin.base
    if (known := known_folder(origin.sha256)) is not None:
        here = Path(origin.base).expanduser()
        return origin.base if here.is_dir() and here.samefile(known) else str(known)
    is_here = Path(written).exists() or not Path(origin.base).expanduser().exists()
    return written if is_here else origin.base


def require_base(found: LocatedTarget) -> None:
    """Raise AdapterError where an adapter names no base, or one that is not known here."""
    if found.adapter is not None and not found.model:
        raise AdapterError(
            f"{found.adapter}: its {ADAPTER_CONFIG} names no base.",
            remedy=f"Name it: --model, or tunesmith chat MODEL --adapter {found.adapter}",
        )
    if found.adapter is not None and _is_missing(found.model, found.adapter):
        raise AdapterError(
            f"{found.adapter}: its base is not here: there is no {found.model}.",
            remedy=f"Name the base: --model, or tunesmith chat MODEL --adapter {found.adapter}",
        )


def _is_missing(model: str, adapter: Path) -> bool:
    """Whether a base was a folder that is not here; what else is named is for ``resolve``."""
    path = Path(model).expanduser()
    if path.exists() or find_entry(model) is not None or is_hub_id(model):
        return False
    return path.is_absolute() or read_origin(adapter) is not None


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    """``name``, or with a number where another answers under it."""
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)
