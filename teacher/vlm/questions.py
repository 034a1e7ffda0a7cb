"""What an endpoint is asked: phrases of a caption as texts, the instruction, and the request.

A text is asked once in a sample. Every phrase with that text gets its boxes, because a label or a number in the answer
names a text, and equal texts cannot be told apart.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from schemas.digests import digest_of
from schemas.records import Phrase
from teacher.vlm.settings import Style, VlmSettings

NO_TEXT = "PH_NO_TOKEN"
TEMPERATURE = 0

_QWEN = (
    "Locate every instance that belongs to the following categories: {texts}. Report bbox coordinates in JSON format: "
    '[{{"bbox_2d": [x1, y1, x2, y2], "label": "category"}}]. '
    "Write each label exactly as the category above. Report [] if there is no instance."
)
_JSON = (
    "Find the objects that these phrases name in the image.\n{texts}\n"
    'Answer with JSON alone: {{"boxes": [{{"phrase": 0, "box": [x0, y0, x1, y1]}}]}}. "phrase" is the number of the '
    'phrase. "box" is the left, top, right and bottom edge of one object, in thousandths of the width and height of '
    "the image, from 0 to 1000. Give each object a box of its own. Give no box to a phrase that the image does not "
    "show."
)
TEMPLATES: dict[Style, str] = {"qwen2.5": _QWEN, "qwen3": _QWEN, "json": _JSON}
_MARKUP = str.maketrans("<>[]", "    ")
_EDGES = " .,:;!?'\"`\u2018\u2019\u201c\u201d"


@dataclass(frozen=True)
class VlmQuestion:
    """Texts that are asked in one request, and for each the numbers of its phrases: none for a text of context."""

    texts: tuple[str, ...]
    phrases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class VlmQuestions:
    """The requests of a sample, and (phrase number, code) of phrases that cannot be asked."""

    questions: tuple[VlmQuestion, ...]
    dropped: tuple[tuple[int, str], ...]


def ask_phrases(phrases: Sequence[Phrase], limit: int) -> VlmQuestions:
    """Return the questions for all phrases, at most `limit` texts in each."""
    groups, dropped = _group_by_text(phrases, range(len(phrases)))
    return VlmQuestions(tuple(_split(groups, limit)), dropped)


def ask_decoys(phrases: Sequence[Phrase], limit: int) -> VlmQuestions:
    """Return the questions for the decoys. As many of the other phrases as have room are asked with them."""
    is_decoy = [phrase.kind == "decoy" for phrase in phrases]
    decoys, dropped = _group_by_text(phrases, [n for n, decoy in enumerate(is_decoy) if decoy])
    others, _ = _group_by_text(phrases, [n for n, decoy in enumerate(is_decoy) if not decoy])
    known = {normalize_label(text) for text, _ in decoys}
    context = [(text, ()) for text, _ in others if normalize_label(text) not in known]
    if not decoys:
        return VlmQuestions((), dropped)
    room = max(limit - len(decoys), 0)
    return VlmQuestions(tuple(_split([*context[:room], *decoys], limit)), dropped)


def _group_by_text(
    phrases: Sequence[Phrase], numbers: Sequence[int]
) -> tuple[list[tuple[str, tuple[int, ...]]], tuple[tuple[int, str], ...]]:
    """Return each text with its phrases, in order, and what has no text to ask for."""
    groups: dict[str, tuple[str, tuple[int, ...]]] = {}
    dropped: list[tuple[int, str]] = []
    for number in numbers:
        text = clean_text(phrases[number].text)
        label = normalize_label(text)
        if not label:
            dropped.append((number, NO_TEXT))
            continue
        first, own = groups.get(label, (text, ()))
        groups[label] = (first, (*own, number))
    return list(groups.values()), tuple(dropped)


def _split(groups: Sequence[tuple[str, tuple[int, ...]]], limit: int) -> list[VlmQuestion]:
    parts = [groups[first : first + limit] for first in range(0, len(groups), limit)]
    return [
        VlmQuestion(tuple(text for text, _ in part), tuple(own for _, own in part))
        for part in parts
        if any(own for _, own in part)
    ]


def clean_text(text: str) -> str:
    """Return the text on one line, without the brackets of special tokens such as <|im_end|> or [INST]."""
    printable = "".join(char if char.isprintable() else " " for char in text.translate(_MARKUP))
    return " ".join(printable.split())


def normalize_label(text: str) -> str:
    """Return what spellings of a label have in common, without case and punctuation at the ends; "" for no word."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_EDGES)
    return folded if any(char.isalnum() for char in folded) else ""


def write_instruction(texts: Sequence[str], style: Style) -> str:
    """Return the text of a request. Phrases are quoted as JSON strings."""
    quoted = [json.dumps(text, ensure_ascii=False) for text in texts]
    if style == "json":
        return TEMPLATES[style].format(texts="\n".join(f"{n}: {text}" for n, text in enumerate(quoted)))
    return TEMPLATES[style].format(texts=", ".join(quoted))


def make_request(settings: VlmSettings, image_url: str, texts: Sequence[str]) -> dict[str, JsonValue]:
    """Return the body of a request to /chat/completions."""
    body: dict[str, JsonValue] = {
        "model": settings.model,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": image_url}},
                    {"type": "text", "text": write_instruction(texts, settings.style)},
                ],
            }
        ],
        "max_tokens": settings.max_tokens,
        "temperature": TEMPERATURE,
        "seed": settings.seed,
        **settings.request,
    }
    return {name: value for name, value in body.items() if value is not None}


def request_digest(settings: VlmSettings, body: dict[str, JsonValue]) -> str:
    """Return the digest under which the answer is kept: of the request and the revision, not of the place."""
    return digest_of({"revision": settings.revision, "request": body})
