"""The plain rows that a unit's samples become.

Promise: a row has the form of `schemas.arrow`, and depends on the sample and the teacher's answer alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.redaction import redact
from schemas.codes import check_code
from schemas.digests import canonical_json
from schemas.errors import SampleRejectedError
from schemas.ledger import Unit
from schemas.records import DroppedPhrase, Rejection, Sample


def rejection_row(unit: Unit, index: int, key: str, rejected: SampleRejectedError) -> dict[str, Any]:
    """A plain row in the form of `schemas.arrow.REJECTIONS`."""
    record = Rejection(
        unit=unit.name,
        index=index,
        key=key,
        code=check_code(rejected.code),
        detail=_storable(rejected.detail),
    )
    return record.model_dump()


def without_phrases(sample: Sample, dropped: Sequence[tuple[int, str]]) -> Sample:
    """The sample with phrases that the teacher could not be asked about marked, and listed with their code."""
    if not dropped:
        return sample
    phrases = list(sample.phrases)
    listed = list(sample.dropped_phrases)
    for number, code in dropped:
        phrase = phrases[number]
        phrases[number] = phrase.model_copy(update={"groundable": False})
        if phrase.begin is not None and phrase.end is not None:
            listed.append(DroppedPhrase(begin=phrase.begin, end=phrase.end, text=phrase.text, code=code))
    return sample.model_copy(update={"phrases": tuple(phrases), "dropped_phrases": tuple(listed)})


def evidence_row(sample: Sample, regions: list[dict[str, Any]], truncated: set[int]) -> dict[str, Any]:
    """A plain row in the form of `schemas.arrow.EVIDENCE`."""
    row = sample.model_dump()
    row["meta"] = canonical_json(row["meta"]).decode("utf-8")
    for index in truncated:
        row["phrases"][index]["truncated"] = True
    return {**row, "phrases": list(row["phrases"]), "regions": regions}


def _storable(detail: str) -> str:
    """The detail as valid UTF-8, without secrets and memory addresses, which would differ from run to run."""
    written = detail.encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"0x[0-9a-f]{6,}", "0x", redact(written))
