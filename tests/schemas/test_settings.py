"""Settings that were added later: a record without them keeps its meaning, even if a better default was chosen."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError, model_validator

from schemas.digests import digest_of
from schemas.settings import CompatibleSettings, LegacyValue, Settings


class Before(Settings):
    """The settings of the first release."""

    size: int = 1


class Plan(CompatibleSettings):
    """The same settings, and two that were added later."""

    size: int = 1
    colour: Annotated[str | None, LegacyValue()] = None
    mode: Annotated[str, LegacyValue(legacy="old")] = Field("new", min_length=1)

    @model_validator(mode="after")
    def _old_is_small(self) -> Plan:
        if self.mode == "old" and self.size > 9:
            raise ValueError(f"mode old with size {self.size}: expected 9 or less")
        return self


def test_a_later_setting_at_its_legacy_value_is_in_no_digest() -> None:
    assert Plan(size=3, mode="old").digest() == Before(size=3).digest() == digest_of({"size": 3})
    assert Plan(size=3, mode="old").identity() == {"size": 3}


def test_a_default_that_is_not_the_legacy_value_is_in_the_digest() -> None:
    assert Plan().identity() == {"size": 1, "mode": "new"}
    assert Plan().digest() not in (Plan(mode="old").digest(), Before().digest())


@pytest.mark.parametrize("plan", [Plan(), Plan(mode="old"), Plan(colour="red", mode="x"), Plan(mode="new")])
def test_a_dump_loads_back_as_a_file_and_an_identity_as_a_record(plan: Plan) -> None:
    assert Plan.model_validate(plan.model_dump()) == Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Plan.from_record(plan.identity()) == plan
    assert ("colour" in plan.model_dump()) == (plan.colour is not None)


def test_a_record_without_the_setting_has_its_legacy_value_and_a_file_without_it_the_default() -> None:
    assert Plan.from_record({"size": 2}) == Plan(size=2, mode="old")
    assert Plan.model_validate({"size": 2}) == Plan(size=2, mode="new")


def test_what_a_file_omits_is_taken_from_the_record_and_named_and_what_it_says_is_not() -> None:
    assert Plan(size=2).continue_from({"size": 7}) == (Plan(size=2, mode="old"), {"mode": "old"})
    assert Plan(size=2).continue_from({"mode": "third", "colour": "red"}) == (
        Plan(size=2, mode="third"),
        {"mode": "third"},
    )
    assert Plan(size=2).continue_from({"mode": "new"}) == (Plan(size=2), {})
    assert Plan(mode="new").continue_from({"size": 7}) == (Plan(mode="new"), {})
    with pytest.raises(ValidationError, match="expected 9 or less"):
        Plan(size=10).continue_from({})
