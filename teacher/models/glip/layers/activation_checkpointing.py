"""Activation checkpointing: a block's activations are freed and recomputed in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn


def run_checkpointed(owner: nn.Module, block: nn.Module, *inputs: Any) -> Any:
    """Return `block(*inputs)`, checkpointed if `owner` trains and transformers has switched it on there.

    `activation_checkpointing_enable()` finds every module with an attribute `gradient_checkpointing` and sets the
    function to use. Random layers draw the same numbers when recomputed.
    """
    if owner.gradient_checkpointing and owner.training:
        checkpoint = cast("Callable[..., Any]", owner._gradient_checkpointing_func)
        return checkpoint(block, *inputs)
    return block(*inputs)
