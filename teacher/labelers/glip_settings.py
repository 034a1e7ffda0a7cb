"""Settings of a GLIP teacher, and its digest over the files of its directory that decide its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.digests import digest_of, file_sha256
from schemas.errors import NotFoundError
from teacher.huggingface.model_files import NAMES
from teacher.huggingface.settings import ModelRunSettings
from teacher.models.weight_files import (
    SAFETENSORS,
    WEIGHTS,
    WEIGHTS_INDEX,
    find_weight_files,
    suggest_model_folder,
)

METHOD_VERSION = 1
"""Raise it if a change of code changes regions. It is part of the digest."""
_RUN_SETTINGS = ("precision", "channels_last", "compile", "reduce_jpegs")


class GlipSettings(ModelRunSettings):
    """A GLIP model as teacher: phrases are grounded by token alignment."""

    kind: Literal["glip"] = Field("glip", description="a GLIP model directory in Hugging Face's layout")
    model: str = Field(description="path of the model directory")
    prompt: Literal["auto", "caption", "phrases"] = Field(
        "auto",
        description="auto: the caption where it fits the token budget, lists of its phrases otherwise; caption: "
        "captions only, longer ones are split at phrase borders; phrases: always lists",
    )
    text_tokens: int | None = Field(
        None, ge=8, description="token budget of one prompt with its special tokens; none: the model's own"
    )
    pad_multiple: int = Field(
        32,
        ge=32,
        multiple_of=32,
        description="sides are padded to a multiple of this; a larger one makes fewer "
        "sizes, so that batches fill up, and costs pixels",
    )
    pad: Literal["bucket", "authors"] = Field(
        "bucket",
        description="bucket: padded by the image's own size; authors: to the batch's largest, for comparison with "
        "their numbers alone, since an image's scores then depend on the other images of its batch",
    )


def glip_digest(settings: GlipSettings) -> str:
    """Return a digest of weights, configuration, tokenizer and prompting, not of the directory's path or the device.

    raises: NotFoundError if the directory has no weights in safetensors form, ConfigError if a shard of them is missing
    """
    folder = Path(settings.model)
    find_weight_files(folder)
    files = model_files(folder)
    if not any(name.endswith(SAFETENSORS) for name in files):
        raise NotFoundError(
            f"GLIP teacher {folder}: no .safetensors file there; teacher.model is a directory written by "
            f"`groundswell train` or `groundswell model convert-glip`{suggest_model_folder(folder)}"
        )
    # `pad: authors` gives other scores. `bucket` is left out, so that evidence from before the option keeps its digest.
    padding = {} if settings.pad == "bucket" else {"pad": settings.pad}
    # Ways to run the model that were added later and can change a float; each is left out at its first value.
    run = {name: value for name, value in settings.identity().items() if name in _RUN_SETTINGS}
    return digest_of(
        {
            **padding,
            **run,
            "kind": settings.kind,
            "method": METHOD_VERSION,
            "files": files,
            "prompt": settings.prompt,
            "text_tokens": settings.text_tokens,
            "pad_multiple": settings.pad_multiple,
        }
    )


def model_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file in a model directory that decides its answers, by name, empty without any."""
    # next to weights in one file, an index decides no answer
    names = NAMES - {WEIGHTS_INDEX} if (folder / WEIGHTS).is_file() else NAMES
    files = sorted(path for path in folder.glob("*") if path.name in names or path.suffix == SAFETENSORS)
    return {path.name: file_sha256(path) for path in files}
