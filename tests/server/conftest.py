"""One server over a tiny base that talks, with adapters, asked by OpenAI's own client."""

import openai
import pytest
import torch

import tunesmith as ts
from tests.runs.tiny import TEMPLATE, talking_base
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.methods import table

KINDS = {
    "a": LoraSettings(rank=2),
    "b": LoraSettings(rank=3),
    "soft": PromptSettings(tokens=3, init="random"),
    "prefix": PTuningSettings(tokens=2),
}
# A template as of Hermes and Qwen: it lists tools, and writes calls as JSON between marks.
WITH_TOOLS = (
    "{% if tools %}{{ '<|im_start|>tools\n' }}{% for tool in tools %}{{ tool.function.name + ' ' }}"
    "{% endfor %}{{ '<|im_end|>' }}{% endif %}"
)
CALLS = (
    "{% for call in m.tool_calls or [] %}{{ '<tool_call>\n' + "
    "({'name': call.function.name, 'arguments': call.function.arguments} | tojson) + "
    "'\n</tool_call>' + ('' if loop.last else '\n') }}{% endfor %}"
)
CALLING = WITH_TOOLS + TEMPLATE.replace(
    "m['content'] + '<|im_end|>", "(m['content'] or '') }}" + CALLS + "{{ '<|im_end|>"
)


@pytest.fixture(scope="package")
def root(tmp_path_factory):
    """A base, and a folder of adapters of every kind over it."""
    root = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(root / "home"))
        base = talking_base(root / "base")
        loaded = open_base(str(base), dtype="float32", device="cpu")
        for number, (name, settings) in enumerate(KINDS.items()):
            adapter = table.attach(loaded.engine, settings, name=name)
            generator = torch.Generator().manual_seed(number)
            for parameter in adapter.trained.values():
                parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            adapter.refresh()
            store.save(root / "adapters" / name, adapter, loaded.engine, base=str(base))
            adapter.detach()
        yield root


@pytest.fixture(scope="package")
def serving(root):
    """Makes servers over the base; they stop at the end."""
    servers = []

    def start(base=root / "base", **options):
        values = {"port": 0, "dtype": "float32", "device": "cpu", **options}
        servers.append(ts.serve(str(base), **values))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="package")
def server(serving, root):
    return serving(
        adapters={"mine": root / "adapters" / "a"},
        adapter_folder=root / "adapters",
        limits={"adapters": 3, "rows": 8},
    )


def client_of(server, key="none"):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="package")
def client(server):
    return client_of(server)


@pytest.fixture(scope="package")
def caller(serving, root):
    """A client of a server whose base is offered tools, and calls them."""
    return client_of(serving(base=talking_base(root / "caller", CALLING)))
