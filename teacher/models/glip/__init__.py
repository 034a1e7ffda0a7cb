"""GLIP in plain PyTorch: one model class whose configurations are the authors' variants and the tiny world's.

Importing this package imports neither torch nor transformers. Access to the first attribute does, and then registers
GLIP with transformers' `AutoConfig`, `AutoModel` and `AutoProcessor`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teacher.models.glip.config import GlipConfig
    from teacher.models.glip.configs import glip_a, glip_l, glip_t, tiny_world
    from teacher.models.glip.modeling import GlipForGrounding, GlipModel
    from teacher.models.glip.processing import GlipProcessor

_MODULES = {
    "GlipConfig": "config",
    "GlipForGrounding": "modeling",
    "GlipModel": "modeling",
    "GlipProcessor": "processing",
    "glip_a": "configs",
    "glip_l": "configs",
    "glip_t": "configs",
    "tiny_world": "configs",
}

__all__ = [
    "GlipConfig",
    "GlipForGrounding",
    "GlipModel",
    "GlipProcessor",
    "glip_a",
    "glip_l",
    "glip_t",
    "tiny_world",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module(f"{__name__}.auto")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
