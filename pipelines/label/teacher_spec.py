"""The factories of a job's teacher and phrase finder, by name, so that the engine does not import them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from engine.task import Factory
from pipelines.label.job import JobConfig, with_absolute_paths
from schemas.errors import ConfigError
from teacher import factories
from teacher.registry import TEACHERS


@dataclass(frozen=True)
class Factories:
    """Names `module:function`. Workers call those that make something, the driver those that return a digest."""

    labeler: str = f"{factories.__name__}:make_labeler"
    finder: str = f"{factories.__name__}:make_finder"
    labeler_digest: str = f"{factories.__name__}:labeler_digest"
    finder_digest: str = f"{factories.__name__}:finder_digest"
    decoys: str = f"{factories.__name__}:make_decoy_chooser"
    decoys_digest: str = f"{factories.__name__}:decoys_digest"
    takes_given: bool = False
    """Whether the finder is a GivenPhraseFinder; said here because the driver makes none."""
    has_decoys: bool = False
    """Whether the labeler is a DecoyLabeler. With `asks_registry`, the teacher's entry decides."""
    asks_registry: bool = False
    """Whether labeler and digest take `entry`, the reference of the teacher's registry entry, and what the job's
    phrases are like (`long_phrases`, `guessed_heads`)."""

    def of_labeler(self, job: JobConfig) -> Factory:
        """Return the factory that makes the job's teacher in a worker."""
        settings = job.teacher_values()
        arguments: dict[str, JsonValue] = {
            "settings": settings,
            "batch_size": job.run.batch_size,
            "min_score": job.evidence.min_score,
        }
        options: dict[str, Any] = {}
        if self.asks_registry:
            options["entry"] = TEACHERS.reference(job.teacher.kind)
            options |= {"long_phrases": True} if _has_long_phrases(job) else {}
            options |= {"guessed_heads": True} if _has_guessed_heads(job) else {}
        digest = _call(self.labeler_digest, settings, **options)
        return Factory(factory=self.labeler, arguments=arguments | options, digest=digest)

    def takes_decoys(self, job: JobConfig) -> bool:
        """Return whether the job's teacher can be asked for decoys."""
        if self.asks_registry:
            return TEACHERS.load(job.teacher.kind).takes_decoys
        return self.has_decoys

    def of_finder(self, job: JobConfig) -> Factory:
        """Return the factory that makes the job's phrase finder. Raises ConfigError for spans that it cannot take."""
        named = {"input.spans": job.input.spans, "phrases.given": job.phrases.given}
        if not self.takes_given and (field := next((field for field in named if named[field]), None)):
            raise ConfigError(f"{field}: the phrase finder {self.finder} takes no spans; leave it out")
        settings = with_absolute_paths(job.phrases.model_dump(mode="json"))
        return Factory(
            factory=self.finder, arguments={"settings": settings}, digest=_call(self.finder_digest, settings)
        )

    def of_decoys(self, job: JobConfig, pool_digest: str) -> Factory:
        """Return the factory that makes the chooser of the job's decoys. Workers add the pool as an argument."""
        settings = job.decoys.model_dump(mode="json")
        digest = _call(self.decoys_digest, settings, pool_digest)
        return Factory(factory=self.decoys, arguments={"settings": settings}, digest=digest)


TEACHER = Factories(takes_given=True, asks_registry=True)


def _has_long_phrases(job: JobConfig) -> bool:
    """Return whether phrases may continue after their head noun: expressions, and phrases that come with the job."""
    return job.phrases.expressions or job.input.spans is not None or bool(job.phrases.given)


def _has_guessed_heads(job: JobConfig) -> bool:
    """Return whether there are given spans, and no parser that finds their heads."""
    return job.input.spans is not None and not job.phrases.has_parser


def _call(name: str, *arguments: Any, **options: Any) -> str:
    module, _, function = name.partition(":")
    return str(getattr(importlib.import_module(module), function)(*arguments, **options))
