"""YAML that this package writes or brings; libyaml reads it, ten times as fast, where it is."""

from typing import Any


def read(text: str) -> Any:
    """What `yaml.safe_load` gives; raises YAMLError, in libyaml's words."""
    import yaml  # here and not above: the command line starts with this

    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
