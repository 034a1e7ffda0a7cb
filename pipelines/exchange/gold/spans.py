"""Spans of other people's files as half-open spans in code points of the stored caption, mended or refused.

The well-known loaders drop a span that does not fit in silence; here it is found again, or counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.exchange.gold.account import Refused

Span = tuple[int, int]

_SHIFTS = (1, -1, 2, -2)


def read_spans(value: Any, caption: str, texts: list[str] | None, repairs: set[str]) -> list[Span]:
    """The phrases that `tokens_positive` means: neighbours parted by blanks alone are one.

    texts:   what the spans are said to be, joined or one for each; None where the file does not say
    repairs: gets the codes of what was mended
    raises:  Refused no_span, span_outside, span_wrong
    """
    if not isinstance(value, list) or not value:
        raise Refused("no_span", f"{value!r}")
    spans = sorted(_inside(item, caption, repairs) for item in value)
    if texts is not None:
        return _told(spans, caption, texts, repairs)
    joined = _joined([_on_words(span, caption, repairs) for span in spans], caption)
    if len(joined) > 1:
        repairs.add("spans_split")
    return joined


def _inside(value: Any, caption: str, repairs: set[str]) -> Span:
    """The pair itself where it holds text of the caption; an end up to two characters behind the caption is mended."""
    good = isinstance(value, list) and len(value) == 2
    if not good or not all(isinstance(side, int) and not isinstance(side, bool) for side in value):
        raise Refused("span_outside", f"{value!r} is no pair of whole numbers")
    begin, end = value
    beyond = max(end - len(caption), 0)
    if not 0 <= begin < end or beyond > 2 or not caption[begin:end].strip():
        raise Refused("span_outside", f"{value} of {len(caption)} characters")
    if beyond:
        shifted = (begin - beyond, len(caption))
        moves = shifted[0] >= 0 and _fits(shifted, caption)
        repairs.add("span_moved" if moves else "span_trimmed")
        return shifted if moves else (begin, len(caption))
    return begin, end


def _on_words(span: Span, caption: str, repairs: set[str]) -> Span:
    """The span on borders of words: without blanks, or moved by up to two characters, or widened to whole words."""
    if _fits(span, caption):
        return span
    trimmed = _trimmed(span, caption)
    if _fits(trimmed, caption):
        repairs.add("span_trimmed")
        return trimmed
    for shift in _SHIFTS:
        moved = (span[0] + shift, span[1] + shift)
        if moved[0] >= 0 and moved[1] <= len(caption) and _fits(moved, caption):
            repairs.add("span_moved")
            return moved
    begin, end = trimmed
    while _inside_word(begin, caption):
        begin -= 1
    while _inside_word(end, caption):
        end += 1
    repairs.add("span_widened")
    return begin, end


def _trimmed(span: Span, caption: str) -> Span:
    text = caption[span[0] : span[1]]
    return span[0] + len(text) - len(text.lstrip()), span[1] - len(text) + len(text.rstrip())


def _fits(span: Span, caption: str) -> bool:
    begin, end = span
    text = caption[begin:end]
    return text == text.strip() != "" and not _inside_word(begin, caption) and not _inside_word(end, caption)


def _inside_word(place: int, caption: str) -> bool:
    """Whether letters or digits stand on both sides. Only scripts with capitals: others may write without blanks."""
    return 0 < place < len(caption) and all(
        char.lower() != char.upper() or char.isdecimal() for char in caption[place - 1 : place + 1]
    )


def _joined(spans: list[Span], caption: str) -> list[Span]:
    """Sorted spans, those that touch, overlap or are parted by blanks alone as one."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and not caption[joined[-1][1] : begin].strip():
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _told(spans: list[Span], caption: str, texts: list[str], repairs: set[str]) -> list[Span]:
    """Spans whose text the file tells as well: where the two disagree, the text is right."""
    wanted = sorted(map(_words, texts))
    spans = [_trimmed(span, caption) for span in spans]
    for found in (_joined(spans, caption), spans):
        said = [_words(caption[begin:end]) for begin, end in found]
        if wanted in (sorted(said), [" ".join(said)]):
            break
    else:
        repairs.add("span_moved")
        found = [_nearest(text, caption, spans[min(i, len(spans) - 1)][0]) for i, text in enumerate(texts)]
    if len(found) > 1:
        repairs.add("spans_split")
    return found


def _nearest(text: str, caption: str, begin: int) -> Span:
    places = list(places_of(text, caption)) or list(places_of(text, caption, any_case=True))
    if not places:
        raise Refused("span_wrong", f"{text!r} is not in the caption")
    return min(places, key=lambda place: abs(place[0] - begin))


def find_phrase(text: str, caption: str, taken: set[Span], repairs: set[str]) -> Span:
    """The place of a phrase that has no span: as it is written, else in other letters; the first that is free.

    raises: Refused phrase_not_in_caption
    """
    exact = list(places_of(text, caption))
    places = exact or list(places_of(text, caption, any_case=True))
    if not places:
        raise Refused("phrase_not_in_caption", f"{text!r}")
    if not exact:
        repairs.add("span_case")
    if len(places) > 1:
        repairs.add("span_ambiguous")
    return next((place for place in places if place not in taken), places[0])


def places_of(text: str, caption: str, any_case: bool = False) -> Iterator[Span]:
    """Where the words of a phrase stand as whole words; blanks between them may differ with `any_case`."""
    words = text.split()
    if not words:
        return
    pattern = r"\s+".join(map(re.escape, words)) if any_case else re.escape(text.strip())
    for match in re.finditer(pattern, caption, re.IGNORECASE if any_case else 0):
        if _fits(match.span(), caption):
            yield match.span()


def _words(text: str) -> str:
    return " ".join(text.casefold().split())
