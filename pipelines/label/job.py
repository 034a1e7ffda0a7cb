"""A labelling job: the one YAML file that says what is read, who labels and where the evidence goes.

Promise: the job's digest covers what decides the labels, and neither `output` nor `run` nor how a bucket is reached.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from engine.settings import InputSettings, OutputSettings, RunSettings
from schemas.digests import digest_of
from schemas.settings import EvidenceSettings, Settings
from teacher.settings import PhraseSettings, TeacherSettings


class JobConfig(Settings):
    """Everything about a labelling job."""

    input: InputSettings = Field(description="which shards, and how samples are read from them")
    phrases: PhraseSettings = Field(PhraseSettings(), description="how noun phrases are found")
    teacher: TeacherSettings = Field(description="who labels: {kind: detector|glip, model: ...}")
    evidence: EvidenceSettings = Field(EvidenceSettings(), description="what is kept as evidence")
    output: OutputSettings = Field(description="where the evidence is written")
    run: RunSettings = Field(RunSettings(), description="how the work is run; changes no label")

    def identity(self) -> dict[str, Any]:
        """The part of the job that its digest covers, and that is kept beside the evidence."""
        job = self.model_dump(mode="json", exclude={"output", "run"})
        job["input"].pop("storage")
        return job

    def digest(self) -> str:
        """`sha256:<hex>` of the identity."""
        return digest_of(self.identity())
