"""In which precision networks are computed, and whether a device can or only imitates it."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]
"""That of convolutions, products and what goes from one to the next; weights and sums are float32."""


def computed_in(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which networks compute in a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def doubts(device: torch.device, precision: Precision) -> list[str]:
    """A sentence for the result of a job in bfloat16 on a device that has no instructions for it."""
    if precision != "bfloat16" or _has_bfloat16(device):
        return []
    return [f"this {device.type} has no instructions for bfloat16; float32 would have been faster"]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # private, as PyTorch 2.14 has no public way to ask
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
