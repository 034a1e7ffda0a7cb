"""Text that prompts and settings share: the separator of detection prompts, and the words that a mirror image swaps.

`SIDES` matches "left" and "right", alone and in "lefthanded", "left-most", "right_side". It does not match in "bright",
"cleft", "righteous", "leftover". The meaning is not examined: "a cup left on the table" changes too, as in the GLIP
authors' code.
"""

from __future__ import annotations

import re

SEPARATOR = ". "
SIDES = re.compile(
    r"(?<![^\W_])(left|right)(?=(?:y|hand(?:ed|er)?s?|most|wards?|side)?(?![^\W_]))", re.IGNORECASE
)
