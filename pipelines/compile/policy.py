"""The policy: what we believe of evidence. Its digest names it; its rules run in the order of its fields.

Evidence was taken at a low threshold after a loose suppression, so a policy can only be stricter: one that asks for
what the evidence no longer holds is refused by name and value.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.compile.weights import Calibration, GoldMask, Share, WeightRule
from schemas.errors import ConfigError
from schemas.settings import CompatibleSettings, EvidenceSettings, LegacyValue

FLOOR: Literal["floor"] = (
    "floor"  # the lowest score of a candidate: candidate_score, or the evidence's min_score
)


class Policy(CompatibleSettings):
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
        description="phrases that speak of one thing get at most one box each, all in different places, best total "
        "score; plural, numbered and mass phrases keep theirs",
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
    ignore_score: Annotated[Share | Literal["floor"] | None, LegacyValue(legacy=None)] = Field(
        FLOOR,
        description="which removed regions stay in the view as fate ignore, neither learned nor a negative. floor: of "
        "a phrase with a kept box, every candidate that a rule removed. A score: what one_to_one, min_score and "
        "max_regions_per_phrase remove, if its raw score is this or more. null: none, a removed region's place is a "
        "negative of its phrase",
    )
    class_only_below: Annotated[float | None, LegacyValue()] = Field(
        None,
        ge=0,
        le=1,
        description="kept regions below this raw score teach their phrase's tokens and no place; null: none",
    )
    weight: Annotated[WeightRule, LegacyValue()] = Field(
        "one",
        description="what the loss multiplies a kept region's terms by: 1, its raw score, weight_ramp of it, or its "
        "p_correct",
    )
    weight_ramp: Annotated[tuple[float, float] | None, LegacyValue()] = Field(
        None,
        description="for weight ramp: raw score of weight 0 and of weight 1, linear between, e.g. [0.2, 0.6]",
    )
    calibration: Annotated[Calibration | None, LegacyValue()] = Field(
        None, description="from raw score to p_correct of the view's regions; null: not calibrated"
    )
    gold: Annotated[GoldMask | None, LegacyValue()] = Field(
        None,
        description="on an image that is also in this gold, its boxes go before the teacher's; null: none",
    )

    @field_validator("ignore_score", mode="before")
    @classmethod
    def _is_floor_score_or_null(cls, value: Any) -> Any:
        if value is None or value == FLOOR:
            return value
        try:
            score = -1.0 if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            score = -1.0
        if not 0 <= score <= 1:
            raise ValueError(
                f"expected {FLOOR}, a raw score from 0 to 1, or null (removed regions are negatives)"
            )
        return score

    @property
    def ignore_from(self) -> float | None:
        """The raw score from which removed regions are ignored, where the policy gives one."""
        return None if isinstance(self.ignore_score, str) else self.ignore_score

    @model_validator(mode="after")
    def _candidates_come_before_the_threshold(self) -> Policy:
        if self.candidate_score is not None and self.candidate_score > self.min_score:
            raise ValueError(
                f"candidate_score {self.candidate_score} is above min_score {self.min_score}: raise min_score instead"
            )
        return self

    @model_validator(mode="after")
    def _bands_are_not_empty(self) -> Policy:
        low, high = self.ignore_from, self.class_only_below
        if low is not None and low > self.min_score:
            raise ValueError(
                f"ignore_score {low} is above min_score {self.min_score}: lower it, or leave it out"
            )
        if low is not None and low < (self.candidate_score or 0):
            raise ValueError(
                f"ignore_score {low} is below candidate_score {self.candidate_score}, under which no region is left: "
                "lower candidate_score"
            )
        if high is not None and high <= self.min_score:
            raise ValueError(f"class_only_below {high} is not above min_score {self.min_score}: leave it out")
        return self

    @model_validator(mode="after")
    def _weight_has_what_it_needs(self) -> Policy:
        if (self.weight == "ramp") != (self.weight_ramp is not None):
            raise ValueError(
                f"weight {self.weight!r} with weight_ramp {self.weight_ramp}: weight ramp, and only it, has one"
            )
        if self.weight_ramp is not None and not 0 <= self.weight_ramp[0] < self.weight_ramp[1] <= 1:
            raise ValueError(
                f"weight_ramp {list(self.weight_ramp)}: expected two raw scores, 0 <= first < second <= 1"
            )
        if self.weight == "p_correct" and self.calibration is None:
            raise ValueError("weight p_correct needs a calibration")
        return self

    def refuse_unless_scores_are(self, score_kind: str) -> None:
        """Raise ConfigError when the calibration was measured on another kind of score than the evidence's."""
        if self.calibration is not None and self.calibration.score_kind != score_kind:
            raise ConfigError(
                f"the policy's calibration is of scores {self.calibration.score_kind!r}, the evidence holds "
                f"{score_kind!r}: calibrate on this teacher's labels"
            )

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
            _asked_below("candidate_score", self.candidate_score, evidence.min_score),
            _asked_below("ignore_score", self.ignore_from, evidence.min_score),
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


def _asked_below(name: str, value: float | None, held: float) -> _Asked:
    return (name, value, "min_score", held, value is not None and value < held)


def _asked_above(name: str, value: int | None, evidence: EvidenceSettings) -> _Asked:
    held = evidence.max_regions_per_phrase
    return (name, value, "max_regions_per_phrase", held, value is not None and value > held)
