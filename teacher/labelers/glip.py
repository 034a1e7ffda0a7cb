"""The teacher `glip`: phrases are grounded by aligning their tokens with places in the image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from teacher.labelers.glip_settings import METHOD_VERSION, GlipSettings, glip_digest
from teacher.models.directory_facts import describe_directory
from teacher.prompts.packing import Budget
from teacher.registry import LabelerOptions, Teacher

if TYPE_CHECKING:
    from schemas.labeler import Labeler

_CONFIG = "config.json"


class GlipTeacher(Teacher[GlipSettings]):
    """A GLIP directory in Hugging Face's layout."""

    description = "a GLIP directory (with config.json)"
    settings_class = GlipSettings
    version = METHOD_VERSION
    scores_from = "the authors' inference, which takes candidates above 0.05"
    takes_decoys = True

    def make(self, settings: GlipSettings, options: LabelerOptions) -> Labeler:
        from teacher.labelers.glip_labeler import GlipLabeler

        return GlipLabeler(settings, options.batch_size, options.min_score)

    def digest(self, settings: GlipSettings, has_long_phrases: bool = False) -> str:
        return glip_digest(settings)

    def recognizes(self, path: Path) -> bool:
        """Return whether config.json names GLIP or no type. The reader of GLIP reports a broken file."""
        return (path / _CONFIG).is_file() and _model_type(path) in (None, "glip")

    def describe(self, path: Path) -> dict[str, JsonValue]:
        return describe_directory(path)

    def prompt_budget(self, path: Path) -> Budget:
        from teacher.models.glip.checkpoint.directory import read_directory

        config, processor = read_directory(path)
        return Budget(min(processor.max_tokens, config.text_positions), processor.token_count)

    def tuned_prompt(self, path: Path) -> str | None:
        prompt = json.loads((path / _CONFIG).read_text(encoding="utf-8")).get("tuned_prompt")
        return None if prompt is None else str(prompt)


def _model_type(path: Path) -> str | None:
    try:
        config = json.loads((path / _CONFIG).read_bytes())
    except (ValueError, RecursionError):
        return None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    return None if model_type is None else str(model_type)


ENTRY = GlipTeacher()
