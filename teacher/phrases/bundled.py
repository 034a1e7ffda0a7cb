"""The spaCy pipeline that comes with the package: where it stands, and what its files must be.

Promise: files that are not exactly the ones this version was made with are refused before spaCy reads them.
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
"""Of the folder's files; `python -m teacher.phrases.bundled` prints it for a newly trained one."""
_TEXTS = frozenset({"LICENSE", "ATTRIBUTION.md"})


def folder_digest(folder: Path) -> str:
    """Over names and bytes of a model's files; licence texts and caches apart."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    named = [(path.relative_to(folder).as_posix(), path) for path in files if path.name not in _TEXTS]
    return digest_of([[name, sha256_hex(path.read_bytes())] for name, path in named])


def load(folder: Path = FOLDER, digest: str = DIGEST) -> Language:
    """The bundled tagger and parser. Raises RuntimeEnvironmentError when the files were changed or are missing."""
    found = folder_digest(folder)
    if found != digest:
        raise RuntimeEnvironmentError(
            f"{folder}: the phrase pipeline's digest is {found}, this version expects {digest}; reinstall the package"
        )
    import spacy

    return spacy.load(folder)


if __name__ == "__main__":
    print(folder_digest(FOLDER))
