"""Load weights by `transformers`: nothing from the network, no pickles, no code files, no random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from schemas.errors import ConfigError, GroundswellError
from teacher.huggingface.entry import LOAD_OPTIONS
from teacher.huggingface.running import convert_memory_errors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    M = TypeVar("M", bound=PreTrainedModel)

_SHOWN = 3


def load_weights(model_class: type[M], folder: Path) -> M:
    """Return the model of a directory.

    raises: ConfigError for files that `transformers` cannot load, or that lack weights. It would fill those with random
            numbers, so the same directory would give other boxes in each process
    """
    model, missing = load_with_missing(model_class, folder)
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise ConfigError(
            f"{folder} lacks {len(missing)} weights of {model_class.__name__} ({shown}); copy all files of the model "
            "again, or take a revision that was saved with this class"
        )
    return model


def load_with_missing(model_class: type[M], folder: Path) -> tuple[M, list[str]]:
    """Return the model of a directory, and the names of weights that its files lack and that are random therefore.

    raises: ConfigError for files that `transformers` cannot load, ImportError if a package is missing
    """
    from safetensors import SafetensorError

    load = cast("Callable[..., tuple[M, Mapping[str, set[str]]]]", model_class.from_pretrained)
    try:
        model, report = load(folder, output_loading_info=True, **LOAD_OPTIONS)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"{folder} cannot be loaded by {model_class.__name__} ({error}); copy all files of the model again"
        ) from error
    return model, sorted(report["missing_keys"])


@contextmanager
def explain_load_errors(folder: Path) -> Iterator[None]:
    """Raise ConfigError for damaged files of a model. `transformers` raises nearly any type of error on them.

    Errors of ours and of the machine, such as too little memory, pass.
    """
    try:
        with convert_memory_errors():
            yield
    except GroundswellError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{folder} cannot be loaded ({type(error).__name__}: {error}); its configuration, image settings, "
            "tokenizer or weights are damaged or belong to another model, so copy all files of the model again"
        ) from error


def count_positions(model: PreTrainedModel) -> int:
    """Return how many tokens the model's text encoder reads."""
    return int(attrgetter("config.text_config.max_position_embeddings")(model))


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Keep `transformers` from writing progress bars and load reports to stderr."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    hook = logging.set_tqdm_hook(
        lambda factory, args, options: factory(*args, **{**options, "disable": True})
    )
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.set_tqdm_hook(hook)
