"""What a job's result says of a precision that the device has no instructions for."""

import pytest
import torch

from models import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("has", [False, True])
def test_bfloat16_is_doubted_exactly_where_the_device_only_imitates_it(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    told = precision.doubts(CPU, "bfloat16")
    assert told == (
        [] if has else ["this cpu has no instructions for bfloat16; float32 would have been faster"]
    )
    assert precision.doubts(CPU, "float32") == []
