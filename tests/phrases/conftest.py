"""One bundled phrase finder for all tests of this folder: loading spaCy costs seconds."""

import pytest

from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings


@pytest.fixture(scope="session")
def finder() -> SpacyPhraseFinder:
    return SpacyPhraseFinder(PhraseSettings())
