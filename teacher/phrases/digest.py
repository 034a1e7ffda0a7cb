"""The digest of a phrase pipeline: over everything that decides its phrases.

It is computed without loading spaCy, so a resumed job with no work left starts at once.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path

from schemas.digests import digest_of
from schemas.errors import NotFoundError
from teacher.phrases import bundled
from teacher.phrases.chunkers.registry import CHUNKERS
from teacher.phrases.judge import stop_heads
from teacher.phrases.tagging import lexicon
from teacher.settings import PhraseSettings

RULES_VERSION = 2
"""Raise it if a change of code changes phrases. It is part of the digest."""

LANGUAGE_POLICIES = ("skip", "given", "off")


def finder_digest(settings: PhraseSettings) -> str:
    """Return a digest over settings, rules, word lists or the model's files, and spaCy's version."""
    lists = (
        stop_heads.STOP_HEADS,
        stop_heads.BEFORE_OF,
        stop_heads.IMAGE_BEFORE_OF,
        stop_heads.UNLESS_COMPOUND,
        stop_heads.CATALOG,
        stop_heads.MEASURES,
        stop_heads.PRONOUNS,
    )
    chunker = CHUNKERS.load(settings.chunker)
    return digest_of(
        {
            "settings": settings.model_dump(mode="json"),
            "rules": RULES_VERSION,
            "spacy": version("spacy"),
            "stop_heads": [sorted(words) for words in lists],
            "lexicon": lexicon.lexicon_digest(),  # every pipeline takes singular forms of roots from it
            "model": _model_digest(settings.pipeline, "phrases.pipeline"),
            "other_model": None
            if settings.language in LANGUAGE_POLICIES
            else _model_digest(settings.language, "phrases.language"),
            **({} if chunker.version == 1 else {"chunker_version": chunker.version}),
        }
    )


def find_model_folder(name: str, setting: str = "phrases.pipeline") -> Path:
    """Return the folder of a spaCy model, given by path or by the name of its package. Raises NotFoundError.

    setting: the configuration field that names the model, for the error
    """
    if Path(name, "meta.json").is_file():
        return Path(name)
    package = importlib.util.find_spec(name) if name.isidentifier() else None
    for place in (package.submodule_search_locations or []) if package else []:
        if meta := next(Path(place).glob("*/meta.json"), None):
            return meta.parent
    other = "`language: skip`" if setting == "phrases.language" else "`pipeline: bundled`"
    raise NotFoundError(
        f"{setting} {name!r} is neither a spaCy model directory nor an installed model; "
        f"install it (python -m spacy download {name}) or use {other}"
    )


def _model_digest(name: str, setting: str) -> str | None:
    if name == "lexicon":
        return None
    return bundled.DIGEST if name == "bundled" else bundled.folder_digest(find_model_folder(name, setting))
