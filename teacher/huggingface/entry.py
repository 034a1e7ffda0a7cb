"""Base of the registry entries whose model is a directory that `transformers` can load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import JsonValue

from schemas.digests import digest_of
from schemas.errors import ConfigError
from teacher.huggingface.model_files import find_model_type, list_model_files
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.models.directory_facts import describe_directory
from teacher.registry import Teacher

S = TypeVar("S", bound=HuggingFaceSettings)

LOAD_OPTIONS: Mapping[str, bool | str] = {
    "local_files_only": True,
    "use_safetensors": True,
    "trust_remote_code": False,
    "dtype": "float32",
}
"""Options of a model's `from_pretrained`: no network, no pickles, no code from the model's directory.

By default it keeps the type of the saved weights. Here `precision` alone decides what products are computed in.
"""
TOKENIZER_OPTIONS: Mapping[str, bool] = {"local_files_only": True, "trust_remote_code": False}


class HuggingFaceTeacher(Teacher[S]):
    """A model directory, known by `model_type` in its config.json."""

    model_types: ClassVar[frozenset[str]]
    takes_decoys = True
    had_rounded_boxes: ClassVar[bool] = True
    """Whether boxes were once rounded in bf16 and fp16. The digest of such a job says that they no longer are."""

    def recognizes(self, path: Path) -> bool:
        return find_model_type(path) in self.model_types

    def describe(self, path: Path) -> dict[str, JsonValue]:
        return describe_directory(path)

    def digest(self, settings: S, has_long_phrases: bool = False) -> str:
        """Return the digest of the files that decide answers, and of the settings except path and device.

        raises: ConfigError for a directory of another model type, which may load and would be scored wrongly
        """
        folder = Path(settings.model)
        files = list_model_files(folder)
        if not self.recognizes(folder):
            raise ConfigError(
                f"{folder} has model_type {find_model_type(folder)!r}, and the teacher {settings.kind} needs "
                f"{' or '.join(sorted(self.model_types))}; see `groundswell model info {folder}` and correct "
                "teacher.kind or teacher.model"
            )
        return digest_of(
            {
                "kind": settings.kind,
                "version": self.version,
                "settings": settings.model_dump(mode="json", exclude={"kind", "model", "device"}),
                "files": files,
                **({"box_heads": "fp32"} if self.had_rounded_boxes and settings.precision != "fp32" else {}),
            }
        )
