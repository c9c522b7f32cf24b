"""Everything about one adapter that a table has no room for: settings, files, what comes next."""

import shlex
from pathlib import Path

from tunesmith.adapters import store
from tunesmith.config.methods import LoraSettings
from tunesmith.counts import many
from tunesmith.errors import ModelError
from tunesmith.workflows.adapter_record import AdapterRecord
from tunesmith.workflows.going_on import token_texts

SHOWN = ("alpha", "rslora", "dora", "rank_pattern", "alpha_pattern")
SHOWN_PATTERNS = 4


def settings_of(record: AdapterRecord) -> dict[str, object]:
    """What its folder says of the method besides the record; nothing for one that is damaged."""
    if record.fault is not None:
        return {}
    settings = store.settings_of(record.folder)
    if not isinstance(settings, LoraSettings):
        return {"virtual_tokens": record.virtual_tokens}
    layers = [str(each) for each in settings.targets]
    leaves = sorted({name.rpartition(".")[2] for name in layers})
    default = LoraSettings()
    odd = {
        name: _shown(getattr(settings, name))
        for name in SHOWN
        if getattr(settings, name) != getattr(default, name) or name == "alpha"
    }
    tokens = _new_tokens(record.folder)
    more = {"new_tokens": tokens} if tokens else {}
    return {
        "rank": record.rank,
        **odd,
        "layers": f"{len(layers)}: {', '.join(leaves)}",
        **more,
    }


def _new_tokens(folder: Path) -> list[object]:
    """Its own tokens as texts; as ids where no tokenizer came with it."""
    try:
        return list(token_texts(folder))
    except ModelError:
        return list(store.token_ids(folder))


def _shown(value: object) -> object:
    if not isinstance(value, dict) or len(value) <= SHOWN_PATTERNS:
        return value
    return f"for {many(len(value), 'layer')}"


def files_of(record: AdapterRecord) -> dict[str, int]:
    """Its files with their bytes."""
    paths = sorted(path for path in record.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(record.folder)): path.stat().st_size for path in paths}


def next_commands(record: AdapterRecord) -> list[str]:
    """The exact commands that can be typed next."""
    if record.fault is not None:
        return []
    name = shlex.quote(str(record.run or record.folder))
    kind = "merged" if record.rank else "peft"
    out = shlex.quote(f"{record.name}-{kind}")
    return [
        f"tunesmith adapters verify {name}",
        f"tunesmith chat {name}",
        f"tunesmith adapters export {name} --to {kind} --out {out}",
    ]
