"""Pack captions of other images around an image's own. Their content is absent, so the model must read the text.

Promise: the image's own spans keep their words and boxes. A packed phrase whose noun may be in the image is masked, not
taught as absent. Source: the authors' packing of up to 20 captions, microsoft/GLIP at 9dda955. The mask is ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from schemas.decoys import ends_in_probe_noun
from schemas.spans import PROMPT_SEPARATOR
from student.data.examples import TrainingExample
from student.data.streams import Stream
from student.prompts.training_prompt import PromptSpan, TokenBudget, TrainingPrompt, make_presence_test
from student.settings.streams import CaptionPacking


def pack_captions(
    rng: np.random.Generator,
    stream: Stream,
    row: int,
    example: TrainingExample,
    prompt: TrainingPrompt,
    budget: TokenBudget,
) -> TrainingPrompt:
    """Return the prompt among captions of other images of the stream, shuffled, each ended by a separator.

    In a large stream, the captions come from the row's own block. Other captions of the same image are left out, since
    their content is present. Captions that exceed the budget are left out too. The number drawn depends on `rng` and
    the settings alone.
    """
    number = draw_caption_count(rng, stream.settings.packing)
    room = budget.limit - budget.count(prompt.text + PROMPT_SEPARATOR)
    pieces = [(prompt.text, prompt.spans)]
    used = {"", example.caption}
    peers, may_be_present = stream.examples.peers(row), make_presence_test(stream, example)
    for place in rng.integers(len(peers), size=number):
        other = stream.examples[peers[int(place)]]
        if other.image_sha256 == example.image_sha256:
            continue
        cost = budget.count(other.caption + PROMPT_SEPARATOR)
        if cost <= room and other.caption not in used:
            pieces.append((other.caption, _mask_spans(other, may_be_present, stream.probe_nouns_excluded)))
            used.add(other.caption)
            room -= cost
    if len(pieces) == 1:
        return prompt
    text = ""
    spans: list[PromptSpan] = []
    for index in rng.permutation(len(pieces)):
        words, own = pieces[index]
        spans += [span._replace(begin=span.begin + len(text), end=span.end + len(text)) for span in own]
        text += words + PROMPT_SEPARATOR
    return TrainingPrompt(text, tuple(spans), prompt.kind)


def draw_caption_count(rng: np.random.Generator, packing: CaptionPacking) -> int:
    """Return 0 with chance `none`, else `most` with chance `full`, else a uniformly drawn lower number."""
    if rng.random() < packing.none:
        return 0
    return packing.most if rng.random() < packing.full else int(rng.integers(packing.most))


def _mask_spans(
    other: TrainingExample, may_be_present: Callable[[str], bool], mask_probe_nouns: bool
) -> tuple[PromptSpan, ...]:
    """Return the spans of another image's caption that may describe this image. The others have no box and no span.

    mask_probe_nouns: mask probe nouns too, so that they are not taught as absent
    """
    return tuple(
        PromptSpan(phrase.begin, phrase.end, masked=True)
        for phrase in (*other.phrases, *other.listed_absent)
        if may_be_present(phrase.root) or (mask_probe_nouns and ends_in_probe_noun(phrase.root))
    )
