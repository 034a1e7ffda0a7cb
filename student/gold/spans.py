"""Spans of foreign files as half-open spans in code points of the stored caption, repaired or refused.

The well-known loaders silently drop a span that does not fit. Here it is found again, or counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

from student.gold.account import RecordError

Span = tuple[int, int]

_SHIFTS = (1, -1, 2, -2)


def read_spans(value: JsonValue, caption: str, texts: list[str] | None, repairs: set[str]) -> list[Span]:
    """Return the phrases that `tokens_positive` means. Neighbors separated only by blanks are one phrase.

    texts:   the text of the spans, joined or one for each; None if the file does not give it
    repairs: gets the codes of what was repaired
    Raises RecordError no_span, span_outside, span_wrong.
    """
    if not isinstance(value, list) or not value:
        raise RecordError("no_span", f"{value!r}")
    spans = sorted(_check_inside(item, caption, repairs) for item in value)
    if texts is not None:
        return _match_texts(spans, caption, texts, repairs)
    joined = _join([_align_to_words(span, caption, repairs) for span in spans], caption)
    if len(joined) > 1:
        repairs.add("spans_split")
    return joined


def _check_inside(value: JsonValue, caption: str, repairs: set[str]) -> Span:
    """Return the pair if it contains text of the caption.

    An end up to two characters behind the caption is repaired.
    """
    sides = value if isinstance(value, list) else []
    numbers = [side for side in sides if isinstance(side, int) and not isinstance(side, bool)]
    if not len(sides) == len(numbers) == 2:
        raise RecordError("span_outside", f"{value!r} is no pair of whole numbers")
    begin, end = numbers
    beyond = max(end - len(caption), 0)
    if not 0 <= begin < end or beyond > 2 or not caption[begin:end].strip():
        raise RecordError("span_outside", f"{value} of {len(caption)} characters")
    if beyond:
        shifted = (begin - beyond, len(caption))
        moves = shifted[0] >= 0 and _is_aligned(shifted, caption)
        repairs.add("span_moved" if moves else "span_trimmed")
        return shifted if moves else (begin, len(caption))
    return begin, end


def _align_to_words(span: Span, caption: str, repairs: set[str]) -> Span:
    """Return the span on word borders: without blanks, moved by up to two characters, or widened to whole words."""
    if _is_aligned(span, caption):
        return span
    trimmed = _trim(span, caption)
    if _is_aligned(trimmed, caption):
        repairs.add("span_trimmed")
        return trimmed
    for shift in _SHIFTS:
        moved = (span[0] + shift, span[1] + shift)
        if moved[0] >= 0 and moved[1] <= len(caption) and _is_aligned(moved, caption):
            repairs.add("span_moved")
            return moved
    begin, end = trimmed
    while _is_inside_word(begin, caption):
        begin -= 1
    while _is_inside_word(end, caption):
        end += 1
    repairs.add("span_widened")
    return begin, end


def _trim(span: Span, caption: str) -> Span:
    text = caption[span[0] : span[1]]
    return span[0] + len(text) - len(text.lstrip()), span[1] - len(text) + len(text.rstrip())


def _is_aligned(span: Span, caption: str) -> bool:
    begin, end = span
    text = caption[begin:end]
    return (
        text == text.strip() != ""
        and not _is_inside_word(begin, caption)
        and not _is_inside_word(end, caption)
    )


def _is_inside_word(place: int, caption: str) -> bool:
    """Return whether letters or digits are on both sides. Only for scripts with capitals: others may not use blanks."""
    return 0 < place < len(caption) and all(
        char.lower() != char.upper() or char.isdecimal() for char in caption[place - 1 : place + 1]
    )


def _join(spans: list[Span], caption: str) -> list[Span]:
    """Return the spans sorted, with those that touch, overlap or are separated only by blanks joined."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and not caption[joined[-1][1] : begin].strip():
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _match_texts(spans: list[Span], caption: str, texts: list[str], repairs: set[str]) -> list[Span]:
    """Return spans whose text the file gives, too. If the two disagree, the text is right."""
    wanted = sorted(map(_normalize, texts))
    spans = [_trim(span, caption) for span in spans]
    for found in (_join(spans, caption), spans):
        said = [_normalize(caption[begin:end]) for begin, end in found]
        if wanted in (sorted(said), [" ".join(said)]):
            break
    else:
        repairs.add("span_moved")
        found = [
            _find_nearest(text, caption, spans[min(i, len(spans) - 1)][0]) for i, text in enumerate(texts)
        ]
    if len(found) > 1:
        repairs.add("spans_split")
    return found


def _find_nearest(text: str, caption: str, begin: int) -> Span:
    places = list(iter_occurrences(text, caption)) or list(iter_occurrences(text, caption, any_case=True))
    if not places:
        raise RecordError("span_wrong", f"{text!r} is not in the caption")
    return min(places, key=lambda place: abs(place[0] - begin))


def find_phrase(text: str, caption: str, taken: set[Span], repairs: set[str]) -> Span:
    """Return the place of a phrase without a span: as it is written, else in other letters. The first free place wins.

    Raises RecordError phrase_not_in_caption.
    """
    exact = list(iter_occurrences(text, caption))
    places = exact or list(iter_occurrences(text, caption, any_case=True))
    if not places:
        raise RecordError("phrase_not_in_caption", f"{text!r}")
    if not exact:
        repairs.add("span_case")
    if len(places) > 1:
        repairs.add("span_ambiguous")
    return next((place for place in places if place not in taken), places[0])


def iter_occurrences(text: str, caption: str, any_case: bool = False) -> Iterator[Span]:
    """Yield where the words of a phrase occur as whole words. With `any_case`, blanks between them may differ."""
    words = text.split()
    if not words:
        return
    pattern = r"\s+".join(map(re.escape, words)) if any_case else re.escape(text.strip())
    for match in re.finditer(pattern, caption, re.IGNORECASE if any_case else 0):
        if _is_aligned(match.span(), caption):
            yield match.span()


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())
