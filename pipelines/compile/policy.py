"""The policy: the settings of all rules, and how removed and kept regions count.

Evidence is recorded at a low threshold after a loose suppression, so a policy can only be stricter. A policy that asks
for regions that the evidence does not have is refused with both values.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.compile.rules import list_rules
from pipelines.compile.weights import Calibration, Share, WeightRule
from schemas.digests import digest_of
from schemas.errors import ConfigError
from schemas.labeler import NO_SCORE
from schemas.settings import CompatibleSettings, EvidenceSettings, LegacyValue

FLOOR: Literal["floor"] = "floor"
"""The lowest score of a candidate: candidate_score, or the evidence's min_score."""
_SCORE_FIELDS = ("class_only_below", "weight", "weight_ramp", "calibration")
"""The policy's own fields that decide by score, besides a number as ignore_score. Rules name theirs."""

if TYPE_CHECKING:  # the fields of the built-in rules, for type checkers; at run time the registry gives them
    from pipelines.compile.rules.below_candidate_score import CandidateScoreFields
    from pipelines.compile.rules.below_score import MinScoreFields
    from pipelines.compile.rules.gold import GoldFields
    from pipelines.compile.rules.lost_assignment import OneToOneFields
    from pipelines.compile.rules.merge import MergeFields
    from pipelines.compile.rules.not_groundable import GroundableFields
    from pipelines.compile.rules.over_candidates import CandidateCapFields
    from pipelines.compile.rules.over_cap import RegionCapFields
    from pipelines.compile.rules.overlap import OverlapFields
    from pipelines.compile.rules.without_box import SampleFields

    class RuleFields(
        GroundableFields,
        CandidateScoreFields,
        OverlapFields,
        CandidateCapFields,
        OneToOneFields,
        MinScoreFields,
        RegionCapFields,
        GoldFields,
        MergeFields,
        SampleFields,
    ):
        """Settings of all rules."""

else:
    # Pydantic lists the fields of the last base first.
    RuleFields = type(CompatibleSettings)(
        "RuleFields",
        tuple(dict.fromkeys(rule.fields for rule in reversed(list_rules()))),
        {"__module__": __name__, "__doc__": "Settings of all rules."},
    )


class Policy(RuleFields):
    """Rules from evidence to view. Left at its defaults it keeps every distinct box of score 0.5 or more."""

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
        description="kept regions below this raw score train the class (the phrase's tokens), not the box; null: none",
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

    @field_validator("ignore_score", mode="before")
    @classmethod
    def _parse_ignore_score(cls, value: float | str | None) -> float | str | None:
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
        """The raw score from which removed regions are ignored, if the policy gives one."""
        return None if isinstance(self.ignore_score, str) else self.ignore_score

    @model_validator(mode="after")
    def _check_candidate_score(self) -> Policy:
        if self.candidate_score is not None and self.candidate_score > self.min_score:
            raise ValueError(
                f"min_score {self.min_score} must be at least candidate_score {self.candidate_score}; raise min_score"
            )
        return self

    @model_validator(mode="after")
    def _check_bands(self) -> Policy:
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
    def _check_weight(self) -> Policy:
        if (self.weight == "ramp") != (self.weight_ramp is not None):
            raise ValueError(
                f"weight {self.weight!r} with weight_ramp {self.weight_ramp}: weight_ramp is required with weight: "
                "ramp and not allowed otherwise"
            )
        if self.weight_ramp is not None and not 0 <= self.weight_ramp[0] < self.weight_ramp[1] <= 1:
            raise ValueError(
                f"weight_ramp {list(self.weight_ramp)}: expected two raw scores, 0 <= first < second <= 1"
            )
        if self.weight == "p_correct" and self.calibration is None:
            raise ValueError("weight p_correct needs a calibration; set calibration")
        return self

    def digest(self) -> str:
        """Return `sha256:<hex>` of `identity` and of the version of each rule that is used and above 1."""
        versions = {
            rule.name: rule.version for rule in list_rules() if rule.version > 1 and rule.is_used(self)
        }
        return digest_of({**self.identity(), **({"rules": versions} if versions else {})})

    def check_score_kind(self, score_kind: str) -> None:
        """Raise ConfigError if the calibration was measured on another kind of score than the evidence's.

        Evidence without scores takes no setting that decides by them.
        """
        if score_kind == NO_SCORE:
            self._check_no_scores()
        if self.calibration is not None and self.calibration.score_kind != score_kind:
            raise ConfigError(
                f"the policy's calibration is of scores {self.calibration.score_kind!r}, the evidence has "
                f"{score_kind!r}: calibrate on this teacher's labels"
            )

    def _check_no_scores(self) -> None:
        names = [*_SCORE_FIELDS, *(name for rule in list_rules() for name in rule.score_fields)]
        fields = type(self).model_fields
        used = [name for name in names if getattr(self, name) != fields[name].default]
        used += ["ignore_score"] if self.ignore_from is not None else []
        if used:
            settings = "; ".join(f"{name} {json.dumps(self.identity()[name])}" for name in used)
            raise ConfigError(
                f"the evidence has no scores (score_kind {NO_SCORE}: every region has 1.0), and the policy decides by "
                f"score: {settings}. Leave these settings out, or label with a teacher that has scores"
            )

    def check_evidence(self, evidence: EvidenceSettings) -> None:
        """Raise ConfigError if the policy asks for regions that evidence with these settings does not hold."""
        lost = [
            violation
            for rule in list_rules()
            for limit in rule.limits
            if (violation := limit.describe_violation(self, evidence))
        ]
        if self.ignore_from is not None and self.ignore_from < evidence.min_score:
            lost.append(f"ignore_score {self.ignore_from} (evidence: min_score {evidence.min_score})")
        if lost:
            raise ConfigError(
                f"the policy needs regions that the evidence does not contain: {'; '.join(lost)}. "
                "Make the policy stricter, or label again with looser evidence settings"
            )
