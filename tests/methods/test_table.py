"""What the table of methods says of each: complete, and the same as its settings."""

from typing import get_args

import pytest
from transformers import AutoConfig

from tunesmith.config.methods import first_kind, kind_named, method_notes, needs_four_bit
from tunesmith.config.run import MethodSettings
from tunesmith.data.quality.distribution import few_rows
from tunesmith.engine import families
from tunesmith.methods import table


def test_every_kind_of_the_settings_has_a_row_and_a_note():
    kinds = {
        kind
        for settings in get_args(get_args(MethodSettings)[0])
        for kind in map(kind_named, get_args(settings.model_fields["kind"].annotation))
    }
    assert kinds == table.METHODS.keys() == method_notes().keys()


@pytest.mark.parametrize("kind", table.METHODS)
def test_few_rows_are_told_below_what_the_method_asks_for(kind):
    enough = table.METHODS[kind].min_rows
    (finding,) = few_rows(enough - 1, kind, enough=enough)
    assert (finding.code, finding.count) == ("few_rows", enough - 1)
    assert kind in finding.message
    assert list(few_rows(enough, kind, enough=enough)) == []


@pytest.mark.parametrize("kind", table.METHODS)
def test_what_other_programs_take_follows_from_what_can_be_merged_and_stored(kind):
    row = table.METHODS[kind]
    assert row.trains_base is (row.peft is None)
    assert (table.MERGED in row.exports) is row.mergeable
    assert (table.PEFT in row.exports) is (row.peft is not None)


def test_kinds_that_nobody_names_are_those_of_the_base():
    for four_bit in (True, False):
        assert needs_four_bit(first_kind(four_bit=four_bit)) is four_bit
    assert not needs_four_bit("of another program")
    assert table.row("of another program") is None
    assert table.METHODS[table.COMBINED_KIND].mergeable


@pytest.mark.parametrize("family", families.FAMILIES)
def test_the_rate_of_every_family_is_found_by_its_width(family):
    width = AutoConfig.for_model(family).hidden_size
    assert 0 < table.learning_rate("lora", 2 * width) < table.learning_rate("lora", width)
