"""torchvision's operators, where they are present and work: the one place that imports torchvision.

Promise: what does not work is as good as absent (torchvision's wheels break when torch is another build), and a call
of these gives what our own operators give, up to rounding. `GROUNDSWELL_TORCHVISION=0` leaves them aside.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

SWITCH = "GROUNDSWELL_TORCHVISION"


@lru_cache(maxsize=1)
def torchvision_ops() -> Any | None:
    """`torchvision.ops` after a small deformable convolution came out right, or None."""
    if os.environ.get(SWITCH, "1") == "0" or importlib.util.find_spec("torchvision") is None:
        return None
    try:
        from torchvision import ops
    except (ImportError, RuntimeError, AttributeError, OSError):
        # The ways in which a torchvision of another torch fails to load: missing symbols, missing operators.
        return None
    return ops if _works(ops.deform_conv2d) else None


def _works(deform_conv2d: Callable[..., Tensor]) -> bool:
    x, offset, mask = torch.ones(1, 1, 2, 2), torch.zeros(1, 18, 2, 2), torch.ones(1, 9, 2, 2)
    try:
        out = deform_conv2d(x, offset, torch.ones(1, 1, 3, 3), None, padding=1, mask=mask)
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    return bool(torch.equal(out, torch.full((1, 1, 2, 2), 4.0)))
