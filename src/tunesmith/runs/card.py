"""A run's card: what its adapter is for, made of, scored, forgot, and how it is loaded.

Everything in it is read from the run's files. It names files without their folders, so that nothing
of this machine travels with the adapter.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tunesmith import __version__
from tunesmith.adapters.card import card_text
from tunesmith.adapters.folder import (
    CARD,
    Origin,
    options_section,
    own_name,
    read_origin,
    system_section,
)
from tunesmith.config import DataSettings
from tunesmith.core import files, yaml_text
from tunesmith.core.numbers import pluralize
from tunesmith.core.remote import is_remote
from tunesmith.data.inputs import record_path
from tunesmith.data.rows import HUB
from tunesmith.methods import table
from tunesmith.models.catalog import find_entry
from tunesmith.models.hub_bases import find_hub_base
from tunesmith.models.names import known_folder
from tunesmith.models.whole_classes import WHOLE_CLASSES
from tunesmith.runs.card_results import (
    forgetting_section,
    model_index,
    not_for_section,
    other_file,
    personal_data,
    result_section,
    table_lines,
)
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.history import Records, read_records

MIN_LANGUAGE = 0.1  # share of the recognized rows with which a language is named
SHOWN_HASH = 16  # letters of a hash of data; a base's is given whole


def update_card(folder: RunFolder) -> None:
    """Write the card of a run's result again, with what is known by now; nothing without both."""
    trained = folder.trained
    origin = read_origin(trained) if trained is not None else None
    if trained is not None and origin is not None and folder.config.is_file():
        files.write_text(trained / CARD, run_card(folder, origin))


def run_card(folder: RunFolder, origin: Origin) -> str:
    """The text of the card of the run in this folder, whose result has this origin."""
    records = read_records(folder.path)
    is_adapter = table.METHODS[origin.kind].peft is not None
    datasets = [path.removeprefix(HUB) for path in _data(records) if path.startswith(HUB)]
    sections = (
        _purpose(records, origin, is_adapter=is_adapter),
        result_section(records.evaluation),
        forgetting_section(records.evaluation),
        _method(records),
        _base(records, origin),
        _rows(records),
        not_for_section(records, _languages(records)),
        _limits(records),
        _use(folder, origin, is_adapter=is_adapter),
        *([system_section(origin.system).strip()] if origin.system else []),
        *([options_section(used).strip()] if (used := origin.template_options) else []),
    )
    return card_text(
        "\n\n".join(sections),
        base=origin.published,
        library="peft" if is_adapter else "transformers",
        relation="adapter" if is_adapter else "finetune",
        more={"language": _languages(records), "datasets": datasets, "tags": [origin.kind]},
        results=model_index(records, datasets),
    )


def licence_of(settings: DataSettings, path: str) -> str | None:
    """The licence of a data file: as the settings name it, or the card of its data set beside it.

    Such a card is a README.md whose head has the key `license`, as data sets of the hub have it.
    """
    if settings.licence is not None or path.startswith(HUB) or is_remote(path):
        return settings.licence
    place = Path(path)
    return _licence_in(place if place.is_dir() else place.parent)


def teacher_of(path: str) -> Mapping[str, object] | None:
    """The model that wrote the answers of a data file, by the record of `data distill` beside it.

    `model`, `endpoint` and the `terms` of its outputs, as the user stated them or null.
    """
    if path.startswith(HUB) or is_remote(path):
        return None
    try:
        found = json.loads(record_path(Path(path)).read_text(encoding="utf-8")).get("teacher")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, Mapping) else None


def _licence_in(folder: Path) -> str | None:
    """The `license` in the head of a folder's card; None without one."""
    try:
        _, head, _ = (folder / CARD).read_text(encoding="utf-8").split("---\n", 2)
        values = yaml_text.read(head)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    found = values.get("license") if isinstance(values, Mapping) else None
    return None if found is None else str(found)


def _purpose(records: Records, origin: Origin, *, is_adapter: bool) -> str:
    goal = records.config.get("goal")
    what = f"An adapter ({origin.kind}) for" if is_adapter else "All weights trained of"
    title = goal or records.path.resolve().name
    return (
        f"# {title}\n\n{what} {origin.published}, made with Tunesmith {__version__}.\n\n"
        f"## Purpose\n\n{goal or 'No goal was stated.'}"
    )


def _method(records: Records) -> str:
    """Settings that are set, and how much was trained."""
    method, train = (records.config.get(key) or {} for key in ("method", "train"))
    summary, last = records.summary, records.metrics[-1] if records.metrics else {}
    rate = max((float(step["lr"]) for step in records.metrics), default=None)
    facts = {
        "method": _settings(method),
        "steps": last.get("step"),
        "tokens": summary.get("tokens") or last.get("tokens"),
        "peak learning rate": None if rate is None else f"{rate:.3g}",
        "optimizer": train.get("optimizer"),
        "seed": train.get("seed"),
        "number format": records.environment.get("dtype"),
        "training loss": _loss(summary.get("train_loss")),
        "held-out loss": _loss(summary.get("eval_loss")),
        "adapter scale": (records.evaluation.get("scale") or {}).get("share"),
    }
    lines = [f"- {key}: {value}" for key, value in facts.items() if value not in (None, "")]
    return "\n".join(["## Method and settings", "", *lines])


def _settings(values: Mapping[str, Any]) -> str:
    """`lora, rank 16, alpha 32`: what is set of a method; a path by its last part."""
    shown = [
        f"{key} {_plain(value)}"
        for key, value in values.items()
        if key != "kind" and value not in (None, False, [], {}, 0, 0.0)
    ]
    return ", ".join([str(values.get("kind")), *shown])


def _plain(value: object) -> str:
    if isinstance(value, str):
        return own_name(Path(value)) if "/" in value else value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


def _loss(value: object) -> str | None:
    return f"{value:.3f} nats a token" if isinstance(value, float) else None


def _base(records: Records, origin: Origin) -> str:
    """Hub id or name, licence, and the hash of the files that were trained over."""
    entry = find_entry(origin.base)
    lines = [
        f"- base: {origin.published}",
        f"- its licence: {_licence_of_base(records, origin) or 'not known'}",
        f"- SHA-256 of its files together: `{origin.sha256}`",
    ]
    if entry is not None:
        lines.append(
            f"- trained over `{entry.name}`, which was made from {Path(entry.member).name} of "
            f"{entry.requirement}: over other weights of that model answers differ slightly"
        )
    elif origin.hub_id is None:
        lines.append("- it has no known hub id: whoever gives this adapter on gives its base too")
    return "\n".join(["## Base", "", *lines])


def _licence_of_base(records: Records, origin: Origin) -> str | None:
    """As the published bases are known here, else as the card in the base's folder has it."""
    known = find_entry(origin.base) or find_hub_base(origin.base) or find_hub_base(origin.published)
    if known is not None:
        return known.licence
    folder = (records.environment.get("base") or {}).get("folder")
    return _licence_in(Path(str(folder))) if folder else None


def _data(records: Records) -> Mapping[str, Any]:
    """Each source's hash, or those of its files, by its path."""
    found: Mapping[str, Any] = records.environment.get("data") or {}
    return found


def _rows(records: Records) -> str:
    """Files without their folders, hashes, licences, and how many rows there were."""
    licences, cells = records.environment.get("licences") or {}, []
    for path, hashes in _data(records).items():
        listed = hashes if isinstance(hashes, Mapping) else {path: hashes}
        for file, digest in listed.items():
            name = file if file.startswith(HUB) else Path(file).name
            shown = f"`{digest[:SHOWN_HASH]}`" if digest else "-"
            cells.append([name, shown, licences.get(path) or "not stated"])
    lines = ["## Data", "", *table_lines(["file", "SHA-256 begins", "licence"], cells)]
    if counts := records.environment.get("rows"):
        trained = pluralize(counts["train"], "row")
        supervised = pluralize(counts["supervised_tokens"], "supervised token")
        lines += ["", f"{trained} trained on ({supervised}), "]
        lines[-1] += f"{counts['held_out']:,} held out."
    for path, teacher in (records.environment.get("teachers") or {}).items():
        terms = teacher.get("terms") or "not stated"
        wrote = f"The answers in {Path(path).name} were written by {teacher.get('model')}"
        lines += ["", f"{wrote} at {teacher.get('endpoint')}. Terms of its outputs: {terms}."]
    if found := personal_data(records):
        lines += ["", f"Found in the rows: {'; '.join(found)}."]
    return "\n".join(lines)


def _languages(records: Records) -> list[str]:
    """Codes of the languages that a tenth or more of the recognized rows are in."""
    counts = (records.environment.get("rows") or {}).get("languages") or {}
    total = sum(counts.values())
    return [code for code, count in counts.items() if count >= MIN_LANGUAGE * total]


def _limits(records: Records) -> str:
    """What the evidence covers, and what was not measured."""
    lines, evaluation = [], records.evaluation
    known = ", ".join(_languages(records)) or "none that was recognized"
    lines.append(f"Languages of the rows: {known}. Others were not tested.")
    if (rows := evaluation.get("rows")) is not None:
        if (other := other_file(records)) is not None:
            lines.append(
                f"Scored on {pluralize(rows, 'row')} of {other}, a file of its own; requests of "
                "another kind were not tested."
            )
        else:
            lines.append(
                f"Scored on {pluralize(rows, 'held-out row')} like those that it was trained on; "
                "requests of another kind were not tested."
            )
    missing = [
        name for name in ("forgetting", "consistency", "knowledge") if not evaluation.get(name)
    ]
    if missing:
        lines.append(f"Not measured: {', '.join(missing)}.")
    lines.append("Safety and bias were not evaluated.")
    lines.append("Its own licence is for its maker to state, within those of base and data.")
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines)])


def _use(folder: RunFolder, origin: Origin, *, is_adapter: bool) -> str:
    """Lines that load it, here and in other programs."""
    base = origin.published if origin.hub_id else f"FOLDER-OF-{origin.published}"
    lines = ["## How to use it", "", "`FOLDER` is the folder of this file.", "", *_in_tunesmith()]
    auto = _auto_class(origin)
    own = _in_peft(folder, base, auto) if is_adapter else _in_transformers(auto)
    return "\n".join([*lines, "", *own])


def _auto_class(origin: Origin) -> str:
    """The name of the class of transformers' that opens the base."""
    folder, kind = known_folder(origin.sha256), None
    if folder is not None:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    return f"AutoModelFor{'ImageTextToText' if kind in WHOLE_CLASSES else 'CausalLM'}"


def _in_tunesmith() -> Iterator[str]:
    yield from ("```python", "import tunesmith as ts", "", 'model = ts.load("FOLDER")')
    yield from ('print(model.generate("..."))', "```")


def _in_peft(folder: RunFolder, base: str, auto: str) -> Iterator[str]:
    config = read_records(folder.path).config.get("method") or {}
    own = bool(config.get("new_tokens"))
    yield from ("```python", "from peft import PeftModel")
    yield from (f"from transformers import {auto}, AutoTokenizer", "")
    yield f'base = {auto}.from_pretrained("{base}", dtype="auto")'
    yield f'tokenizer = AutoTokenizer.from_pretrained("{"FOLDER" if own else base}")'
    if own:
        yield "rows = max(len(tokenizer), len(base.get_input_embeddings().weight))"
        yield "base.resize_token_embeddings(rows)"
    yield from ('model = PeftModel.from_pretrained(base, "FOLDER")', "```")


def _in_transformers(auto: str) -> Iterator[str]:
    yield from ("```python", f"from transformers import {auto}, AutoTokenizer", "")
    yield f'model = {auto}.from_pretrained("FOLDER", dtype="auto")'
    yield from ('tokenizer = AutoTokenizer.from_pretrained("FOLDER")', "```")
