"""Make teachers and phrase finders from plain settings. The engine calls these functions by name inside its actors.

Nothing heavy is imported until something is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from schemas.labeler import DecoyChooser, Labeler, PhraseFinder
from teacher.models.hub import locate_model
from teacher.registry import TEACHERS, LabelerOptions, S, Teacher, TeacherSettings
from teacher.settings import DecoySettings, PhraseSettings

PlainSettings = Mapping[str, JsonValue]


def make_labeler(
    settings: PlainSettings,
    batch_size: int | Literal["auto"],
    min_score: float,
    long_phrases: bool = False,
    entry: str | None = None,
    guessed_heads: bool = False,
) -> Labeler:
    """Return the teacher of a job. Its regions have a raw score of at least `min_score`.

    batch_size: rows of each batch; auto: as many as suit the teacher and the device of this process
    long_phrases: whether the job asks for expressions or given spans; part of a detector's digest
    entry: `module:attribute` of the teacher's registry entry; None: it is looked up by kind
    guessed_heads: whether the job has given spans and no parser
    """
    teacher = TEACHERS.load(entry or str(settings["kind"]))
    loaded = load_settings(teacher, settings)
    rows = teacher.choose_batch_size(loaded) if batch_size == "auto" else batch_size
    return teacher.make(loaded, LabelerOptions(rows, min_score, long_phrases, guessed_heads))


def load_settings(teacher: Teacher[S], settings: PlainSettings) -> S:
    """Return a teacher's settings with the local path of its model. A model of the hub is downloaded.

    raises: as `locate_model`; pydantic's ValidationError for wrong settings
    """
    if teacher.settings_class.model_is_path:
        settings = {**settings, "model": locate_model(str(settings.get("model", "")))}
    return teacher.settings_class.model_validate(settings)


def locate_teacher(settings: TeacherSettings) -> Path:
    """Return the local path of a teacher's model, or else its name. A model of the hub is downloaded."""
    model = locate_model(settings.model) if settings.model_is_path else settings.model
    return Path(model or settings.kind)


def make_finder(settings: PlainSettings) -> PhraseFinder:
    """Return the phrase finder of a job."""
    from teacher.phrases.finder import SpacyPhraseFinder

    return SpacyPhraseFinder(PhraseSettings.model_validate(settings))


def make_decoy_chooser(settings: PlainSettings, pool: str, pool_digest: str) -> DecoyChooser:
    """Return the chooser of a job's decoys from its frozen pool, which is given as text."""
    from teacher.decoys.chooser import load_chooser

    return load_chooser(DecoySettings.model_validate(settings), pool, pool_digest)


def labeler_digest(
    settings: PlainSettings,
    long_phrases: bool = False,
    entry: str | None = None,
    guessed_heads: bool = False,
) -> str:
    """Return what `make_labeler(...).digest` would be, without loading a model."""
    teacher = TEACHERS.load(entry or str(settings["kind"]))
    return teacher.job_digest(load_settings(teacher, settings), long_phrases, guessed_heads)


def finder_digest(settings: PlainSettings) -> str:
    """Return what `make_finder(...).digest` would be, without loading a pipeline."""
    from teacher.phrases.digest import finder_digest as digest

    return digest(PhraseSettings.model_validate(settings))


def decoys_digest(settings: PlainSettings, pool_digest: str) -> str:
    """Return what `make_decoy_chooser(...).digest` would be, without the pool."""
    from teacher.decoys.chooser import decoys_digest as digest

    return digest(DecoySettings.model_validate(settings), pool_digest)
