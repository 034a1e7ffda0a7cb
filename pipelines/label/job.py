"""A labelling job: the one YAML file that says what is read, who labels and where the evidence goes.

Promise: the job's digest covers what decides the labels, and neither `output`, `run` nor `price` nor how a bucket is
reached. Relative paths count as where they lead, so a kept job can be run again from anywhere.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field, model_validator

from engine.settings import InputSettings, OutputSettings, RunSettings
from engine.storage.filesystems import absolute_url
from pipelines.label.plan.prices import PriceSettings
from schemas.digests import digest_of
from schemas.settings import EvidenceSettings, Settings
from teacher.phrases.chunkers.registry import CHUNKERS
from teacher.registry import TeacherSection
from teacher.settings import DecoySettings, PhraseSettings


class JobConfig(Settings):
    """Everything about a labelling job."""

    input: InputSettings = Field(description="which shards, and how samples are read from them")
    phrases: PhraseSettings = Field(PhraseSettings(), description="how noun phrases are found")
    teacher: TeacherSection = Field(description="who labels: {kind: detector|glip, model: ...}")
    evidence: EvidenceSettings = Field(EvidenceSettings(), description="what is kept as evidence")
    decoys: DecoySettings = Field(DecoySettings(), description="nouns believed absent that are asked, too")
    output: OutputSettings = Field(description="where the evidence is written")
    run: RunSettings = Field(RunSettings(), description="how the work is run; changes no label")
    price: PriceSettings | None = Field(None, description="what machines and storage cost, for `plan`")

    @model_validator(mode="after")
    def _given_phrases_have_spans(self) -> JobConfig:
        if not CHUNKERS.load(self.phrases.chunker).uses_text and self.input.spans is None:
            raise ValueError(
                f"phrases.chunker {self.phrases.chunker} takes spans of the input alone; name them by input.spans"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """The part of the job that its digest covers, and that is kept beside the evidence."""
        job = self.model_dump(mode="json", exclude={"output", "run", "price"})
        job["input"].pop("storage")
        job["input"]["urls"] = [_absolute_pattern(url) for url in self.input.urls]
        for unset in ("only", "spans"):  # they came later: jobs without them keep their digest
            if job["input"][unset] is None:
                job["input"].pop(unset)
        if not self.decoys.share:
            job.pop("decoys")
        for section in ("teacher", "phrases", "decoys"):
            if section not in job:
                continue
            job[section] = with_absolute_paths(job[section])
        return job

    def digest(self) -> str:
        """`sha256:<hex>` of the identity."""
        return digest_of(self.identity())


def with_absolute_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Local paths made absolute: the current directory of a worker, or of a later run, is another one."""
    places = {name: settings[name] for name in ("model", "pipeline", "pool") if settings.get(name)}
    return settings | {name: os.path.abspath(path) for name, path in places.items() if os.path.exists(path)}


def _absolute_pattern(url: str) -> str:
    return "@" + absolute_url(url[1:]) if url.startswith("@") else absolute_url(url)
