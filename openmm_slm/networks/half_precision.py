"""Matrix products in bfloat16 on CPUs that have instructions for them (AVX-512 BF16, AMX)."""

from __future__ import annotations

import torch


def native_bfloat16(device: torch.device) -> bool:
    """True if the device is a CPU that multiplies bfloat16 several times faster than float32."""
    found = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and found is not None and bool(found())


def fast_products(device: torch.device) -> torch.autocast:
    """Context in which products are in bfloat16 if the device has them natively.

    The shipped networks were trained in the same way. Geometry stays in float32
    (`rigid_frames.full_precision`).
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=native_bfloat16(device))
