"""A covering leaves out no name and no two traits that can meet, and is small."""

from itertools import product

from tests.covering import covering, pairs
from tests.families import FAMILIES, TRAITS
from tests.variants import VARIANTS
from tunesmith.config.methods import LoraSettings

ONES = {"a": "xy", "b": "yz", "c": "", "d": "w"}
OTHERS = {"e": "pq", "f": "q", "g": "r", "h": ""}


def test_every_name_and_every_two_traits_are_covered_once_or_more():
    chosen = covering(ONES, OTHERS)
    assert {one for one, _ in chosen} == ONES.keys()
    assert {other for _, other in chosen} == OTHERS.keys()
    met = {two for one, other in chosen for two in product(ONES[one], OTHERS[other])}
    assert met == set(product("wxyz", "pqr"))
    assert len(set(chosen)) == len(chosen) < len(ONES) * len(OTHERS)


def test_a_trait_of_one_name_alone_meets_all_traits_there():
    met = {other for one, other in covering(ONES, OTHERS) if one == "d"}
    assert set().union(*(OTHERS[other] for other in met)) == set("pqr")


def test_without_traits_each_name_occurs_and_none_oftener_than_it_must():
    chosen = covering(dict.fromkeys("abcd", ""), dict.fromkeys("ef", ""))
    assert sorted(one for one, _ in chosen) == list("abcd")


def test_fused_layers_meet_every_kind_and_every_start():
    chosen = pairs(FAMILIES, VARIANTS)
    fused = [VARIANTS[variant] for family, variant in chosen if "fused" in TRAITS[family]]
    assert {settings.kind for settings in fused} == {each.kind for each in VARIANTS.values()}
    lora = [settings for settings in fused if isinstance(settings, LoraSettings)]
    assert {settings.init for settings in lora} == {None, "pissa", "olora", "loftq"}
    assert {settings.dora for settings in lora} == {False, True}
    assert len(chosen) < 0.4 * len(FAMILIES) * len(VARIANTS)
