"""Read the import account of gold: whether any box was kept, and how many were refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from schemas.errors import ConfigError
from student.gold.codes import REFUSED

log = logging.getLogger(__name__)

BOX_KINDS = ("annotations", "regions", "objects")  # the record kinds with boxes, one per format
# Codes for boxes of images that have no row.
_LEFT_OUT = ("not_in_split", "nothing_to_learn")  # on purpose, not lost
_NOT_IN_ROWS = ("not_in_split", "image_refused", "image_unknown")


def describe_refused_boxes(regions: int, account: Mapping[str, Any]) -> str | None:
    """Return what was refused and the remedy if gold has no region because boxes were refused, else None.

    Refused boxes make other boxes of their classes ignored regions. Boxes of images that `--split` leaves out do not
    count as refused.

    The text is stored with imported gold, so it must not change.

    regions: number of regions that can be learned
    """
    for kind, counts in _box_records(account):
        split = counts["codes"].get("not_in_split", 0)
        refused, total = counts["refused"] - split, counts["in"] - split
        if regions or not refused:
            continue
        codes = {code: number for code, number in counts["codes"].items() if code != "not_in_split"}
        examples = account.get("examples", {})
        first = next((f", e.g. {examples[key][0]}" for c in codes if (key := f"{kind} {c}") in examples), "")
        reasons = ", ".join(f"{code} {number}" for code, number in codes.items())
        others = "" if refused == total else "; the others are to be ignored"
        return (
            f"no box is left: {refused} of {total} {kind} were refused ({reasons}{first}){others}, so it is not known "
            "what the images hold. Mend these records (docs/gold.md explains the codes) and import the file again"
        )
    return None


def describe_refused_shares(account: Mapping[str, Any], limit: float) -> list[str]:
    """Return, for boxes and for images, a sentence if more than a share of them was refused.

    Records left out on purpose (`--split`, nothing to learn from) do not count.

    limit: share from 0 to 1
    """
    told = []
    for kind, counts in account.get("records", {}).items():
        left_out = sum(counts["codes"].get(code, 0) for code in _LEFT_OUT)
        refused, total = counts["refused"] - left_out, counts["in"] - left_out
        if total and refused > limit * total:
            codes = [
                f"{code} {n}"
                for code, n in counts["codes"].items()
                if code in REFUSED and code not in _LEFT_OUT
            ]
            told.append(
                f"{refused} of {total} {kind} were refused ({', '.join(codes)}), more than {limit:.3g} of them: mend "
                "them, or allow it with --max-refused"
            )
    return told


def check_gold(url: str, regions: int, provenance: Mapping[str, Any]) -> None:
    """Raise ConfigError for gold of which every box was refused, or that its import marked as unusable.

    Log a warning for gold of an earlier import, which names the classes of refused boxes as absent.
    """
    refused = describe_refused_boxes(regions, provenance)
    problems = provenance.get("problems") or ([refused] if refused else [])
    if problems:
        raise ConfigError(f"{url} cannot be trained on: {'; '.join(problems)}")
    doubtful = sum(
        counts["refused"] - sum(counts["codes"].get(code, 0) for code in _NOT_IN_ROWS)
        for _, counts in _box_records(provenance)
    )
    if doubtful and "unknown" not in provenance:
        log.warning(
            "%s: %d boxes were refused by an earlier version of `gold import`, which may name their classes as absent; "
            "import the file again",
            url,
            doubtful,
        )


def _box_records(account: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    records = account.get("records", {})
    return [(kind, records[kind]) for kind in BOX_KINDS if kind in records]
