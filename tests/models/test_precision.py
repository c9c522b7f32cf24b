"""The number format follows the hardware, and says why."""

import pytest
import torch

from tunesmith.core.errors import ModelError
from tunesmith.core.ranks import RankPlace
from tunesmith.models import precision

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False])
def native(request, monkeypatch):
    monkeypatch.setattr(precision, "_multiplies_in_bfloat16", lambda _: request.param)
    return request.param


def test_auto_takes_bfloat16_exactly_where_the_hardware_has_it(native):
    dtype, reason = precision.detect_dtype("auto", CPU)
    assert dtype == (torch.bfloat16 if native else torch.float32)
    assert "this processor" in reason


def test_asked_for_bfloat16_is_given_with_a_warning_where_it_is_slow(native):
    dtype, reason = precision.detect_dtype("bfloat16", CPU)
    assert dtype == torch.bfloat16
    assert ("slower" in reason) is not native


def test_float32_is_always_given(native):
    assert precision.detect_dtype("float32", CPU)[0] == torch.float32


def test_hardware_is_asked_what_torch_knows():
    expected = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert precision._multiplies_in_bfloat16(CPU) is expected


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cpu", None, torch.float32),
        ("cuda", (6, 1), torch.float32),  # GTX 10xx multiplies in float16 at a 64th of the speed
        ("cuda", (7, 5), torch.float16),  # T4, RTX 20xx
        ("xpu", None, torch.float16),
        ("mps", None, torch.float16),
    ],
)
def test_a_device_without_bfloat16_takes_float16_where_that_is_fast(
    monkeypatch, device, capability, expected
):
    monkeypatch.setattr(precision, "_multiplies_in_bfloat16", lambda _: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    dtype, reason = precision.detect_dtype("auto", torch.device(device))
    assert dtype == expected
    assert ("the loss is scaled" in reason) is (expected == torch.float16)
    assert precision.detect_dtype("float16", torch.device(device))[0] == torch.float16


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_apples_and_intels_devices_are_used_where_they_are_asked_for(monkeypatch, kind):
    monkeypatch.setitem(precision.COUNTS, kind, lambda: 1)
    assert precision.detect_device(kind).type == kind
    assert precision.detect_device("auto").type != kind


@pytest.mark.parametrize(("count", "expected"), [(0, "cpu"), (1, "cuda")])
def test_auto_device_is_the_gpu_if_there_is_one(monkeypatch, count, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    assert precision.detect_device("auto").type == expected


@pytest.mark.parametrize("choice", ["cuda:7", "tpu", "mps", "fast"])
def test_absent_or_unknown_device_is_refused_by_name(monkeypatch, choice):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match=f"'{choice}'"):
        precision.detect_device(choice)


@pytest.mark.parametrize("choice", ["auto", "cuda"])
def test_each_rank_has_the_card_of_its_number(monkeypatch, choice):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(precision.COUNTS, "cuda", lambda: 2)
    for local in (0, 1):
        place = RankPlace(4 + local, 8, local, local_size=4)
        monkeypatch.setattr("tunesmith.core.ranks._place", place)
        assert precision.detect_device(choice) == torch.device("cuda", local)
    place = RankPlace(6, 8, 2, local_size=4)
    monkeypatch.setattr("tunesmith.core.ranks._place", place)
    with pytest.raises(ModelError, match="shows 2 CUDA devices to torch, and has 4 ranks") as error:
        precision.detect_device(choice)
    assert error.value.remedy == "Start as many ranks as devices: --nproc-per-node 2."
