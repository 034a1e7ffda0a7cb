"""Reason codes: every reason why a sample, a shard, a unit or a phrase is left out.

A code keeps its meaning once published, because reports, policies and tests use it. Run as a program, this module
prints the page `docs/codes.md`.
"""

from __future__ import annotations

from collections.abc import Mapping

SAMPLE_CODES: dict[str, str] = {
    "IMG_MISSING": "no image member with one of the job's image extensions; in a folder also a caption without its "
    "image, a link out of the input folder, a link to nothing, a pipe and a device",
    "IMG_EMPTY": "the image has no bytes",
    "IMG_FORMAT": "the bytes are not JPEG, PNG, WEBP, GIF, BMP or TIFF",
    "IMG_SIZE": "more than 64 megapixels, a side outside 16..16384 px, an aspect ratio above 32, or a TIFF of "
    "huge tiles",
    "IMG_DECODE": "the decoder refused the bytes, or a JPEG has more than 100 scans",
    "IMG_TRUNCATED": "the image data ends early",
    "KEY_BAD": "the key column of a Parquet row is null, empty, not UTF-8, longer than 16,384 characters, or not a "
    "whole number; or the name of a file has a control character, `::` or bytes that are not UTF-8",
    "CAP_MISSING": "no caption member, file, row, field or column",
    "CAP_EMPTY": "the caption has no letter or digit",
    "CAP_UTF8": "the caption is not valid UTF-8 or has a lone surrogate",
    "CAP_LONG": "the caption is longer than 64 KiB; a caption above 2,000 characters is cut between words and its "
    "full length is recorded in `meta`",
    "JSON_BAD": "the json member, or the line of a .jsonl file, is not strict JSON, or is too large or too deep",
    "ROW_BAD": "a row of the file named by `input.captions` names no image, or has more or fewer cells than the header",
    "SPANS_BAD": "the field named by `input.spans` is missing, is not a list of at most 256 `[begin, end]`, or has a "
    "span that is outside its caption or has no letter or digit",
    "DUP_MEMBER": "the sample has two members of one kind, two text files or two rows",
    "MEMBER_LARGE": "a member is larger than 64 MiB",
    "FRAME_PADDED": "the stored image is a square with plain borders around an original of another shape, according "
    "to the recorded original sizes; relative coordinates of the original would be wrong",
    "TEACHER_ERROR": "the teacher raised an error on this sample alone",
    "TEACHER_NONFINITE": "the teacher returned a score or box that is not a finite number",
    "TEACHER_ANSWER": "the teacher answered in text, and the text is cut, has no boxes in the form that was asked for, "
    "or has only boxes of things that were not asked for",
    "OOM": "the teacher ran out of memory on this sample alone",
    "CRASH": "the sample killed a process that worked on it alone",
    "NOT_SELECTED": "the job's `input.only` does not name the sample",
    "TIMEOUT": "a process that worked on the sample alone exceeded the time limit",
}

SHARD_CODES: dict[str, str] = {
    "SHARD_MISSING": "the file or folder named by the job does not exist",
    "SHARD_TRUNCATED": "the archive does not end in two zero blocks, or a member is cut",
    "SHARD_FORMAT": "not an uncompressed tar or Parquet file, a tar with links, devices or sparse members, a folder "
    "that is a link out of the input, or an unreadable file of captions",
    "SHARD_LIMIT": "more members, rows, files, names or bytes than the reader allows",
    "SHARD_SCHEMA": "a Parquet file or a file of captions without the needed columns, or with a type that is not "
    "allowed",
    "INPUT_CHANGED": "the file, or a file of the folder, changed between planning and reading",
}

UNIT_CODES: dict[str, str] = {
    "WORKER_DIED": "the process that worked on the unit died in every attempt",
    "RECALLED": "its worker was shutting down before the unit began; counted among the retries only, because another "
    "worker takes the unit",
    "STORE_ERROR": "the store failed in every attempt",
    "UNIT_ERROR": "an error in Groundswell itself; its last lines are the detail",
}

PHRASE_CODES: dict[str, str] = {
    "PH_STOP_HEAD": "the head noun names nothing that a box can show (places in the frame, times, abstract nouns)",
    "PH_IMAGE_WORD": "the head noun names the picture, not a thing in it (photo, close-up, a portrait of)",
    "PH_PARTITIVE": "a quantity or part before `of`; the noun after `of` is a phrase of its own",
    "PH_LANGUAGE": "the caption is not in a language that the pipeline reads; the span is the whole caption",
    "PH_PRONOUN": "the phrase is a pronoun",
    "PH_JUNK": "file name, URL, markup, hashtag or a symbol",
    "PH_TOO_LONG": "the phrase alone is longer than the teacher's token budget",
    "PH_NO_TOKEN": "no token of the teacher's tokenizer is inside the span",
    "PH_NO_CLASS": "a decoy that names no class of the detector, or the class of another phrase",
    "PH_MEASURE": "a number or a measure without a thing",
}

_HEAD = f"""# Reason codes

Written by `python -m {__package__}.codes > docs/codes.md`. Nothing is left out without one of these codes:
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


def explain_counts(counts: Mapping[str, int]) -> list[str]:
    """Return a line for each code with its count and meaning, most frequent first."""
    meanings = SAMPLE_CODES | SHARD_CODES | UNIT_CODES | PHRASE_CODES
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{code} {count}: {meanings.get(code, 'unknown code')}" for code, count in ordered]


def check_code(code: str) -> str:
    """Return the code itself. Raises KeyError if it is not a reason code."""
    if any(code in codes for codes in (SAMPLE_CODES, SHARD_CODES, UNIT_CODES, PHRASE_CODES)):
        return code
    raise KeyError(f"{code!r} is not a reason code; docs/codes.md lists them")


def render_codes_page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for title, meaning, codes in _SECTIONS:
        rows = "\n".join(f"| `{code}` | {text} |" for code, text in codes.items())
        parts.append(f"## {title}\n{meaning}\n\n| code | meaning |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(render_codes_page(), end="")
