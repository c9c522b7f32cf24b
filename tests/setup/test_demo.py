"""The demo replaces an earlier one, and not one that is running."""

import pytest

from tunesmith.core.errors import RunError
from tunesmith.runs.folder import RunFolder, alone
from tunesmith.setup import demo


def test_a_demo_that_is_running_is_not_removed(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    settings = demo.demo_config(out).model_dump(mode="json", by_alias=True)
    RunFolder(out).create(settings)
    with alone(out), pytest.raises(RunError, match="another process"):
        demo.demo(out=out)
    assert (out / "config.yaml").is_file()

    def train(config, *, progress):
        assert not out.exists()
        raise RunError("as far as this")

    monkeypatch.setattr(demo, "train_run", train)
    with pytest.raises(RunError, match="as far as this"):
        demo.demo(out=out)
