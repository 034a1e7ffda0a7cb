"""The words that a mirror image turns round: 'left' and 'right', alone and in 'lefthanded', 'left-most', 'right_side'.

Not in 'bright', 'cleft', 'righteous', 'leftover'. What is meant is not asked: 'a cup left on the table' turns, too, as
in the GLIP authors' code.
"""

from __future__ import annotations

import re

SIDES = re.compile(
    r"(?<![^\W_])(left|right)(?=(?:y|hand(?:ed|er)?s?|most|wards?|side)?(?![^\W_]))", re.IGNORECASE
)
