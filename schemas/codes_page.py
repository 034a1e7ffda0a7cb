"""Print `docs/codes.md`, the page of all reason codes, with the texts of `codes.py`."""

from __future__ import annotations

from schemas.codes import PHRASE_CODES, SAMPLE_CODES, SHARD_CODES, UNIT_CODES

_HEAD = f"""# Reason codes

Written by `python -m {__package__}.codes_page > docs/codes.md`. Nothing is left out without one of these codes:
`label`, `status` and `verify` count them, and the tables `rejected/` and `data/` have them row by row. A code keeps its
meaning once published.
"""
_SECTIONS = (
    ("Samples", "The sample is counted as rejected. Its unit and its shard continue.", SAMPLE_CODES),
    ("Shards", "The whole file is not read. The run continues and ends with exit code 3.", SHARD_CODES),
    ("Units", "The unit could not be finished. The same command tries it again.", UNIT_CODES),
    (
        "Phrases",
        "The phrase was found, but the teacher is not asked for it. Its sample continues.",
        PHRASE_CODES,
    ),
)


def render_codes_page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for title, meaning, codes in _SECTIONS:
        rows = "\n".join(f"| `{code}` | {text} |" for code, text in codes.items())
        parts.append(f"## {title}\n{meaning}\n\n| code | meaning |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(render_codes_page(), end="")
