"""Words that a mirror image swaps, for prompts and settings.

`SIDES` matches "left" and "right", alone and in "lefthanded", "left-most", "right_side". It does not match in "bright",
"cleft", "righteous", "leftover". The meaning is not examined: "a cup left on the table" changes too, as in the GLIP
authors' code.
"""

from __future__ import annotations

import re

SIDES = re.compile(
    r"(?<![^\W_])(left|right)(?=(?:y|hand(?:ed|er)?s?|most|wards?|side)?(?![^\W_]))", re.IGNORECASE
)
