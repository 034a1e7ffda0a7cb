"""The fate of every record of a gold file: kept, repaired or refused, with the reason and the first examples.

For each kind of record `in = kept + repaired + refused`, checked when the report is made. A record that was repaired
twice counts once, but each of its codes counts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NotRequired

from pydantic import JsonValue
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from student.gold.codes import REFUSED, REPAIRED

MAX_EXAMPLES = 3
MAX_TEXT = 160


RecordCounts = TypedDict(
    "RecordCounts", {"in": int, "kept": int, "repaired": int, "refused": int, "codes": dict[str, int]}
)
"""Counts of one kind of record."""


class AccountReport(TypedDict):
    """The whole account."""

    records: dict[str, RecordCounts]
    examples: dict[str, list[str]]
    unknown: NotRequired[int]


class RecordError(Exception):
    """The record cannot be used. `code` is one of `codes.REFUSED`."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


def code_of_contents(refused: RecordError) -> str:
    """Return the code of the boxes of an image, caption or line that was refused."""
    return refused.code if refused.code == "not_in_split" else "image_refused"


class ImportAccount:
    """Counts by kind of record ("images", "annotations", "lines", ...)."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._codes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._examples: defaultdict[str, list[str]] = defaultdict(list)
        self._unknown = 0

    def count(self, kind: str, number: int = 1) -> None:
        """Count records that were read. Each must be kept or refused later."""
        self._counts[kind]["in"] += number

    def keep(self, kind: str, name: object, repairs: Iterable[str] = ()) -> None:
        """Count a record that is used, unchanged or repaired."""
        codes = set(repairs)
        unknown = codes - REPAIRED.keys()
        assert not unknown, f"{unknown} are not codes of codes.REPAIRED"
        self._counts[kind]["repaired" if codes else "kept"] += 1
        for code in sorted(codes):
            self._note(kind, code, name, "")

    def refuse(self, kind: str, name: object, code: str, detail: str = "", number: int = 1) -> None:
        """Count records that are not used."""
        assert code in REFUSED, f"{code!r} is not a code of codes.REFUSED"
        if number:
            self._counts[kind]["refused"] += number
            self._note(kind, code, name, detail, number)

    def add_unknown(self, number: int) -> None:
        """Count classes or phrases of an image that refused records made unknown."""
        self._unknown += number

    def count_decided(self, kind: str) -> int:
        """Return how many records of the kind were kept, repaired or refused."""
        return sum(self._counts[kind][name] for name in ("kept", "repaired", "refused"))

    def _note(self, kind: str, code: str, name: object, detail: str, number: int = 1) -> None:
        self._codes[kind][code] += number
        examples = self._examples[f"{kind} {code}"]
        if len(examples) < MAX_EXAMPLES:
            examples.append(_make_printable(f"{name}: {detail}" if detail else f"{name}"))

    def report(self) -> AccountReport:
        """Return the counts and the first examples.

        `{"records": {KIND: {"in", "kept", "repaired", "refused", "codes"}}, "examples": {"KIND CODE": [...]}}`.
        With refused records also "unknown": how many classes or phrases of an image they made unknown.
        """
        records: dict[str, RecordCounts] = {}
        for kind, counts in sorted(self._counts.items()):
            decided = self.count_decided(kind)
            assert counts["in"] == decided, f"{kind}: {counts['in']} in, {decided} kept, repaired or refused"
            records[kind] = {
                "in": counts["in"],
                "kept": counts["kept"],
                "repaired": counts["repaired"],
                "refused": counts["refused"],
                "codes": dict(sorted(self._codes[kind].items())),
            }
        report: AccountReport = {
            "records": records,
            "examples": {name: list(some) for name, some in sorted(self._examples.items())},
        }
        if any(one["refused"] for one in records.values()):
            report["unknown"] = self._unknown
        return report


def is_encodable(value: JsonValue) -> bool:
    """Return whether a JSON value can be written again: no NaN, no infinity, no text with a lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except ValueError:
        return False
    return True


def _make_printable(text: str) -> str:
    """Shorten a text and escape lone surrogates. Examples go into JSON and on terminals."""
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")
