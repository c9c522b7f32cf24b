"""A tiny base with a template that asks for answers."""

import pytest

from tests.models.tiny import tiny_folder

OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    folder = tiny_folder(tmp_path_factory.mktemp("base"), max_position_embeddings=400)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + OPENING)
    return folder
