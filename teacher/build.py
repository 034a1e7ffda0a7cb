"""Makes teachers and phrase finders from plain settings: what the engine calls by name inside its actors.

Imports nothing heavy until something is asked for.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from schemas.labeler import DecoyChooser, Labeler, PhraseFinder
from teacher.settings import DecoySettings, DetectorSettings, GlipSettings, PhraseSettings, TeacherSettings

_TEACHER: TypeAdapter[DetectorSettings | GlipSettings] = TypeAdapter(TeacherSettings)


def labeler(
    settings: dict[str, Any], batch_size: int, min_score: float, long_phrases: bool = False
) -> Labeler:
    """The teacher of a job; its regions have a raw score of at least `min_score`.

    long_phrases: whether the job asks for expressions or given spans; part of a detector's digest
    """
    teacher = _TEACHER.validate_python(settings)
    if isinstance(teacher, DetectorSettings):
        from teacher.labelers.detector import DetectorLabeler

        return DetectorLabeler(teacher, batch_size, min_score, long_phrases)
    from teacher.labelers.glip import GlipLabeler

    return GlipLabeler(teacher, batch_size, min_score)


def finder(settings: dict[str, Any]) -> PhraseFinder:
    """The phrase finder of a job."""
    from teacher.phrases.finder import SpacyPhraseFinder

    return SpacyPhraseFinder(PhraseSettings.model_validate(settings))


def decoys(settings: dict[str, Any], pool: str, pool_digest: str) -> DecoyChooser:
    """The chooser of a job's decoys from its frozen pool, which is given in its written form."""
    from teacher.decoys.chooser import chooser_of

    return chooser_of(DecoySettings.model_validate(settings), pool, pool_digest)


def labeler_digest(settings: dict[str, Any], long_phrases: bool = False) -> str:
    """What `labeler(...).digest` would be, without loading a model."""
    teacher = _TEACHER.validate_python(settings)
    if isinstance(teacher, DetectorSettings):
        from teacher.labelers.detector import detector_digest

        return detector_digest(teacher, long_phrases)
    from teacher.labelers.glip_digest import glip_digest

    return glip_digest(teacher)


def finder_digest(settings: dict[str, Any]) -> str:
    """What `finder(...).digest` would be, without loading a pipeline."""
    from teacher.phrases.digest import finder_digest as digest

    return digest(PhraseSettings.model_validate(settings))


def decoys_digest(settings: dict[str, Any], pool_digest: str) -> str:
    """What `decoys(...).digest` would be, without the pool."""
    from teacher.decoys.chooser import decoys_digest as digest

    return digest(DecoySettings.model_validate(settings), pool_digest)
