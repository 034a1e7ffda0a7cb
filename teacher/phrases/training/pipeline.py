"""The architecture of the bundled pipeline, and its files: no training strings, weights of ten mantissa bits.

The written folder loads as a normal spaCy directory. The same weights give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import spacy
import srsly
from pydantic import JsonValue
from spacy.language import Language
from spacy.pipeline import TrainablePipe

from teacher.phrases.training.treebank import Sentence

WIDTH, DEPTH = 96, 4
FEATURES = {"NORM": 4000, "PREFIX": 500, "SUFFIX": 2000, "SHAPE": 500}
"""Rows of the hashed embedding of each feature."""
_MANTISSA_BITS_DROPPED = 13

SOURCES = [
    {
        "name": "Universal Dependencies English Web Treebank, training part",
        "url": "https://github.com/UniversalDependencies/UD_English-EWT",
        "license": "CC BY-SA 4.0",
        "author": "Natalia Silveira, Timothy Dozat, Christopher Manning, Sebastian Schuster and others",
    },
    {
        "name": "GUM, training part, genres academic, bio, court, interview, news, speech, textbook, vlog, voyage",
        "url": "https://github.com/amir-zeldes/gum",
        "license": "annotations CC BY 4.0; texts CC BY, CC BY-SA 3.0 or public domain",
        "author": "Amir Zeldes and others",
    },
]


def make_pipeline(sentences: list[Sentence]) -> Language:
    """Return an untrained tagger and parser over one shared tok2vec, with the labels of the sentences."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": _tok2vec()})
    tagger = cast(
        TrainablePipe,
        nlp.add_pipe("tagger", config={"model": _on_tok2vec({"@architectures": "spacy.Tagger.v2"})}),
    )
    nlp.add_pipe("parser", config={"model": _on_tok2vec(_PARSER)})
    added_by_changes = {"VBP", "VBZ"}
    for tag in sorted({word.tag for sentence in sentences for word in sentence} | added_by_changes):
        tagger.add_label(tag)
    return nlp


def write_pipeline(nlp: Language, folder: Path, scores: Mapping[str, dict[str, float] | str | int]) -> None:
    """Write the pipeline as a spaCy directory with license, sources and scores in `meta.json`."""
    nlp.meta.update(
        name="groundswell",
        version="1.0.0",
        description="Tagger and parser for captions: Penn tags, Universal Dependencies relations.",
        author="Groundswell contributors",
        license="CC BY-SA 4.0",
        sources=SOURCES,
        performance=dict(scores),
    )
    nlp.to_disk(folder)
    # Reading captions needs the labels, not the words of the treebanks.
    srsly.write_json(folder / "vocab" / "strings.json", list_label_strings(nlp))


def list_label_strings(nlp: Language) -> list[str]:
    """Return the strings that the pipeline's annotations can contain, sorted."""
    labels = [
        label for name in ("tagger", "parser") for label in cast(TrainablePipe, nlp.get_pipe(name)).labels
    ]
    parts = [part for label in labels for part in label.split("||")]  # a lifted arc names two relations
    return sorted({*labels, *parts, "ROOT", "dep"})


def round_all_weights(nlp: Language) -> None:
    """Round every weight to ten mantissa bits: scores stay the same, and the files compress to half."""
    for _, component in nlp.pipeline:
        for node in cast(TrainablePipe, component).model.walk():
            for name in node.param_names:
                if node.has_param(name):
                    node.set_param(name, round_to_ten_bits(node.get_param(name)))


def round_to_ten_bits(weights: np.ndarray) -> np.ndarray:
    """Return float32 weights rounded to ten mantissa bits, ties to even."""
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    half = np.uint32((1 << (_MANTISSA_BITS_DROPPED - 1)) - 1)
    odd = (bits >> np.uint32(_MANTISSA_BITS_DROPPED)) & np.uint32(1)
    result = (bits + half + odd) & ~np.uint32((1 << _MANTISSA_BITS_DROPPED) - 1)
    return result.view(np.float32).reshape(weights.shape)


_PARSER: dict[str, JsonValue] = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "parser",
    "extra_state_tokens": False,
    "hidden_width": 64,
    "maxout_pieces": 2,
    "use_upper": True,
}


def _tok2vec() -> dict[str, JsonValue]:
    return {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": WIDTH,
            "attrs": list(FEATURES),
            "rows": list(FEATURES.values()),
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": WIDTH,
            "depth": DEPTH,
            "window_size": 1,
            "maxout_pieces": 3,
        },
    }


def _on_tok2vec(architecture: dict[str, JsonValue]) -> dict[str, JsonValue]:
    listener: dict[str, JsonValue] = {
        "@architectures": "spacy.Tok2VecListener.v1",
        "width": WIDTH,
        "upstream": "*",
    }
    return {**architecture, "tok2vec": listener}
