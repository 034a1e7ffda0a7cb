"""Rows of views for the tests of export formats."""

from __future__ import annotations

CAPTION = "ein Hund 🐕 und a café"


def make_row(index: int, regions: list[dict], shard: str = "s3://a/web/00000.tar") -> dict:
    """Return a row of a view with two phrases of its caption, a decoy and a dropped phrase."""
    common = {"kind": "chunk", "groundable": True, "truncated": False}
    phrases = [
        {"begin": 0, "end": 10, "text": "ein Hund 🐕", "root": "Hund", **common},
        {"begin": 15, "end": 21, "text": "a café", "root": "café", **common},
        {"begin": None, "end": None, "text": "a lynx", "root": "lynx", **common, "kind": "decoy"},
    ]
    seen = {region["phrase"] for region in regions if region["fate"] != "ignore"}
    for number, phrase in enumerate(phrases):
        phrase["fate"] = "positive" if number in seen else "unresolved"
    return {
        "unit": shard,
        "shard": shard,
        "index": index,
        "key": f"{index:09d}",
        "pixels": {"url": shard, "offset": 0, "length": 1},
        "image_sha256": "0" * 64,
        "meta": "{}",
        "width": 64,
        "height": 48,
        "caption": CAPTION,
        "phrases": phrases,
        "dropped_phrases": [{"begin": 11, "end": 14, "text": "und", "code": "PH_JUNK"}],
        "regions": regions,
    }


def make_region(phrase: int = 0, score: float = 0.7, **changed: object) -> dict:
    """Return a region of the row's phrase."""
    box = {"x0": 1.1, "y0": 2.0, "x1": 30.3, "y1": 40.0}
    extra = {"class_score": None, "quality": None, "pass_index": 0, "weight": 1.0, "fate": "positive"}
    return {"phrase": phrase, **box, "score": score, **extra, "origin": "teacher", **changed}
