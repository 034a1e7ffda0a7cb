"""What names a GLIP teacher: a digest over the files of its directory that decide its answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from schemas.digests import digest_of
from schemas.errors import NotFoundError
from teacher.settings import GlipSettings

METHOD_VERSION = 1
"""To be raised when a change of code changes regions: it is part of the digest."""
_WEIGHTS = ".safetensors"
_NAMES = frozenset(
    (
        "config.json",
        "processor_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
    )
)


def glip_digest(settings: GlipSettings) -> str:
    """Covers weights, configuration, tokenizer and prompting; not where the directory lies or what runs it.

    raises: NotFoundError when the directory holds no weights in safetensors form
    """
    folder = Path(settings.model)
    files = model_files(folder)
    if not any(name.endswith(_WEIGHTS) for name in files):
        raise NotFoundError(
            f"GLIP teacher {folder}: no .safetensors file there; teacher.model is a directory written by "
            "`groundswell train` or `groundswell model convert-glip`"
        )
    # As the authors pad, scores are others; named only then, so that evidence made before the choice keeps its digest.
    padding = {} if settings.pad == "bucket" else {"pad": settings.pad}
    return digest_of(
        {
            **padding,
            "kind": settings.kind,
            "method": METHOD_VERSION,
            "files": files,
            "prompt": settings.prompt,
            "text_tokens": settings.text_tokens,
            "pad_multiple": settings.pad_multiple,
        }
    )


def model_files(folder: Path) -> dict[str, str]:
    """sha256 of each file of a model directory that decides its answers, by name; empty where there is none."""
    files = sorted(path for path in folder.glob("*") if path.name in _NAMES or path.suffix == _WEIGHTS)
    return {path.name: _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
