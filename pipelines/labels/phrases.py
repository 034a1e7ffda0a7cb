"""Captions with their phrases, for people and for scripts: what was found, what was dropped and why, the prompts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from schemas.codes import PHRASE_CODES
from schemas.labeler import FoundPhrases
from teacher.prompts.packing import Budget, PromptPlan, pack

_GREEN, _DIM, _CYAN, _OFF = "\x1b[1;32m", "\x1b[2m", "\x1b[36m", "\x1b[0m"
_MARKS = re.compile(r"\w+|[^\w\s]")


def word_budget(limit: int) -> Budget:
    """Return a budget that counts words and marks, plus two tokens: about what a teacher's tokenizer counts."""
    return Budget(limit, lambda text: len(_MARKS.findall(text)) + 2)


def describe_caption(caption: str, found: FoundPhrases, budget: Budget) -> dict[str, Any]:
    """Return caption, phrases, rejected spans and prompts as plain JSON values: one line of `phrases --json`.

    Spans are in code points and include the determiner.
    """
    asked = ("begin", "end", "text", "root", "kind", "groundable")
    plan = pack(caption, found.phrases, budget)
    return {
        "caption": caption,
        "phrases": [phrase.model_dump(include=set(asked)) for phrase in found.phrases],
        "rejected": [drop.model_dump() for drop in found.dropped],
        "prompts": [
            {"text": p.text, "spans": [[s.phrase, s.begin, s.end] for s in p.spans]} for p in plan.prompts
        ],
    }


def format_caption(caption: str, found: FoundPhrases, budget: Budget, color: bool) -> str:
    """Return the caption with `[phrases]` and `{dropped ones}` marked, each dropped one's reason, and the prompts."""
    paint = _make_painter(color)
    lines = [mark_caption(caption, found, codes=False, paint=paint)]
    lines += [
        f"  {phrase.kind} {paint(phrase.text, _GREEN)}, about {phrase.root!r}"
        for phrase in found.phrases
        if phrase.kind != "chunk"
    ]
    lines += [f"  {d.code} {paint(d.text, _DIM)}: {PHRASE_CODES[d.code]}" for d in found.dropped]
    return "\n".join([*lines, *_prompt_lines(pack(caption, found.phrases, budget), paint)])


def _make_painter(color: bool) -> Callable[[str, str], str]:
    return lambda text, code: f"{code}{text}{_OFF}" if color else text


def mark_caption(
    caption: str,
    found: FoundPhrases,
    *,
    codes: bool = True,
    paint: Callable[[str, str], str] = lambda text, _: text,
) -> str:
    """Return the caption with `[phrases]` and `{dropped ones: CODE}` marked in place.

    codes: whether a dropped phrase has its code
    paint: colors a text with an ANSI code
    """
    base = [
        (p.begin or 0, p.end or 0, "[", "]", _GREEN) for p in found.phrases if p.kind in ("chunk", "given")
    ]
    dropped = [(d.begin, d.end, "{", f": {d.code}}}" if codes else "}", _DIM) for d in found.dropped]
    text, done = "", 0
    for begin, end, opening, closing, code in sorted([*base, *dropped]):
        if begin >= done:
            text += caption[done:begin] + paint(opening + caption[begin:end] + closing, code)
            done = end
    return text + caption[done:]


def _prompt_lines(plan: PromptPlan, paint: Callable[[str, str], str]) -> list[str]:
    if not plan.prompts:
        return ["  no prompt: nothing to ask for"]
    return [f"  prompt {i}: {paint(prompt.text, _CYAN)}" for i, prompt in enumerate(plan.prompts, 1)]
