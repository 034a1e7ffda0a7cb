"""Activation checkpointing: a block's activations are forgotten and computed anew in the backward pass."""

from __future__ import annotations

from typing import Any

from torch import nn


def recomputed(owner: nn.Module, block: nn.Module, *inputs: Any) -> Any:
    """`block(*inputs)`; checkpointed while `owner` trains and transformers has switched it on there.

    `activation_checkpointing_enable()` finds every module with an attribute `gradient_checkpointing` and gives it the
    function to use; random layers draw the same numbers again.
    """
    if owner.gradient_checkpointing and owner.training:
        return owner._gradient_checkpointing_func(block, *inputs)
    return block(*inputs)
