"""A labeling job: the YAML file that names the input, the teacher and the output.

The job's digest covers what decides the labels. It does not cover `output`, `run`, `price` or storage access. Relative
paths are made absolute, so a recorded job can be run again from any directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from engine.settings import InputSettings, OutputSettings, RunSettings
from engine.storage.filesystems import absolute_url
from pipelines.label.prices import PriceSettings
from schemas.digests import digest_of
from schemas.errors import ConfigError
from schemas.settings import EvidenceSettings, Settings
from teacher.phrases.chunkers.registry import CHUNKERS
from teacher.registry import TEACHERS, TeacherSection
from teacher.settings import DecoySettings, PhraseSettings


class JobConfig(Settings):
    """A labeling job."""

    input: InputSettings = Field(description="which shards, and how samples are read from them")
    phrases: PhraseSettings = Field(PhraseSettings(), description="how noun phrases are found")
    teacher: TeacherSection = Field(description="the teacher that labels: {kind: detector|glip, model: ...}")
    evidence: EvidenceSettings = Field(EvidenceSettings(), description="which boxes are written as evidence")
    decoys: DecoySettings = Field(
        DecoySettings(), description="absent nouns for which the teacher is also queried"
    )
    output: OutputSettings = Field(description="where the evidence is written")
    run: RunSettings = Field(
        RunSettings(),
        description="how the work is run; changes no label, except that batch_size may change rounding",
    )
    price: PriceSettings | None = Field(None, description="what machines and storage cost, for `plan`")

    @model_validator(mode="before")
    @classmethod
    def _use_floor_of_kind(cls, values: object) -> object:
        """Set evidence.min_score to the floor of the teacher's kind if the job gives none."""
        if not isinstance(values, Mapping):
            return values
        teacher, evidence = values.get("teacher"), values.get("evidence", {})
        kind = teacher.get("kind") if isinstance(teacher, Mapping) else getattr(teacher, "kind", None)
        own = evidence.model_dump(exclude_unset=True) if isinstance(evidence, EvidenceSettings) else evidence
        if not isinstance(kind, str) or not isinstance(own, Mapping) or "min_score" in own:
            return values
        try:
            floor = TEACHERS.load(kind).min_score
        except ConfigError:  # reported at teacher.kind
            return values
        return {**values, "evidence": {**own, "min_score": floor}}

    @model_validator(mode="after")
    def _check_spans(self) -> JobConfig:
        given = self.phrases.given
        if not CHUNKERS.load(self.phrases.chunker).uses_text and self.input.spans is None and not given:
            raise ValueError(
                f"phrases.chunker {self.phrases.chunker} needs the spans of the input; set input.spans"
            )
        if given:
            self._check_given()
        elif self.input.phrases:
            raise ValueError(
                f"input.phrases is {list(self.input.phrases)}; write the phrases as phrases.given instead"
            )
        return self

    def _check_given(self) -> None:
        """Raise ValueError for settings of captions, which are not read."""
        if self.input.format != "folder":
            raise ValueError(
                f"phrases.given takes the place of captions, which needs input.format: folder; it is "
                f"{self.input.format}; leave phrases.given out, or label folders"
            )
        named = {"captions": self.input.captions, "spans": self.input.spans, "keep": self.input.keep}
        if wrong := next((name for name in named if named[name]), None):
            raise ValueError(
                f"phrases.given takes the place of captions, but input.{wrong} is {named[wrong]!r}; leave one out"
            )

    def input_settings(self) -> InputSettings:
        """Return the section `input` as the engine needs it: with the phrases that take the place of captions."""
        if not self.phrases.given:
            return self.input
        return self.input.model_copy(update={"phrases": self.phrases.given})

    def identity(self) -> dict[str, Any]:
        """Return the part of the job that its digest covers and that the output records."""
        job = self.model_dump(mode="json", exclude={"output", "run", "price"})
        job["input"].pop("storage")
        job["input"].pop("phrases", None)  # the section `phrases` has them
        job["input"]["urls"] = [_absolute_pattern(url) for url in self.input.urls]
        for unset in ("only", "spans"):  # added later: jobs without them keep their digest
            if job["input"][unset] is None:
                job["input"].pop(unset)
        if not self.decoys.share:
            job.pop("decoys")
        job["teacher"] = self.teacher_values()
        for section in ("phrases", "decoys"):
            if section in job:
                job[section] = with_absolute_paths(job[section])
        return job

    def teacher_values(self) -> dict[str, Any]:
        """Return the teacher's settings as plain values, with an absolute path of the model if it has one."""
        values = self.teacher.model_dump(mode="json")
        return with_absolute_paths(values) if self.teacher.model_is_path else values

    def digest(self) -> str:
        """Return `sha256:<hex>` of the identity."""
        return digest_of(self.identity())


def with_absolute_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with absolute local paths, since a worker or a later run has another current directory."""
    places = {name: settings[name] for name in ("model", "pipeline", "pool") if settings.get(name)}
    return settings | {name: os.path.abspath(path) for name, path in places.items() if os.path.exists(path)}


def _absolute_pattern(url: str) -> str:
    return "@" + absolute_url(url[1:]) if url.startswith("@") else absolute_url(url)
