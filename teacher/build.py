"""Makes teachers and phrase finders from plain settings: what the engine calls by name inside its actors.

Imports nothing heavy until something is asked for.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from schemas.labeler import Labeler, PhraseFinder
from teacher.settings import DetectorSettings, GlipSettings, PhraseSettings, TeacherSettings

_TEACHER: TypeAdapter[DetectorSettings | GlipSettings] = TypeAdapter(TeacherSettings)


def labeler(settings: dict[str, Any], batch_size: int, min_score: float) -> Labeler:
    """The teacher of a job; its regions have a raw score of at least `min_score`."""
    teacher = _TEACHER.validate_python(settings)
    if isinstance(teacher, DetectorSettings):
        from teacher.labelers.detector import DetectorLabeler

        return DetectorLabeler(teacher, batch_size, min_score)
    from teacher.labelers.glip import GlipLabeler

    return GlipLabeler(teacher, batch_size, min_score)


def finder(settings: dict[str, Any]) -> PhraseFinder:
    """The phrase finder of a job."""
    from teacher.phrases.finder import SpacyPhraseFinder

    return SpacyPhraseFinder(PhraseSettings.model_validate(settings))


def labeler_digest(settings: dict[str, Any]) -> str:
    """What `labeler(...).digest` would be, without loading a model."""
    teacher = _TEACHER.validate_python(settings)
    if isinstance(teacher, DetectorSettings):
        from teacher.labelers.detector import detector_digest

        return detector_digest(teacher)
    from teacher.labelers.glip_digest import glip_digest

    return glip_digest(teacher)


def finder_digest(settings: dict[str, Any]) -> str:
    """What `finder(...).digest` would be, without loading a pipeline."""
    from teacher.phrases.digest import finder_digest as digest

    return digest(PhraseSettings.model_validate(settings))
