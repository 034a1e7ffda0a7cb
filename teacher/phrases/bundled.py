"""The spaCy pipeline of this package: its folder, and the digest of its files.

Files that differ from those of this version are refused before spaCy reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from schemas.digests import digest_of, sha256_hex
from schemas.errors import RuntimeEnvironmentError

if TYPE_CHECKING:
    from spacy.language import Language

FOLDER = Path(__file__).parent / "models" / "en_groundswell"
DIGEST = "sha256:cf9137c22899a8e17307516e2509de1548de942fa76d60e4c86cf4d697aaf465"
"""Digest of the folder's files. `python -m teacher.phrases.bundled` prints it for a newly trained pipeline."""
_TEXTS = frozenset({"LICENSE", "ATTRIBUTION.md"})


def folder_digest(folder: Path) -> str:
    """Return a digest over names and bytes of a model's files, without license texts and caches."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    by_name = [(path.relative_to(folder).as_posix(), path) for path in files if path.name not in _TEXTS]
    return digest_of([[name, sha256_hex(path.read_bytes())] for name, path in by_name])


def load_bundled(folder: Path = FOLDER, digest: str = DIGEST) -> Language:
    """Load the bundled tagger and parser. Raises RuntimeEnvironmentError if files were changed or are missing."""
    actual = folder_digest(folder)
    if actual != digest:
        raise RuntimeEnvironmentError(
            f"{folder}: the phrase pipeline's digest is {actual}, this version expects {digest}; reinstall the package"
        )
    import spacy

    return spacy.load(folder)


if __name__ == "__main__":
    print(folder_digest(FOLDER))
