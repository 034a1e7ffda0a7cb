"""Run a model: its device, its precision, and torch's memory errors as ours. Imports torch only when called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from schemas.errors import ConfigError, OutOfMemoryError, RuntimeEnvironmentError

if TYPE_CHECKING:
    import torch

    from teacher.huggingface.settings import ModelRunSettings

    Model = TypeVar("Model", bound=torch.nn.Module)


def choose_device(name: str) -> torch.device:
    """Return the device that was asked for. On a CPU, use one thread for the whole process, since sums depend on it."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeEnvironmentError("teacher.device is cuda and this process sees no GPU; use auto or cpu")
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    return device


def place_model(model: Model, settings: ModelRunSettings, device: torch.device) -> Model:
    """Return the model on its device, ready to answer. Raises ConfigError for a precision that the device lacks."""
    import torch

    if settings.precision == "fp16" and device.type != "cuda":
        raise ConfigError("teacher.precision is fp16, which needs a GPU; use bf16 or fp32 on a CPU")
    model = model.to(device).eval()
    model.requires_grad_(False)
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast("Model", torch.compile(model)) if settings.compile else model


@contextmanager
def run_model(device: torch.device, precision: str) -> Iterator[None]:
    """Run what is inside without gradients and in a precision. Raises OutOfMemoryError for torch's memory errors."""
    import torch

    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    with convert_memory_errors(), torch.inference_mode():
        if precision == "fp32":
            yield
        else:
            with torch.autocast(device.type, dtype=kinds[precision]):
                yield


@contextmanager
def convert_memory_errors() -> Iterator[None]:
    """Raise torch's memory errors as OutOfMemoryError. On a CPU they are RuntimeErrors, known by their text."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(str(error)) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise OutOfMemoryError(str(error)) from error
        raise


def release_memory(model: torch.nn.Module, device: torch.device) -> None:
    """Move a model to the CPU and give an accelerator's memory back."""
    import torch

    model.cpu()
    if device.type == "cuda":
        torch.cuda.empty_cache()
