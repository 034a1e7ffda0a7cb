"""The report of an evaluation: the JSON of docs/interfaces.md, and a table for a reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from student.evaluate.matching import NAMES
from student.evaluate.protocols import EvaluationProtocol, choose_rules


class Evaluation(dict[str, Any]):
    """The JSON object of an evaluation.

    It has the 12 numbers (by LVIS's rules also APr, APc, APf), `protocol`, `ci`, `groups`, `recall_at`, `images`,
    `left_out` (ids of gold images without pixels), `detections`, `phrases` (number of phrases in the recall), `unasked`
    (texts that do not fit into a prompt, with their number), `unread` (questions without a usable answer, by reason,
    with their number), `classes` (of a detector: the source of its class names, and what did not match),
    `max_detections` (if it is not the protocol's), `unmatched` (number of detections in a results file without an image
    or category of the gold), `gold_records` (of a gold file: what was kept, repaired and refused), `too_many_refused`
    (kinds of its records of which more were refused than allowed) and `notes` (facts that a reader of the numbers must
    know; for stderr).
    """

    @property
    def mostly_unmatched(self) -> bool:
        """Whether most detections of a results file were left out, so that the numbers measure nothing."""
        left_out = int(self.get("unmatched", {}).get("detections", 0))
        return left_out > int(self["detections"])

    @property
    def too_many_refused(self) -> list[str]:
        """A sentence for each kind of the gold's records of which more were refused than allowed."""
        return list(self.get("too_many_refused", ()))

    def data(self) -> dict[str, Any]:
        """Return the object for `--json`."""
        return dict(self)

    def text(self) -> str:
        """Return a table with one line per group and intervals in brackets, in percent."""
        groups = [("all", self), *self.get("groups", {}).items()]
        rules = choose_rules(self.get("protocol", "coco"), self.get("max_detections"))
        lines = [] if rules.name == "coco" else [f"{rules.name}: federated, {_describe_limit(rules)}"]
        lines.append("".join([f"{'':10s}", *(f"{name:>20s}" for name in NAMES[:3]), f"{rules.recall:>20s}"]))
        for group, numbers in groups:
            cells = (
                _cell(numbers[name], numbers.get("ci", {}).get(name)) for name in (*NAMES[:3], rules.recall)
            )
            lines.append(f"{group:10s}" + "".join(f"{cell:>20s}" for cell in cells))
        lines += self._recall_lines()
        if not self.get("exhaustive", True):
            lines.append(
                "the gold does not box everything: AP counts detections of objects without a box as errors, recall "
                "does not"
            )
        images = self["images"]
        lines.append(
            f"{images['evaluated']} of {images['gold']} gold images, {self['detections']} detections"
        )
        if images["evaluated"] < images["gold"]:
            lines.append(
                f"{images['gold'] - images['evaluated']} gold images have no pixels here and are left out"
            )
        return "\n".join(lines)

    def _recall_lines(self) -> Iterable[str]:
        for name, title in (("recall_at", "phrases   "), ("recall_at_merged", "merged    ")):
            if name in self:
                intervals = self.get("ci", {}).get(name, {})
                values = (f"R@{k} {_cell(value, intervals.get(k))}" for k, value in self[name].items())
                yield title + "   ".join(values) + f"   of {self['phrases']}"
        if unasked := self.get("unasked"):
            names = ", ".join(repr(text[:60]) for text in list(unasked)[:3])
            yield f"{len(unasked)} texts fit into no prompt and count as not found, e.g. {names}"


def _describe_limit(rules: EvaluationProtocol) -> str:
    if rules.per_category is not None:
        limit = "no limit" if rules.per_image is None else f"{rules.per_image} at most"
        return f"the {rules.per_category:,} best detections of each category, {limit} per image"
    return f"the {rules.per_image} best detections of each image"


def _cell(value: float, interval: list[float] | None) -> str:
    if value < 0:
        return "-"
    bounds = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * value:.1f}{bounds}"
