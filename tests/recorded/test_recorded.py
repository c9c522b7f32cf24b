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
from tests.recorded.scenario import Scenario
from tests.recorded.steps import QUICK, SLOW
from tests.recorded.trained import VARIANTS

# One of each way to hold an adapter; the others are loaded by the slow test.
LOADED = ("full", "prompt", "p-tuning", "lora", "dora", "lora-new-tokens", "qlora")
RESUMED = ("interrupted-lora", "interrupted-qlora")


@pytest.fixture(scope="module")
def comparison():
    found = Comparison(json.loads(START.read_text(encoding="utf-8")))
    for reason in (*found.reasons, *found.other_packages):
        warnings.warn(f"compared loosely: {reason}", stacklevel=1)
    return found


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return Scenario(tmp_path_factory.mktemp("recorded") / "scenario")


@pytest.fixture(scope="module")
def base(scenario):
    return scenario.begin()


@pytest.fixture(scope="module")
def trained(scenario, base):
    return scenario.train()


@pytest.fixture(scope="module")
def documents(scenario, trained):
    return scenario.commands(QUICK)


@pytest.fixture(scope="module")
def slow_documents(scenario, documents):
    return scenario.commands(SLOW)


def test_the_base_is_made_of_the_same_bytes(comparison, base):
    assert not list(comparison.base(base))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_method_trains_the_recorded_adapter(comparison, trained, name):
    adapters, told = trained
    recorded = fixtures.FIXTURES / "adapters" / name
    found = [
        *comparison.trained("adapters", name, adapters[name], recorded=recorded),
        *comparison.documents({f"train-{name}": told[f"train-{name}"]}),
    ]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("name", [step.name for step in QUICK])
def test_a_command_gives_the_recorded_document(comparison, documents, name):
    found = list(comparison.documents({name: documents[name]}))
    assert not found, "\n".join(map(str, found))


def test_fixtures_resume_evaluate_load_and_hit_their_caches(comparison, tmp_path):
    found = list(comparison.fixtures(tmp_path / "placed", resumed=RESUMED, loaded=LOADED))
    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
@pytest.mark.parametrize("name", [step.name for step in SLOW])
def test_a_long_command_gives_the_recorded_document(comparison, slow_documents, name):
    found = list(comparison.documents({name: slow_documents[name]}))
    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
def test_every_other_fixture_resumes_and_loads(comparison, tmp_path):
    resumed = [name for name in fixtures.INTERRUPTED if name not in RESUMED]
    loaded = [name for name in VARIANTS if name not in LOADED]
    found = list(comparison.fixtures(tmp_path / "placed", resumed=resumed, loaded=loaded))
    assert not found, "\n".join(map(str, found))
