"""Every way to name a base leads to its folder, or to a message with the way out."""

import fnmatch

import pytest

from tests.models.tiny import tiny_folder, tiny_model, write_gguf
from tunesmith.core.errors import ModelError
from tunesmith.models import resolve as module
from tunesmith.models.resolve import resolve

pytestmark = pytest.mark.usefixtures("home")
REPOSITORY = (
    "config.json",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "chat_template.jinja",
    "merges.txt",
    "README.md",
    "LICENSE.txt",
    "NOTICE",
)
DANGEROUS = ("pytorch_model.bin", "modeling_own.py", "original/x.pth", "optimizer.pt", "x.pkl")


@pytest.fixture
def hub(monkeypatch):
    """A hub that gives what it is told to; `asked` holds the patterns."""

    class Hub:
        answer: object = None
        asked: dict[str, list[str]]

        def __call__(self, name, **patterns):
            self.asked = patterns
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        def would_fetch(self, name):
            def hit(kind):
                return any(fnmatch.fnmatch(name, p) for p in self.asked[kind])

            return hit("allow_patterns") and not hit("ignore_patterns")

    hub = Hub()
    monkeypatch.setattr(module, "snapshot_download", hub)
    return hub


def test_short_name_is_pulled(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "pull", lambda name, *, progress: tmp_path / name)
    assert resolve("smollm2-135m-instruct") == tmp_path / "smollm2-135m-instruct"


def test_folder_is_itself_and_gguf_its_conversion(tmp_path):
    folder = tiny_folder(tmp_path / "base")
    assert resolve(str(folder)) == folder
    converted = resolve(str(write_gguf(tmp_path / "m.gguf", tiny_model())))
    assert (converted / "model.safetensors").is_file()


def test_hub_gives_data_and_never_code(hub, tmp_path):
    hub.answer = str(tiny_folder(tmp_path / "base"))
    assert resolve("org/model") == tmp_path / "base"
    assert all(hub.would_fetch(name) for name in REPOSITORY)
    assert not any(hub.would_fetch(name) for name in DANGEROUS)
    resolve("org/model", trust_remote_code=True)
    assert hub.would_fetch("modeling_own.py")
    assert not hub.would_fetch("pytorch_model.bin")


def test_unreachable_hub_names_the_alternatives_and_the_near_name(hub):
    hub.answer = ConnectionError("no route")
    with pytest.raises(
        ModelError, match=r"could not be reached: no route\. Did you mean `smollm2.*gguf"
    ):
        resolve("HuggingFaceTB/SmolLM2-135M-Instruct")


@pytest.mark.parametrize("typo", ["smollm2-135-instruct", "smolm2"])
def test_typo_suggests_the_short_name(typo):
    with pytest.raises(ModelError, match=r"Did you mean `smollm2-135m-instruct`\?"):
        resolve(typo)


@pytest.mark.parametrize("name", ["./missing", "/missing/base", "a/b/c", "", "bad\0name"])
def test_what_is_nowhere_is_refused(name):
    with pytest.raises(ModelError):
        resolve(name)


def test_plain_file_is_refused(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"is a file, and not a \.gguf one"):
        resolve(str(tmp_path / "m.safetensors"))
