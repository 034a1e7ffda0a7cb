"""Several records of one picture: no row says that a class is absent which another row of the picture has."""

from __future__ import annotations

from collections import Counter, defaultdict

from schemas.rows import ViewRow


class SamePictures:
    """Collects, by picture, the classes that any of its rows does not name as absent."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._classes: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, row: ViewRow) -> None:
        """Take note of a row. Rows without an image are of no known picture."""
        picture = row["image_sha256"]
        if picture is not None:
            self._rows[picture] += 1
            self._classes[picture] |= {p["root"] for p in row["phrases"] if p["fate"] != "absent"}

    def count_repeated(self) -> int:
        """Return the number of pictures with several rows."""
        return sum(rows > 1 for rows in self._rows.values())

    def reconcile(self, row: ViewRow) -> ViewRow:
        """Return the row with `unresolved` in place of `absent` for classes that another row of the picture has."""
        picture = row["image_sha256"]
        if picture is not None and self._rows[picture] > 1:
            for phrase in row["phrases"]:
                if phrase["fate"] == "absent" and phrase["root"] in self._classes[picture]:
                    phrase["fate"] = "unresolved"
        return row
