import pytest

from tunesmith.errors import ModelError
from tunesmith.models.load import load_base
from tunesmith.workflows.tokenizing import open_tokenizer


def test_the_tokenizer_is_that_of_the_loaded_base_without_its_weights(base_folder, tmp_path):
    base = load_base(str(base_folder))
    opened = open_tokenizer(str(base_folder))
    text = "hello 42"
    assert opened.tokenizer.encode(text) == base.tokenizer.encode(text)
    assert opened.tokenizer.chat_template == base.tokenizer.chat_template
    assert opened.context == base.context


def test_a_model_that_is_not_there_is_refused(tmp_path, home):
    with pytest.raises(ModelError, match="no folder"):
        open_tokenizer(str(tmp_path / "none"))
