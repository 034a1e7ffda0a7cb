"""The policy: what we believe of evidence. Its digest names it; its rules run in the order of its fields.

Evidence was taken at a low threshold after a loose suppression, so a policy can only be stricter: one that asks for
what the evidence no longer holds is refused by name and value.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from schemas.errors import ConfigError
from schemas.settings import EvidenceSettings, Settings


class Policy(Settings):
    """Rules from evidence to view. Left at its defaults it keeps every distinct box of score 0.5 or more."""

    groundable_only: bool = Field(True, description="drop the regions of phrases marked as not groundable")
    candidate_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="regions below it are not even candidates; null: the evidence's own min_score",
    )
    nms_iou: float = Field(
        0.6, ge=0, le=1, description="per phrase, of two boxes that overlap above this IoU the better stays"
    )
    max_candidates_per_phrase: int | None = Field(
        None, ge=1, description="per phrase, the best so many go on to the rules below; null: all"
    )
    one_to_one: bool = Field(
        False,
        description="a caption's phrases get at most one box each, all in different places, best total score",
    )
    same_place_iou: float = Field(
        0.6, gt=0, le=1, description="for one_to_one: boxes that overlap by this IoU or more are one place"
    )
    min_score: float = Field(0.5, ge=0, le=1, description="regions below this raw score are dropped")
    max_regions_per_phrase: int | None = Field(
        None, ge=1, description="per phrase, the best so many regions stay; null: all"
    )
    merge_iou: float | None = Field(
        None,
        gt=0,
        le=1,
        description="regions of different phrases that overlap above it share the best one's box",
    )
    keep_samples_without_box: bool = Field(
        True, description="samples without a kept box stay, phrases unresolved"
    )

    @model_validator(mode="after")
    def _candidates_come_before_the_threshold(self) -> Policy:
        if self.candidate_score is not None and self.candidate_score > self.min_score:
            raise ValueError(
                f"candidate_score {self.candidate_score} is above min_score {self.min_score}: raise min_score instead"
            )
        return self

    def refuse_unless_held_by(self, evidence: EvidenceSettings) -> None:
        """Raise ConfigError when the policy asks for regions that evidence under these settings no longer holds."""
        asked = [
            (
                "min_score",
                self.min_score,
                "min_score",
                evidence.min_score,
                self.min_score < evidence.min_score,
            ),
            ("nms_iou", self.nms_iou, "nms_iou", evidence.nms_iou, self.nms_iou > evidence.nms_iou),
            _asked_below(self.candidate_score, evidence.min_score),
            _asked_above("max_candidates_per_phrase", self.max_candidates_per_phrase, evidence),
            _asked_above("max_regions_per_phrase", self.max_regions_per_phrase, evidence),
        ]
        lost = [
            f"{name} {value} (evidence: {other} {held})" for name, value, other, held, gone in asked if gone
        ]
        if lost:
            raise ConfigError(
                f"the policy asks for what the evidence no longer holds: {'; '.join(lost)}. "
                "Make the policy stricter, or label again with looser evidence settings"
            )


_Asked = tuple[str, float | None, str, float, bool]


def _asked_below(value: float | None, held: float) -> _Asked:
    return ("candidate_score", value, "min_score", held, value is not None and value < held)


def _asked_above(name: str, value: int | None, evidence: EvidenceSettings) -> _Asked:
    held = evidence.max_regions_per_phrase
    return (name, value, "max_regions_per_phrase", held, value is not None and value > held)
