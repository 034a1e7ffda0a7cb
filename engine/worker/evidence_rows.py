"""The rows that a unit's samples become.

A row has the form of `schemas.rows`, and depends on the sample and the teacher's answer alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import cast

from engine.redaction import redact
from schemas.codes import check_code
from schemas.digests import canonical_json
from schemas.errors import SampleRejectedError
from schemas.ledger import Unit
from schemas.records import DroppedPhrase, Rejection, Sample
from schemas.rows import EvidenceRow, RegionRow, RejectionRow


def rejection_row(unit: Unit, index: int, key: str, rejected: SampleRejectedError) -> RejectionRow:
    """Return the row of a rejected sample."""
    record = Rejection(
        unit=unit.name,
        index=index,
        key=key,
        code=check_code(rejected.code),
        detail=_storable(rejected.detail),
    )
    return cast(RejectionRow, record.model_dump())


def mark_dropped(sample: Sample, dropped: Sequence[tuple[int, str]]) -> Sample:
    """Return the sample with dropped phrases marked as not groundable and listed with their code.

    dropped: (phrase number, code) of phrases that the teacher cannot be asked about
    """
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


def evidence_row(sample: Sample, regions: list[RegionRow], truncated: Collection[int]) -> EvidenceRow:
    """Return the row of a labeled sample. truncated: numbers of the phrases whose regions the cap cut."""
    row = sample.model_dump()
    row["meta"] = canonical_json(row["meta"]).decode("utf-8")
    for number in truncated:
        row["phrases"][number]["truncated"] = True
    lists = {name: list(row[name]) for name in ("phrases", "dropped_phrases")}
    return cast(EvidenceRow, {**row, **lists, "regions": regions})


def _storable(detail: str) -> str:
    """Return the detail as valid UTF-8, without secrets and without memory addresses, which differ between runs."""
    written = detail.encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"0x[0-9a-f]{6,}", "0x", redact(written))
