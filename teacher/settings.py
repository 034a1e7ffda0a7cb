"""What a job says about its phrases and its teacher. Imports no heavy library, so configurations load at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.settings import Settings


class PhraseSettings(Settings):
    """How noun phrases are found in captions."""

    pipeline: str = Field(
        "bundled",
        description="`bundled` (the best pipeline in the package), `lexicon` (a small tagger without a parser, several "
        "times as quick), or a spaCy model by name or path",
    )
    chunker: Literal["noun_chunks", "pos_grammar", "ngrams", "given"] = Field(
        "noun_chunks",
        description="noun_chunks: base noun phrases of the parse (of tags with `lexicon`); pos_grammar: determiner, "
        "adjectives, nouns by part of speech alone, as GLIP's demo does; ngrams: runs of up to four words, as OWL-ST "
        "does; given: only spans that come with the input",
    )
    expressions: bool = Field(
        False,
        description="also ask for referring expressions: a base phrase with all that describes it to its right; "
        "needs a parser",
    )
    partitives: Literal["inner", "whole"] = Field(
        "inner",
        description="`a group of people` is asked for as `people` (inner) or as one phrase (whole), as Flickr30k "
        "Entities counts it",
    )
    language: str = Field(
        "skip",
        description="what to do with captions that are not in English: skip (no phrases), given (only spans that come "
        "with the input), the name or path of a spaCy model to read them with, or off (read them as English)",
    )
    extra_nouns: tuple[str, ...] = Field(
        (),
        description="words, lower-case and singular, that `pipeline: lexicon` always reads as nouns, e.g. names of a "
        "closed world",
    )
    stop_heads: tuple[str, ...] = Field((), description="further head nouns whose phrases are not asked for")
    keep_heads: tuple[str, ...] = Field(
        (), description="head nouns to ask for although the bundled list stops them"
    )


class DecoySettings(Settings):
    """Nouns that are believed absent, asked for in a pass of their own to see how often the teacher says yes."""

    share: float = Field(
        0.0, ge=0, le=1, description="share of images that are asked; 0: none, no pool is made"
    )
    per_image: int = Field(4, ge=1, le=16, description="most decoys for one image")
    seed: int = Field(
        0,
        ge=0,
        le=2**53,
        description="of the pool's draw and of every choice; another seed is the way to another pool",
    )
    pool: str | None = Field(
        None,
        min_length=1,
        description="a file with `noun` or `noun TAB count` a line, or a pool that another output keeps; none: drawn "
        "from a bounded sample of the job's own captions when the job is planned",
    )


class DetectorSettings(Settings):
    """A closed-vocabulary detector as teacher: a phrase gets the boxes of the class its head noun names."""

    kind: Literal["detector"] = Field("detector", description="an ONNX detector of the YOLOX family")
    model: str = Field(description="path of the .onnx file")
    classes: tuple[str, ...] | None = Field(
        None, description="class names in the order of the model's outputs; none: the 80 of COCO"
    )
    nms_iou: float = Field(0.65, gt=0, le=1, description="suppression within a class above this IoU")


class GlipSettings(Settings):
    """A GLIP model as teacher: phrases are grounded by token alignment."""

    kind: Literal["glip"] = Field("glip", description="a GLIP model directory in Hugging Face's layout")
    model: str = Field(description="path of the model directory")
    prompt: Literal["auto", "caption", "phrases"] = Field(
        "auto",
        description="auto: the caption where it fits the token budget, lists of its phrases otherwise; caption: "
        "captions only, longer ones are split at phrase borders; phrases: always lists",
    )
    text_tokens: int | None = Field(
        None, ge=8, description="token budget of one prompt with its special tokens; none: the model's own"
    )
    pad_multiple: int = Field(
        32,
        ge=32,
        multiple_of=32,
        description="sides are padded to a multiple of this; a larger one makes fewer "
        "sizes, so that batches fill up, and costs pixels",
    )
    pad: Literal["bucket", "authors"] = Field(
        "bucket",
        description="bucket: padded by the image's own size; authors: to the batch's largest, for comparison with "
        "their numbers alone, since an image's scores then depend on its mates",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the model runs; not part of its digest"
    )


TeacherSettings = Annotated[DetectorSettings | GlipSettings, Field(discriminator="kind")]
