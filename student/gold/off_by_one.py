"""Labels that count from another number than the classes they name: proof, and the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class OffByOneCheck:
    """Collects evidence that labels count from another number than the label map does."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = {int(key): name for key, name in labels.items() if _is_index(key)}
        self._used: set[int] = set()
        self._counts: Counter[str] = Counter()

    def add(self, key: str | None, named: str | None) -> None:
        """Count a label. `named` is the class name next to it."""
        if key is None or not _is_index(key):
            return
        label = int(key)
        self._counts["labels"] += 1
        self._counts["outside"] += label not in self._labels
        if not self._labels.keys().isdisjoint((label - 1, label, label + 1)):
            self._used.add(label)
        else:
            self._counts["far"] += 1
        if named is not None:
            self._counts["named"] += 1
            for shift in (0, -1, 1):
                self._counts[f"named {shift}"] += self._labels.get(label + shift) == named

    def describe_problem(self) -> str | None:
        """Return what proves a map that is off by one, and the remedy; None without proof.

        Proof is that all names agree with the neighbor's index and not all with their own. Without names, every label
        must be one of the map's indices moved by one, the labels must be more than half of those, and some must be
        outside the map.
        """
        if not self._labels or not self._counts["labels"] or self._counts["far"]:
            return None
        for shift in (-1, 1):
            moved = {index - shift for index in self._labels}
            by_name = self._counts[f"named {shift}"] == self._counts["named"] > self._counts["named 0"]
            fits = self._used <= moved and 2 * len(self._used) > len(moved)
            by_range = not self._counts["named"] and fits and self._counts["outside"]
            if by_name or by_range:
                return self._describe_shift(shift, moved)
        return None

    def describe_id_problem(self, what: str) -> str | None:
        """Return the same for a file's own ids, which have no names next to them.

        what: what the ids are of: category or image
        """
        if self.describe_problem() is None:
            return None
        return (
            f"the {what} ids are {min(self._labels)} to {max(self._labels)}, those of the annotations "
            f"{min(self._used)} to {max(self._used)}: {self._counts['outside']} of {self._counts['labels']} name no "
            f"{what}. They are off by one; let the {what} ids count from {min(self._used)} and import again"
        )

    def _describe_shift(self, shift: int, moved: set[int]) -> str:
        named = self._counts["named"]
        names = f" and all {named} class names agree with index label{shift:+d}" if named else ""
        return (
            f"its indices are {min(self._labels)} to {max(self._labels)}, the labels of the file "
            f"{min(self._used)} to {max(self._used)}: {self._counts['outside']} of {self._counts['labels']} are not "
            f"in the map{names}. The map is off by one; let its indices count from {min(moved)} and import again"
        )


def _is_index(key: str) -> bool:
    return key.removeprefix("-").isdecimal() and len(key) < 19
