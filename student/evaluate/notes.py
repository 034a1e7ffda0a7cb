"""What a reader of an evaluation must know besides its numbers, each in a sentence with its remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from student.data.gold_account import describe_refused_shares
from student.evaluate.protocols import EvaluationProtocol
from student.gold.account import AccountReport
from student.gold.coco.types import CocoId, GoldDataset
from student.gold.codes import REFUSED


def note_no_match(detections: int, model: Path) -> str:
    """Say that no detection meets a gold box, and what to check."""
    return (
        f"none of the {detections} detections of {model} meets a box of its category by half (IoU 0.5), so AP is 0: "
        "check that they are of these images, boxes are x, y, width, height in pixels, and categories are the gold's"
    )


def note_cut(cut: int, detections: int, rules: EvaluationProtocol) -> str:
    """Say how many detections are over the limits of the protocol."""
    limits = {
        "category": rules.per_category,
        "image": rules.per_image,
        "image and category": None if rules.federated else rules.max_dets[-1],
    }
    best = " and the ".join(
        f"{limit:,} best of each {of}" for of, limit in limits.items() if limit is not None
    )
    return (
        f"{cut} of {detections} detections do not count, since they are not among the {best}; --max-detections sets "
        "that number"
    )


def note_left_out(left_out: Sequence[CocoId], gold: GoldDataset, images: str | Path | None) -> str:
    """Say which gold images have no pixels. left_out: their ids, at least one."""
    first = next(image for image in gold["images"] if image["id"] == left_out[0])
    where = "their places" if images is None else str(images)
    return (
        f"{len(left_out)} of {len(gold['images'])} gold images are not in {where} and are left out, e.g. "
        f"{first.get('file_name', first['id'])!r}: {REFUSED['image_missing']}"
    )


def note_by_name(number: int, images: str | Path | None) -> str:
    """Say how many images were found by the last part of their names alone."""
    return f"{number} images are not in {images} under their whole names, and were found by their last part"


def note_unread(unread: Mapping[str, int], name: str) -> str:
    """Say how many questions have no usable answer. unread: their number by reason."""
    return (
        f"{sum(unread.values())} questions to {name} have no usable answer and count as no box, e.g.: "
        f"{next(iter(unread))}"
    )


def describe_refusals(account: AccountReport | None, limit: float, notes: Sequence[str]) -> dict[str, Any]:
    """Return the facts of a gold file of which records were repaired or refused."""
    if account is None or not any(one["codes"] for one in account["records"].values()):
        return {}
    told = [
        f"gold: {kind}: {counts['refused']} of {counts['in']} refused, {counts['repaired']} repaired ("
        + ", ".join(f"{code} {number}" for code, number in counts["codes"].items())
        + ", e.g. "
        + "; ".join(account["examples"][f"{kind} {code}"][0] for code in counts["codes"])
        + ")"
        for kind, counts in account["records"].items()
        if counts["codes"]
    ]
    too_many = describe_refused_shares(account, limit)
    return {
        "gold_records": account["records"],
        "notes": [*notes, *told],
        **({"too_many_refused": too_many} if too_many else {}),
    }
