"""A cache for tensors that depend on sizes alone, such as anchors and masks. They must not be modified."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, cast

import torch
from torch import Tensor

P = ParamSpec("P")


def tensor_cache(maxsize: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Return a decorator that caches a function's last `maxsize` tensors.

    A tensor made in inference mode could not be used in training, so all are made outside of it. A tensor made while
    torch traces a graph has no values, so tracing neither reads nor fills the cache.
    """

    def decorate(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        make = torch.inference_mode(False)(function)
        cached = cast("Callable[P, Tensor]", lru_cache(maxsize=maxsize)(make))

        @wraps(function)
        def get(*args: P.args, **settings: P.kwargs) -> Tensor:
            if torch.compiler.is_compiling() or torch.compiler.is_exporting():
                return function(*args, **settings)
            return cached(*args, **settings)

        return get

    return decorate
