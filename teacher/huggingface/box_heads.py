"""Keep the heads that predict boxes in 32-bit floats, whatever the precision of the rest of a model.

A box in bfloat16 is rounded to 1/256 of the image: autocast runs the last layer of the head in it, and the model takes
the sigmoid of the result. A box head is a small share of a model's work.

Imports torch, so it is imported only where a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import wraps

import torch
from torch import nn

_BOX_HEAD = re.compile(r"\w*bbox_\w+|box_head|integral|ref_anchor_head|reference_points")
"""Names of modules in `transformers` that give boxes or parts of them. `integral` turns D-FINE's distributions into
distances, the last two give first guesses that the heads correct."""


def keep_boxes_in_float32(model: nn.Module) -> list[str]:
    """Let each box head of a model ignore autocast. Return their names.

    The sums and sigmoids that a model makes of their results are then in 32-bit floats, too.
    """
    heads = dict(_find_box_heads(model))
    for head in heads.values():
        head.forward = _without_autocast(head.forward)
    return list(heads)


def _find_box_heads(
    model: nn.Module, prefix: str = "", inside: bool = False
) -> Iterator[tuple[str, nn.Module]]:
    """Yield names and outermost box heads. A list of heads is not one, since nothing calls it."""
    for name, child in model.named_children():
        is_head = inside or _BOX_HEAD.fullmatch(name) is not None
        if is_head and not isinstance(child, nn.ModuleList):
            yield prefix + name, child
        else:
            yield from _find_box_heads(child, f"{prefix}{name}.", is_head)


def _without_autocast(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    @wraps(forward)
    def run(*inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(inputs[0].device.type, enabled=False):
            return forward(*(one.float() if one.is_floating_point() else one for one in inputs))

    return run
