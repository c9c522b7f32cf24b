"""The program gives what it gave at the commit that was recorded.

Adapters must be the same to the last byte, and documents equal, where processor and libraries are
those of `start.json`. Elsewhere the same tests compare tensors and numbers within a tolerance (see
`differences`) and warn that they do; none is skipped. `python -m tests.recorded.compare` does all
of it outside of pytest.
"""

import json
import warnings

import pytest

from tests.recorded import fixtures
from tests.recorded.compare import Comparison
from tests.recorded.make import START
from tests.recorded.steps import QUICK, SLOW
from tests.recorded.trained import VARIANTS

# One of each way to hold an adapter; the others are loaded by the slow test.
LOADED = ("full", "prompt", "p-tuning", "lora", "dora", "lora-new-tokens", "qlora")
RESUMED = ("interrupted-lora", "interrupted-qlora")


@pytest.fixture
def comparison():
    found = Comparison(json.loads(START.read_text(encoding="utf-8")))
    for reason in (*found.reasons, *found.other_packages):
        warnings.warn(f"compared loosely: {reason}", stacklevel=1)
    return found


# One test each: they share what they train, and workers share nothing.
def test_every_method_trains_the_recorded_adapter_and_commands_say_the_same(comparison, tmp_path):
    found = list(comparison.scenario(tmp_path / "scenario", QUICK))
    assert not found, "\n".join(map(str, found))


def test_fixtures_resume_evaluate_load_and_hit_their_caches(comparison, tmp_path):
    found = list(comparison.fixtures(tmp_path / "placed", resumed=RESUMED, loaded=LOADED))
    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
def test_long_commands_say_the_same_too(comparison, tmp_path):
    found = list(comparison.scenario(tmp_path / "scenario", (*QUICK, *SLOW)))
    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
def test_every_other_fixture_resumes_and_loads(comparison, tmp_path):
    resumed = [name for name in fixtures.INTERRUPTED if name not in RESUMED]
    loaded = [name for name in VARIANTS if name not in LOADED]
    found = list(comparison.fixtures(tmp_path / "placed", resumed=resumed, loaded=loaded))
    assert not found, "\n".join(map(str, found))
