"""Leave out samples without a kept box."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pipelines.compile.region_batch import Flags
from pipelines.compile.rule import SampleRule
from schemas.settings import CompatibleSettings


class SampleFields(CompatibleSettings):
    """Settings of the rule."""

    keep_samples_without_box: bool = Field(
        True, description="samples without a kept box stay, phrases unresolved"
    )


def keep_samples(has_box_N: Flags, policy: SampleFields) -> Flags:
    """Keep samples with a box, or all of them."""
    return np.ones_like(has_box_N) if policy.keep_samples_without_box else has_box_N


ENTRY = SampleRule(
    "without_box",
    "samples without a kept box are left out (keep_samples_without_box)",
    SampleFields,
    300,
    apply=keep_samples,
)
