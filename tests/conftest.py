"""Fixtures that several parts share."""

import gc
import os
import sys
from pathlib import Path

import pytest

# Tiny models gain nothing from a second thread, and two that wait for each other on a busy
# machine cost tenfold. Before torch is imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the package has it, which torch may precede

# Messages are compared in English, whatever this machine's locale is.
os.environ["LC_ALL"] = "C.UTF-8"

# Where Python may not keep what it compiled, each process that a test starts compiles all of the
# package again, and each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test cuts the power: what a killed process wrote is read by the next one all the same.
os.fsync = lambda _: None

# Tables are as wide as in a pipe, whatever terminal the tests run in; workers are given one of 80.
os.environ.pop("COLUMNS", None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a card that this machine has not."""
    if item.get_closest_marker("cuda") is not None:
        import torch  # heavy, and few tests need a card

        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA card")


def pytest_collection_finish() -> None:
    """What was imported stays, so that no later collection of garbage needs to look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def default_model_folder() -> Path:
    """The default model, in the user's own cache; the first run fetches and converts it."""
    from tunesmith.models.resolve import pull  # heavy, and most tests do without

    return pull("smollm2-135m-instruct")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TUNESMITH_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would ask the hub fails at once, as it does without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("tests ask no hub")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    choice = sys.modules.get("tunesmith.runs.model_choice")
    if choice is not None:
        monkeypatch.setattr(choice, "get_hf_file_metadata", refuse)


@pytest.fixture(autouse=True)
def few_base_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short texts to retain a base by: a tiny one has nothing to say."""
    monkeypatch.setattr("tunesmith.runs.base_texts.TEXTS", 6)
    monkeypatch.setattr("tunesmith.runs.base_texts.LENGTHS", (16, 24))


@pytest.fixture(autouse=True)
def speed_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine answers is not measured before each run, but in the tests of that."""
    duration = sys.modules.get("tunesmith.evaluation.duration")
    if duration is None:
        return
    speed = duration.Speed(read=1e-5, scored=1e-5, step=1e-3, made=1e-4)
    for user in ("remaining", "training_answers"):
        module = sys.modules.get(f"tunesmith.evaluation.{user}")
        if module is not None:
            monkeypatch.setattr(module, "speed_of", lambda *_, **__: speed)
