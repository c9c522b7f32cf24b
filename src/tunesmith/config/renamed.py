"""Keys and values of a config under their old names: they work for one version, with a warning."""

import warnings
from collections.abc import Mapping

from tunesmith.core.errors import OldNameWarning

KEYS = {
    "data.too_long": "data.overflow",
    "method.start": "method.init",
    "method.start_text": "method.init_text",
    "train.clip": "train.max_grad_norm",
    "train.early_stop": "train.patience",
    "train.checkpoint_steps": "train.save_steps",
    "evaluate.examples": "evaluate.num_fewshot",
    "evaluate.forgetting.strength": "evaluate.forgetting.scale",
}
VALUES: dict[str, dict[str, str]] = {
    "data.overflow": {"refuse": "error", "cut": "truncate"},
    "evaluate.forgetting.scale": {"full": "none"},
}


def new_key(key: str, *, warn: bool = True) -> str:
    """A dotted key under its present name; OldNameWarning where the one given is an old one."""
    new = KEYS.get(key, key)
    if warn and new != key:
        _warn(f"`{key}` is now called `{new}`")
    return new


def with_new_names(
    values: Mapping[str, object], *, warn: bool = True, prefix: str = ""
) -> dict[str, object]:
    """Nested values under their present names; OldNameWarning for each old one.

    A key that is given under both names keeps the old one too, so that it is refused as unknown.
    """
    found: dict[str, object] = {}
    for key, value in values.items():
        path, name = prefix + key, key
        if path in KEYS and KEYS[path].rpartition(".")[2] not in values:
            path = new_key(path, warn=warn)
            name = path.rpartition(".")[2]
        if isinstance(value, Mapping):
            found[name] = with_new_names(value, warn=warn, prefix=f"{path}.")
        elif isinstance(value, str) and value in (renamed := VALUES.get(path, {})):
            found[name] = renamed[value]
            if warn:
                _warn(f"`{path}: {value}` is now `{path}: {renamed[value]}`")
        else:
            found[name] = value
    return found


def _warn(what: str) -> None:
    text = f"{what}; the old name works in this version only."
    warnings.warn(text, OldNameWarning, stacklevel=2)
