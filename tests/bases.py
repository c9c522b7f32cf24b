"""A tiny base with a template that asks for answers, and one that talks."""

import functools

import pytest

from tests.distillation.distilling import distil
from tests.models.tiny import tiny_folder
from tests.plots import plots_are_not_rendered  # noqa: F401  # for the conftests
from tests.runs.tiny import talking_base

OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


@pytest.fixture(autouse=True)
def answers_of_this_test_only(tmp_path_factory, monkeypatch):
    """Else an answer that was given before would hide a change of how answers are made."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("tunesmith.evaluation.score_cache.cache_root", lambda: folder)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    folder = tiny_folder(tmp_path_factory.mktemp("base"), max_position_embeddings=400)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + OPENING)
    return folder


@pytest.fixture(scope="session")
def talking(tmp_path_factory):
    return talking_base(tmp_path_factory.mktemp("talking"))


@pytest.fixture
def ask(talking, tmp_path):
    """Distils the questions over the base that talks, in the test's own folder."""
    return functools.partial(distil, talking, tmp_path)
