from typing import get_args

import pytest

from tunesmith.config.methods import kind_named
from tunesmith.config.run import MethodSettings
from tunesmith.data.quality.distribution import ENOUGH_ROWS, few_rows


@pytest.mark.parametrize("method", ENOUGH_ROWS)
def test_told_below_what_the_method_asks_for(method):
    enough = ENOUGH_ROWS[method]
    (finding,) = few_rows(enough - 1, method)
    assert (finding.code, finding.count) == ("few_rows", enough - 1)
    assert method in finding.message
    assert list(few_rows(enough, method)) == []


def test_every_method_has_a_number():
    union = get_args(MethodSettings)[0]
    kinds = {
        kind
        for settings in get_args(union)
        for kind in map(kind_named, get_args(settings.model_fields["kind"].annotation))
    }
    assert kinds == ENOUGH_ROWS.keys()
