"""The sizes of published bases that the package knows are those that their publishers name."""

import yaml

from tests.source import SRC
from tunesmith.engine.config_shape import shape_of
from tunesmith.models.config_file import known_configs


def test_each_has_as_many_parameters_as_it_says():
    rows = yaml.safe_load((SRC / "tunesmith/models/known_shapes.yaml").read_text(encoding="utf-8"))
    assert len(rows) > 20
    for row in rows:
        assert shape_of(known_configs()[row["name"]]).parameters == row["parameters"], row["name"]
        assert row["source"]
