"""The teacher `vlm`: a vision-language model behind an OpenAI-compatible endpoint, asked for boxes as text.

A request is a chat completion with the image as a data URL and the phrases as text (`teacher.style`). The answer has no
score: every region has 1.0, `score_kind` is `none`, and policies may not use scores.

Where a command takes a model by its path, give a settings file: YAML with `kind: vlm`, the name of the model,
`base_url`, `revision` and `style`. No file of the model is needed anywhere. The digest covers the texts of requests,
the name of the model and the revision that you state, but not the address.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from schemas.digests import digest_of
from teacher.registry import LabelerOptions, Teacher
from teacher.vlm.questions import TEMPERATURE, TEMPLATES
from teacher.vlm.settings import JPEG_QUALITY, KIND, NOT_IN_DIGEST, VlmSettings, is_settings_file

if TYPE_CHECKING:
    from schemas.labeler import Labeler


class VlmTeacher(Teacher[VlmSettings]):
    """An endpoint, described by the settings of a job or by a settings file."""

    description = f"a settings file of an endpoint (.yaml with kind: {KIND})"
    settings_class = VlmSettings
    has_scores = False
    takes_decoys = True
    scores_from = "no score: every box has 1.0, so no floor and no policy on scores applies"

    def make(self, settings: VlmSettings, options: LabelerOptions) -> Labeler:
        from teacher.vlm.labeler import VlmLabeler

        return VlmLabeler(settings, options, self.digest(settings))

    def digest(self, settings: VlmSettings, has_long_phrases: bool = False) -> str:
        """Return the digest of what is asked and of the stated revision. Nothing is read or requested."""
        return digest_of(
            {
                "kind": settings.kind,
                "version": self.version,
                "settings": settings.model_dump(mode="json", exclude=set(NOT_IN_DIGEST)),
                "template": TEMPLATES[settings.style],
                "temperature": TEMPERATURE,
                "jpeg_quality": JPEG_QUALITY,
            }
        )

    def choose_batch_size(self, settings: VlmSettings) -> int:
        """Return the requests that may be open at one time."""
        return settings.concurrency

    def recognizes(self, path: Path) -> bool:
        return is_settings_file(path)

    def describe(self, path: Path) -> dict[str, JsonValue]:
        settings = VlmSettings.model_validate({"kind": KIND, "model": str(path)})
        values: dict[str, JsonValue] = settings.model_dump(mode="json")
        return {"path": str(path), **values, "digest": self.digest(settings)}


ENTRY = VlmTeacher()
