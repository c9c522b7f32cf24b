"""`list_models`, `pull`, `list_methods`: the bases and methods to choose from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.show import Outcome, line, paragraph, print_facts, print_table
from tunesmith.api.work import OnEvent, working
from tunesmith.core.language import localized
from tunesmith.core.numbers import bytes_text

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.method_note import MethodNote
    from tunesmith.engine.families import Family
    from tunesmith.engine.trial import FamilyCheck
    from tunesmith.models.catalog import Entry
    from tunesmith.models.hub_bases import HubBase
    from tunesmith.models.whole_classes import WholeClass


NO_YES = ("no", "yes")
MODEL_KEYS = (*("name", "description", "licence", "cached", "folder", "bytes", "languages", "fit"),)
HUB_KEYS = (
    *("name", "hub_id", "parameters", "weight_bytes", "licence", "languages", "of_languages"),
    *("gated", "family", "fit", "checked", "source"),
)
HUB_TITLES = ("name", "weights", "runs here", "languages", "licence", "hub id")
HUB_ID_WIDTH = 140  # columns of a terminal that have room for a base's id on the hub too
SHOWN_LANGUAGES = 3
FACTS = {
    "trains": "trains",
    "strengths": "for",
    "weaknesses": "against",
    "use_when": "use it when",
    "measured": "measured",
}


@dataclass(frozen=True, slots=True)
class ModelList(Outcome):
    """Short names: those of the package index, and which of them are cached; those of the hub.

    ``families`` are those that this version runs.
    """

    models: "Sequence[Entry]"
    hub: "Sequence[HubBase]"
    families: Collection[str]

    def to_json(self) -> dict[str, object]:
        """What `model list --json` prints."""
        hub = [{k: getattr(each, k) for k in HUB_KEYS} for each in self.hub]
        for each in hub:
            each["supported"] = each["family"] in self.families
        models = [{k: getattr(each, k) for k in MODEL_KEYS} for each in self.models]
        for one in models:
            one["folder"] = str(one["folder"])
        return {"models": models, "hub": hub}

    def show(self, console: "Console") -> None:
        """A table of each source, and how one is fetched."""
        titles = ("name", "cached", "size", "licence", "what it is")
        rows = [
            (each.name, NO_YES[each.cached], bytes_text(each.bytes), each.licence, each.description)
            for each in self.models
        ]
        words = ("cached", "what it is")
        print_table(console, titles, rows=rows, numbers=("size",), whole=("name",), words=words)
        if missing := [each.name for each in self.models if not each.cached]:
            paragraph(console, f"\nFetch one: tunesmith model pull {missing[0]}")
        paragraph(
            console, "\nOn the hub, where it can be reached (docs/languages.md):", style="bold"
        )
        columns = HUB_TITLES if console.width >= HUB_ID_WIDTH else HUB_TITLES[:-1]
        hub = [self._hub_row(each)[: len(columns)] for each in self.hub]
        said, whole = ("runs here", "licence", "languages"), ("name", "hub id")
        print_table(console, columns, rows=hub, numbers=("weights",), whole=whole, words=said)
        known: list[Entry | HubBase] = [*self.models, *self.hub]
        fit = [(each.name, each.fit) for each in known if each.fit]
        paragraph(console, "\nWhat for, as far as it is measured or published:", style="bold")
        print_facts(console, fit)
        paragraph(
            console,
            "\n--model also takes a folder, a .gguf file, any other hub id, or auto: the first of "
            "these that fits this machine and is published for the rows' language.",
        )

    def _hub_row(self, base: "HubBase") -> tuple[str, ...]:
        licence = f"{base.licence}{', gated' if base.gated else ''}"
        size = bytes_text(base.weight_bytes)
        return base.name, size, self._runs(base), _languages(base), licence, base.hub_id

    def _runs(self, base: "HubBase") -> str:
        if base.family is None:
            return "not checked"
        return "yes" if base.family in self.families else "not yet"


def _languages(base: "HubBase") -> str:
    """The languages where they are few, else how many the publisher claims."""
    count = base.of_languages or len(base.languages)
    return ", ".join(base.languages) if count <= SHOWN_LANGUAGES else str(count)


@dataclass(frozen=True, slots=True)
class FamilyList(Outcome):
    """The families that run, by transformers' model_type."""

    families: "Mapping[str, Family]"
    classes: "Mapping[str, WholeClass]"

    def to_json(self) -> dict[str, object]:
        """What `model list --families --json` prints."""
        return {
            "families": [{"family": k, **asdict(each)} for k, each in self.families.items()],
            "classes": [{"class": k, **asdict(each)} for k, each in self.classes.items()],
        }

    def show(self, console: "Console") -> None:
        """A row for each."""
        rows = [
            (kind, each.models, each.windows, ", ".join(map(localized, each.traits)) or "-")
            for kind, each in self.families.items()
        ]
        titles = ("family", "models", "windows", "what its layers have")
        print_table(console, titles, rows=rows, words=("models", "windows"))
        paragraph(
            console, "\nClasses that also read images or sound; their language model is trained:"
        )
        print_table(
            console,
            ("class", "models"),
            rows=[(kind, each.models) for kind, each in self.classes.items()],
        )
        paragraph(
            console, "\nAnother one: tunesmith model list --explain MODEL reports what it lacks."
        )


@dataclass(frozen=True, slots=True)
class FamilyExplained(Outcome):
    """What a family keeps of the packed stream's contracts, tried on a tiny model."""

    found: "FamilyCheck"

    @property
    def is_good(self) -> bool:
        """Whether every contract holds."""
        return self.found.broken is None

    def show(self, console: "Console") -> None:
        """Each contract that was tried, and the first that is broken."""
        status = "not supported"
        if self.found.broken is None:
            status = "runs; tests do not cover it"
        if self.found.supported:
            status = "supported"
        paragraph(console, f"{self.found.family}: {status}", style="bold")
        print_table(
            console,
            ("contract", "holds"),
            words=("contract", "holds"),
            rows=[(each.name, each.broken or "yes") for each in self.found.contracts],
        )


def list_models(
    *, families: bool = False, explain: str | None = None
) -> ModelList | FamilyList | FamilyExplained:
    """Known short names, and which of them are cached; published bases of the hub.

    ``families``: instead the model families that run. ``explain``: instead what a family keeps of
    what the packed stream needs, tried on a tiny random model of it: a base's folder, short name or
    hub id, or transformers' name of the family. Raises ModelError for one that is unknown.
    """
    from tunesmith.engine.families import FAMILIES, SUPPORTED
    from tunesmith.models.catalog import list_models as find
    from tunesmith.models.hub_bases import hub_bases

    if explain is not None:
        return FamilyExplained(_tried(explain))
    if families:
        from tunesmith.models.whole_classes import WHOLE_CLASSES

        return FamilyList(FAMILIES, WHOLE_CLASSES)
    return ModelList(find(), hub_bases(), SUPPORTED)


def _tried(name: str) -> "FamilyCheck":
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    from tunesmith.engine.trial import try_family
    from tunesmith.models.load import read_config
    from tunesmith.models.resolve import resolve

    if name in CONFIG_MAPPING_NAMES:
        return try_family(AutoConfig.for_model(name).get_text_config())
    return try_family(read_config(resolve(name), trust_remote_code=False).get_text_config())


@dataclass(frozen=True, slots=True)
class Pulled(Outcome):
    """A base that is in the cache."""

    name: str
    folder: Path
    bytes: int

    def to_json(self) -> dict[str, object]:
        """What `model pull --json` prints."""
        return {**asdict(self), "folder": str(self.folder)}

    def show(self, console: "Console") -> None:
        """Where it is."""
        size = bytes_text(self.bytes)
        line(console, f"{self.name} is in {self.folder} ({size}).")


def pull(name: str, *, on_event: OnEvent | None = None, progress: bool | None = None) -> Pulled:
    """Fetch a base into the cache, so that later calls need no network.

    ``name``: a short name, .gguf file or hub id. Raises ModelError for what cannot be had.
    """
    from tunesmith.models.cache import folder_bytes
    from tunesmith.models.resolve import resolve

    with working(on_event=on_event, progress=progress) as work:
        folder = resolve(name, progress=work.progress)
    return Pulled(name, folder, folder_bytes(folder))


@dataclass(frozen=True, slots=True)
class MethodList(Outcome):
    """The methods: what each trains, for, against, when to use it."""

    methods: "Mapping[str, MethodNote]"

    def to_json(self) -> dict[str, object]:
        """What `methods --json` prints."""
        return {"methods": [{"kind": k, **asdict(note)} for k, note in self.methods.items()]}

    def show(self, console: "Console") -> None:
        """Each with its facts."""
        for kind, note in self.methods.items():
            paragraph(console, f"{kind}: {note.name}", style="bold")
            print_facts(console, [(title, getattr(note, name)) for name, title in FACTS.items()])
            console.print()
        paragraph(
            console, "Measured: SmolLM2-135M, held-out rows, three seeds (English reviews: one)."
        )
        paragraph(console, "docs/methods.md has the tables.")
        paragraph(
            console, "Choose one with --method KIND, or `method: {kind: KIND}` in the config."
        )


def list_methods() -> MethodList:
    """The fine-tuning methods: what each trains, for, against, when to use it."""
    from tunesmith.config.methods import method_notes

    return MethodList(method_notes())
