"""Every setting of a run: its name, type, default and one-line help, free of heavy imports."""

from tunesmith.config.checks import CheckSettings
from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.config.load import load_run_config, parse_overrides
from tunesmith.config.methods import FullSettings, LoraSettings, MethodSettings
from tunesmith.config.run import DataSettings, RunConfig, TrainSettings

__all__ = [
    "CheckSettings",
    "DataSettings",
    "EvaluateSettings",
    "FullSettings",
    "LoraSettings",
    "MethodSettings",
    "RunConfig",
    "TrainSettings",
    "load_run_config",
    "parse_overrides",
]
