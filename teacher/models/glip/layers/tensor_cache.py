"""A cache for tensors that follow from sizes alone, such as anchors and masks. They must not be written into."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def tensor_cache(maxsize: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Remembers a function's last `maxsize` tensors.

    Two traps: a tensor first made in inference mode could not serve training, so all are made outside of it; and one
    made while torch traces a graph is a stand-in without values, so tracing neither reads nor fills the cache.
    """

    def decorate(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        make = torch.inference_mode(False)(function)
        remembered = lru_cache(maxsize=maxsize)(make)

        @wraps(function)
        def get(*args: P.args, **settings: P.kwargs) -> Tensor:
            if torch.compiler.is_compiling() or torch.compiler.is_exporting():
                return function(*args, **settings)
            return remembered(*args, **settings)

        return get

    return decorate
