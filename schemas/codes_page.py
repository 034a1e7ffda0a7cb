"""`docs/codes.md`: the reason codes as a page. `python -m schemas.codes_page` prints it.

Promise: the page says what `schemas/codes.py` says, word for word.
"""

from __future__ import annotations

from schemas.codes import PHRASE_CODES, SAMPLE_CODES, SHARD_CODES, UNIT_CODES

_HEAD = """# Reason codes

Written by `python -m schemas.codes_page > docs/codes.md`. Nothing is left out without one of these: `label`,
`status` and `verify` count them, the tables `rejected/` and `data/` hold them row by
row. A code keeps its meaning once published.
"""
_SECTIONS = (
    ("Samples", "A sample that is in the counts as rejected; its unit and its shard go on.", SAMPLE_CODES),
    ("Shards", "A whole file that is not read; the run goes on and ends with exit code 3.", SHARD_CODES),
    ("Units", "A unit that could not be finished; the same command tries it again.", UNIT_CODES),
    ("Phrases", "A phrase that was found and not asked for; its sample goes on.", PHRASE_CODES),
)


def render_codes_page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for title, meaning, codes in _SECTIONS:
        rows = "\n".join(f"| `{code}` | {text} |" for code, text in codes.items())
        parts.append(f"## {title}\n{meaning}\n\n| code | meaning |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(render_codes_page(), end="")
