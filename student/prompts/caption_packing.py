"""Captions of other images around an image's own: what they speak of is absent, so the model learns to read.

The promise: the image's own spans keep their words and boxes, and a packed phrase whose noun the image has, too, is
masked rather than taught as absent. Source: the authors' packing of up to 20 captions, microsoft/GLIP at 9dda955; the
mask is ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from schemas.probe_nouns import ends_in_probe_noun
from student.data.examples import Example
from student.data.streams import Stream
from student.prompts.build import Prompt, PromptSpan, TokenBudget, may_be_there
from student.settings.prompt_text import SEPARATOR
from student.settings.train import CaptionPacking


def pack_captions(
    rng: np.random.Generator,
    stream: Stream,
    row: int,
    example: Example,
    prompt: Prompt,
    budget: TokenBudget,
) -> Prompt:
    """The prompt among captions of other images of the stream, shuffled, each ended by a separator.

    Of a large stream they are captions of the row's own block. Other captions of the same image are left out, for what
    they speak of is there, and captions that would pass the budget; the number drawn depends on `rng` and the settings
    alone.
    """
    number = packed_number(rng, stream.settings.packing)
    room = budget.limit - budget.count(prompt.text + SEPARATOR)
    pieces = [(prompt.text, prompt.spans)]
    said = {"", example.caption}
    peers, present = stream.examples.peers(row), may_be_there(stream, example)
    for place in rng.integers(len(peers), size=number):
        other = stream.examples[peers[int(place)]]
        if other.image_sha256 == example.image_sha256:
            continue
        cost = budget.count(other.caption + SEPARATOR)
        if cost <= room and other.caption not in said:
            pieces.append((other.caption, _masked(other, present, stream.probe_nouns_excluded)))
            said.add(other.caption)
            room -= cost
    if len(pieces) == 1:
        return prompt
    text, spans = "", []
    for index in rng.permutation(len(pieces)):
        words, own = pieces[index]
        spans += [span._replace(begin=span.begin + len(text), end=span.end + len(text)) for span in own]
        text += words + SEPARATOR
    return Prompt(text, tuple(spans), prompt.kind)


def packed_number(rng: np.random.Generator, packing: CaptionPacking) -> int:
    """None with one chance, else the most with another, else evenly fewer than the most."""
    if rng.random() < packing.none:
        return 0
    return packing.most if rng.random() < packing.full else int(rng.integers(packing.most))


def _masked(other: Example, present: Callable[[str], bool], probe_nouns_too: bool) -> tuple[PromptSpan, ...]:
    """Spans of another image's caption that may speak of this image; the rest needs none, having no box here.

    probe_nouns_too: mask those as well, so that they are not taught as absent
    """
    return tuple(
        PromptSpan(phrase.begin, phrase.end, masked=True)
        for phrase in (*other.phrases, *other.listed_absent)
        if present(phrase.root) or (probe_nouns_too and ends_in_probe_noun(phrase.root))
    )
