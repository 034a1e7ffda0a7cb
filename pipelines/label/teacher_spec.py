"""Who makes the teacher and the phrase finder of a job, by name, so that the engine need not know them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from engine.task import Factory
from pipelines.label.job import JobConfig, with_absolute_paths
from schemas.errors import ConfigError


@dataclass(frozen=True)
class Factories:
    """`module:function` names: makers run in the workers, digests on the driver without loading a model."""

    labeler: str = "teacher.build:labeler"
    finder: str = "teacher.build:finder"
    labeler_digest: str = "teacher.build:labeler_digest"
    finder_digest: str = "teacher.build:finder_digest"
    decoys: str = "teacher.build:decoys"
    decoys_digest: str = "teacher.build:decoys_digest"
    takes_given: bool = False
    """Whether the finder is a GivenPhraseFinder; said here because the driver makes none."""
    takes_decoys: bool = False
    """Whether the labeler is a DecoyLabeler."""
    takes_long_phrases: bool = False
    """Whether labeler and digest take `long_phrases=True` for a job with expressions or given spans."""

    def of_labeler(self, job: JobConfig) -> Factory:
        """How workers make the job's teacher."""
        settings = with_absolute_paths(job.teacher.model_dump(mode="json"))
        arguments: dict[str, JsonValue] = {
            "settings": settings,
            "batch_size": job.run.batch_size,
            "min_score": job.evidence.min_score,
        }
        long = {"long_phrases": True} if self.takes_long_phrases and _has_long_phrases(job) else {}
        digest = _call(self.labeler_digest, settings, **long)
        return Factory(factory=self.labeler, arguments=arguments | long, digest=digest)

    def of_finder(self, job: JobConfig) -> Factory:
        """How workers make the job's phrase finder. Raises ConfigError for spans that it cannot take."""
        if job.input.spans is not None and not self.takes_given:
            raise ConfigError(f"input.spans: the phrase finder {self.finder} takes no spans; leave it out")
        settings = with_absolute_paths(job.phrases.model_dump(mode="json"))
        return Factory(
            factory=self.finder, arguments={"settings": settings}, digest=_call(self.finder_digest, settings)
        )

    def of_decoys(self, job: JobConfig, pool_digest: str) -> Factory:
        """How workers make the chooser of the job's decoys; the pool is an argument that they add."""
        settings = job.decoys.model_dump(mode="json")
        digest = _call(self.decoys_digest, settings, pool_digest)
        return Factory(factory=self.decoys, arguments={"settings": settings}, digest=digest)


TEACHER = Factories(takes_given=True, takes_decoys=True, takes_long_phrases=True)


def _has_long_phrases(job: JobConfig) -> bool:
    """Whether phrases may go on behind their head noun: expressions, and spans that come with the input."""
    return job.phrases.expressions or job.input.spans is not None


def _call(name: str, *arguments: Any, **options: Any) -> str:
    module, _, function = name.partition(":")
    return str(getattr(importlib.import_module(module), function)(*arguments, **options))
