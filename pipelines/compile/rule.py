"""What a rule of a policy is: a name, its settings, its place in the order, and a function over regions or samples."""

# N rows, R regions
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.compile.region_batch import Flags, RegionBatch
from schemas.boxes import Boxes
from schemas.settings import CompatibleSettings, EvidenceSettings


class Decision(IntEnum):
    """What a rule decides about a region."""

    KEEP = 0
    IGNORE = 1
    """The region stays in the view as neither positive nor negative, whatever the policy's ignore_score is."""
    DROP = 2
    """The region is removed. `ignore_score` may turn that into IGNORE, see `SoftenedBy`."""


Decisions_R = NDArray[np.int8]


def drop(flags_R: Flags) -> Decisions_R:
    """Return [R] DROP where the flag is set, KEEP elsewhere."""
    return np.where(flags_R, Decision.DROP, Decision.KEEP).astype(np.int8)


def drop_all_but_best(batch: RegionBatch, most: int | None) -> Decisions_R:
    """Drop all but the `most` best regions of each phrase. Ties go to the earlier region; None keeps all."""
    flags_R = np.zeros(len(batch), dtype=bool)
    if most is not None:
        for own in batch.iter_phrases():
            flags_R[own[np.argsort(-batch.scores_R[own], kind="stable")[most:]]] = True
    return drop(flags_R)


class SoftenedBy(Enum):
    """Values of `ignore_score` under which a dropped region stays as one to ignore."""

    NOTHING = auto()
    """The region never was a candidate for its phrase."""
    FLOOR = auto()
    """`floor`, if the phrase keeps another box."""
    FLOOR_AND_SCORE = auto()
    """`floor`, or a score that the region reaches."""


class NoFields(CompatibleSettings):
    """Settings of a rule that has none."""


class Bound(Enum):
    """How a policy's setting is limited by a setting of the evidence."""

    AT_LEAST = auto()
    AT_MOST = auto()


@dataclass(frozen=True)
class EvidenceLimit:
    """A limit for a setting of the policy: beyond it, the evidence no longer has the regions."""

    field: str
    bound: Bound
    evidence_field: str

    def describe_violation(self, policy: CompatibleSettings, evidence: EvidenceSettings) -> str | None:
        """Return both values if the policy asks for regions that the evidence does not have, else None."""
        value, limit = getattr(policy, self.field), getattr(evidence, self.evidence_field)
        if value is None or (value >= limit if self.bound is Bound.AT_LEAST else value <= limit):
            return None
        return f"{self.field} {value} (evidence: {self.evidence_field} {limit})"


F = TypeVar("F", bound=CompatibleSettings)


@dataclass(frozen=True)
class Rule:
    """One rule of a policy.

    name:    name in reports, equal to the name of the entry's file or entry point
    meaning: short explanation for reports and the documentation
    fields:  settings of the rule. They become fields of the policy
    order:   rules run in ascending order
    limits:  what the evidence allows
    version: raise it when results change. A version above 1 is part of the digest of policies that use the rule
    score_fields: fields that decide by score. Without scores they must stay at their defaults
    """

    name: str
    meaning: str
    fields: type[CompatibleSettings]
    order: int
    limits: tuple[EvidenceLimit, ...] = ()
    version: int = 1
    score_fields: tuple[str, ...] = ()

    def is_used(self, policy: CompatibleSettings) -> bool:
        """Return whether the policy uses the rule: one of its fields is not at its legacy value."""
        legacy = self.fields.legacy_values()
        names = self.fields.model_fields
        return not names or any(name not in legacy or getattr(policy, name) != legacy[name] for name in names)


@dataclass(frozen=True, kw_only=True)
class RegionRule(Rule, Generic[F]):
    """A rule that keeps, ignores or drops regions.

    apply: gets the regions that earlier rules kept, returns one `Decision` for each
    count: phrases to count in the report, of the regions that reach the rule
    """

    apply: Callable[[RegionBatch, F], Decisions_R]
    softened_by: SoftenedBy = SoftenedBy.FLOOR
    count: Callable[[RegionBatch, F], Counter[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class BoxRule(Rule, Generic[F]):
    """A rule that moves the boxes of kept regions.

    apply: gets the kept regions, returns their boxes [R, 4]
    """

    apply: Callable[[RegionBatch, F], Boxes]


@dataclass(frozen=True, kw_only=True)
class SampleRule(Rule, Generic[F]):
    """A rule that leaves samples out of the view.

    apply: gets [N] whether a sample has a kept box, returns [N] whether it stays in the view
    """

    apply: Callable[[Flags, F], Flags]
