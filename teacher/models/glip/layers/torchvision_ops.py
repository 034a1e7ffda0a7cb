"""torchvision's operators, if they are present and work. No other file imports torchvision.

Operators that do not work count as absent (torchvision's wheels break with another build of torch). They give the
results of our own operators, up to rounding. `GROUNDSWELL_TORCHVISION=0` switches them off.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, cast

import torch
from torch import Tensor

SWITCH = "GROUNDSWELL_TORCHVISION"


class TorchvisionOps(Protocol):
    """The two functions of `torchvision.ops` that we call."""

    deform_conv2d: Callable[..., Tensor]
    nms: Callable[[Tensor, Tensor, float], Tensor]


@lru_cache(maxsize=1)
def torchvision_ops() -> TorchvisionOps | None:
    """Return `torchvision.ops` if a small deformable convolution gives the right result, else None."""
    if os.environ.get(SWITCH, "1") == "0" or importlib.util.find_spec("torchvision") is None:
        return None
    try:
        from torchvision import ops
    except (ImportError, RuntimeError, AttributeError, OSError):
        # Errors of a torchvision that was built for another torch: missing symbols, missing operators.
        return None
    return cast(TorchvisionOps, ops) if _is_correct(ops.deform_conv2d) else None


def _is_correct(deform_conv2d: Callable[..., Tensor]) -> bool:
    x, offset, mask = torch.ones(1, 1, 2, 2), torch.zeros(1, 18, 2, 2), torch.ones(1, 9, 2, 2)
    try:
        out = deform_conv2d(x, offset, torch.ones(1, 1, 3, 3), None, padding=1, mask=mask)
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    return bool(torch.equal(out, torch.full((1, 1, 2, 2), 4.0)))
