"""Load the weights of a model directory, all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from schemas.errors import ConfigError
from teacher.huggingface.entry import LOAD_OPTIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    M = TypeVar("M", bound=PreTrainedModel)


def load_weights(model_class: type[M], folder: Path) -> M:
    """Return the model of a directory.

    raises: ConfigError if weights are missing, which `transformers` would replace by random numbers and a warning
    """
    load = cast("Callable[..., tuple[M, Mapping[str, set[str]]]]", model_class.from_pretrained)
    model, info = load(folder, output_loading_info=True, **LOAD_OPTIONS)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ConfigError(
            f"{folder} lacks {len(missing)} weights of {model_class.__name__} ({', '.join(missing[:3])} ...); expected "
            "all. Copy the model again, or choose the teacher kind that its files belong to"
        )
    return model


def count_positions(model: PreTrainedModel) -> int:
    """Return how many tokens the model's text encoder reads."""
    return int(attrgetter("config.text_config.max_position_embeddings")(model))
