"""Load the weights of a model directory, all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from schemas.errors import ConfigError
from teacher.huggingface.entry import LOAD_OPTIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    M = TypeVar("M", bound=PreTrainedModel)


def load_weights(model_class: type[M], folder: Path) -> M:
    """Return the model of a directory.

    raises: ConfigError if weights are missing, which `transformers` would replace by random numbers and a warning
    """
    model, info = model_class.from_pretrained(folder, output_loading_info=True, **LOAD_OPTIONS)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ConfigError(
            f"{folder} lacks {len(missing)} weights of {model_class.__name__} ({', '.join(missing[:3])} ...); expected "
            "all. Copy the model again, or choose the teacher kind that its files belong to"
        )
    return model
