"""Settings of an endpoint, in a job or in a file of their own.

A settings file is the model where a command takes the path of a model (`evaluate`, `model info`, the Python API). It is
YAML: the mapping that a job has in `teacher`, with `kind: vlm`. In a job, `model: FILE.yaml` takes what the file says,
and further settings of the job replace those of the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, field_validator, model_validator

from schemas.errors import ConfigError, NotFoundError
from teacher.registry import TeacherSettings

KIND: Literal["vlm"] = "vlm"
Style = Literal["qwen2.5", "qwen3", "json"]
JPEG_QUALITY = 95

_SUFFIXES = (".yaml", ".yml")
_MAX_FILE_BYTES = 1 << 16
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"key|token|secret|passw|auth", re.IGNORECASE)
_FIXED_FIELDS = ("model", "messages", "stream", "n")
NOT_IN_DIGEST = frozenset(
    {
        "kind",
        "base_url",
        "api_key_env",
        "requests_per_minute",
        "concurrency",
        "timeout_s",
        "retries",
        "give_up_after_s",
        "answers",
    }
)
"""Settings that say where and how fast to ask, not what."""


def _check_base_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+[^\s?#@]*", url):
        raise ValueError(
            "expected http(s)://host[:port]/path without a query, such as http://localhost:8000/v1"
        )
    return url.rstrip("/")


def _check_answers(folder: str) -> str:
    if "://" in folder:
        raise ValueError("expected a folder of this machine, or one that all nodes mount")
    return os.path.abspath(os.path.expanduser(folder))


class VlmSettings(TeacherSettings):
    """An endpoint as teacher."""

    model_config = ConfigDict(hide_input_in_errors=True)
    model_is_path: ClassVar[bool] = False

    kind: Literal["vlm"] = Field(KIND, description="a vision-language model behind an endpoint")
    model: str = Field(
        min_length=1,
        description="the model's name at the endpoint, or the path of a settings file (.yaml) with `kind: vlm`",
    )
    base_url: Annotated[str, AfterValidator(_check_base_url)] = Field(
        description="address of the endpoint, without /chat/completions; not part of the digest"
    )
    revision: str = Field(
        min_length=1,
        description="which weights and server answer, in your words (a commit, a date): the only thing that says "
        "that another model answers under the same name",
    )
    style: Style = Field(
        description="how boxes are asked for and read. qwen2.5: bbox_2d and label, in pixels of the image that is "
        'sent; qwen3: the same, in thousandths of the image; json: {"boxes": [{"phrase": 0, "box": [...]}]}, in '
        "thousandths of the image",
    )
    max_side: int = Field(
        1000, ge=56, le=4096, description="a larger image is reduced to this many pixels on its longer side"
    )
    image_format: Literal["jpeg", "png"] = Field(
        "jpeg", description="how the image is sent; jpeg: quality 95"
    )
    max_phrases: int = Field(16, ge=1, le=256, description="more phrases are asked in several requests")
    max_tokens: int = Field(2048, ge=16, description="longest answer; a longer one rejects its sample")
    seed: int | None = Field(0, description="seed that is sent with each request; null: none is sent")
    request: dict[str, JsonValue] = Field(
        {},
        description="further fields of each request, e.g. {top_k: 1}. null leaves a field out, e.g. "
        "{max_tokens: null, max_completion_tokens: 2048}. Never a secret: it is recorded",
    )
    api_key_env: str | None = Field(
        None, description="name of the environment variable with the key, on every node; null: no key is sent"
    )
    requests_per_minute: float | None = Field(
        None,
        gt=0,
        description="limit of each process; in total it is the number of actors times this. null: no limit",
    )
    concurrency: int = Field(
        8, ge=1, le=256, description="requests of a process that may be open at one time"
    )
    timeout_s: float = Field(60, gt=0, description="longest time that one try of a request may take")
    retries: int = Field(
        5,
        ge=0,
        le=20,
        description="further tries after a timeout, a lost connection, 429 or a server's error",
    )
    give_up_after_s: float = Field(
        200,
        gt=0,
        description="no further try begins when this time has passed since the first one. Keep it below "
        "run.stuck_after_s, after which a worker counts as stuck",
    )
    answers: Annotated[str, AfterValidator(_check_answers)] | None = Field(
        None,
        description="a folder that keeps answers by request, for use by several outputs and by `evaluate`. By default "
        "`label` keeps them in its output, and other commands keep none",
    )

    @field_validator("request")
    @classmethod
    def _check_request(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        fixed = [name for name in fields if name in _FIXED_FIELDS]
        if fixed:
            raise ValueError(f"{', '.join(fixed)} cannot be set here; expected other fields of the request")
        return fields

    @model_validator(mode="before")
    @classmethod
    def _expand_file(cls, values: object) -> object:
        """Put the values of a settings file in place of its path, and refuse secrets without repeating them."""
        if not isinstance(values, Mapping):
            return values
        model = values.get("model")
        if isinstance(model, str) and model.endswith(_SUFFIXES):
            own = {name: value for name, value in values.items() if name != "model"}
            values = {**read_settings_file(Path(model)), **own}
        cls._refuse_secrets(values)
        return values

    @classmethod
    def _refuse_secrets(cls, values: Mapping[str, object]) -> None:
        """Raise ConfigError. A ValidationError would print the value."""
        for name in values:
            if name not in cls.model_fields and _SECRET.search(str(name)):
                raise ConfigError(
                    f"teacher.{name} is not a setting: a key stays in the environment; put the name of its variable "
                    "into teacher.api_key_env"
                )
        variable = values.get("api_key_env")
        if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
            raise ConfigError(
                "teacher.api_key_env is not the name of an environment variable; expected letters, digits and _, such "
                "as OPENAI_API_KEY. Its value is not shown, because it may be the key itself"
            )
        url = values.get("base_url")
        if isinstance(url, str) and re.search(r"[@?]", url):
            raise ConfigError(
                "teacher.base_url contains '@' or '?', which carry credentials; give the address alone, and the name "
                "of the key's environment variable in teacher.api_key_env"
            )


def read_settings_file(path: Path) -> dict[str, JsonValue]:
    """Return the mapping of a settings file.

    raises: NotFoundError, or ConfigError for a file that is not YAML with `kind: vlm` and the name of a model
    """
    if not path.is_file():
        raise NotFoundError(
            f"teacher.model {str(path)!r} does not exist; expected a settings file with `kind: {KIND}`, or the name of "
            f"a model that does not end in {' or '.join(_SUFFIXES)}"
        )
    values = _read_mapping(path)
    if values is None or values.get("kind") != KIND:
        raise ConfigError(f"{path} is not a settings file; expected a YAML mapping with `kind: {KIND}`")
    model = values.get("model")
    if not isinstance(model, str) or model.endswith(_SUFFIXES):
        raise ConfigError(f"{path}: model is {model!r}; expected the name of a model at the endpoint")
    return values


def is_settings_file(path: Path) -> bool:
    """Return whether the file is YAML with `kind: vlm`. Never raises."""
    if path.suffix not in _SUFFIXES or not path.is_file():
        return False
    values = _read_mapping(path)
    return values is not None and values.get("kind") == KIND


def _read_mapping(path: Path) -> dict[str, JsonValue] | None:
    """Return a YAML mapping of plain values, or None for any other content."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return None
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError, RecursionError):
        return None
    return cast("dict[str, JsonValue]", values) if isinstance(values, dict) else None
