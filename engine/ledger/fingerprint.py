"""The fingerprint of a unit's evidence: everything that the evidence depends on.

Equal fingerprints mean equal evidence, so a unit is never redone without a reason that can be named.
"""

from __future__ import annotations

from dataclasses import dataclass
from json.encoder import encode_basestring

from engine.reading.shards import READER_VERSION
from engine.settings import InputSettings
from schemas.arrow import SCHEMA_VERSION
from schemas.digests import canonical_json, digest_of, sha256_hex
from schemas.ledger import FingerprintParts, Unit
from schemas.settings import EvidenceSettings

NO_DECOYS = "none"
_NAMES = {
    "input": "the shard's bytes",
    "first": "the cut into units",
    "count": "the cut into units",
    "reading": "how samples are read",
    "teacher": "the teacher",
    "phrases": "the phrase pipeline",
    "decoys": "the decoys",
    "evidence": "the evidence settings",
    "schema_version": "the evidence format",
    "selection": "the choice of samples",
    "keys": "the reading of keys",
}


@dataclass(frozen=True)
class MethodDigests:
    """The digests of everything except the input, the same for a whole job."""

    reading: str
    teacher: str
    phrases: str
    evidence: str
    decoys: str = NO_DECOYS


def method_digests(
    input_settings: InputSettings,
    evidence: EvidenceSettings,
    teacher: str,
    phrases: str,
    decoys: str = NO_DECOYS,
) -> MethodDigests:
    """Collect the digests of a job. The last three are those of labeler, phrase finder and decoy chooser."""
    reading = reading_digest(input_settings)
    return MethodDigests(
        reading=reading, teacher=teacher, phrases=phrases, evidence=evidence.digest(), decoys=decoys
    )


def reading_digest(input_settings: InputSettings) -> str:
    """Return the digest of how bytes become samples: the reader of this version and the job's settings for it."""
    return digest_of([READER_VERSION, input_settings.reading().identity()])


def build_parts(
    unit: Unit, method: MethodDigests, selection: str | None = None, keys: str | None = None
) -> FingerprintParts:
    """Return the parts of one unit's fingerprint.

    selection: digest of the selected keys of its shard; none: all keys
    keys:      how keys are read if earlier versions read them wrongly; otherwise none
    """
    return FingerprintParts(
        input=unit.input_digest,
        first=unit.first,
        count=unit.count,
        reading=method.reading,
        teacher=method.teacher,
        phrases=method.phrases,
        decoys=method.decoys,
        evidence=method.evidence,
        schema_version=SCHEMA_VERSION,
        selection=selection,
        keys=keys,
    )


class Fingerprints:
    """Computes the digest of `build_parts(unit, method).fingerprint()` for many units without building records."""

    def __init__(self, method: MethodDigests) -> None:
        self._before_first = _members(decoys=method.decoys, evidence=method.evidence)
        self._before_selection = _members(
            phrases=method.phrases, reading=method.reading, schema_version=SCHEMA_VERSION
        )
        self._last = _members(teacher=method.teacher)

    def of(
        self,
        input_digest: str,
        first: int,
        count: int,
        selection: str | None = None,
        keys: str | None = None,
    ) -> str:
        """Return the fingerprint of the unit [first, first + count) of a shard; other arguments as in `build_parts`."""
        chosen = "" if selection is None else f'"selection":{encode_basestring(selection)},'
        exact = "" if keys is None else f'"keys":{encode_basestring(keys)},'
        text = (
            f'{{"count":{count},{self._before_first},"first":{first},'
            f'"input":{encode_basestring(input_digest)},{exact}{self._before_selection},{chosen}{self._last}}}'
        )
        return "sha256:" + sha256_hex(text.encode())


def _members(**values: str) -> str:
    """Return the members of a canonical JSON object, without its braces."""
    return canonical_json(values).decode()[1:-1]


def describe_changes(before: FingerprintParts, after: FingerprintParts) -> list[str]:
    """Return in words what differs between two fingerprints."""
    old, new = before.model_dump(), after.model_dump()
    return list(
        dict.fromkeys(f"{_NAMES[name]} changed" for name in (*new, *old) if old.get(name) != new.get(name))
    )
