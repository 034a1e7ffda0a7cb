"""Records refuse invalid values, and the Arrow schemas have exactly their fields."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas import arrow
from schemas.codes import PHRASE_CODES, SAMPLE_CODES, SHARD_CODES, check_code
from schemas.ledger import SampleCounts, bare_url, unit_name
from schemas.records import DroppedPhrase, Phrase, Region, Rejection, Sample
from schemas.spans import check_span


def field_names(schema, column: str) -> set[str]:
    return {field.name for field in schema.field(column).type.value_type}


@pytest.mark.parametrize(
    ("names", "record"),
    [
        (field_names(arrow.EVIDENCE, "phrases"), Phrase),
        (field_names(arrow.EVIDENCE, "regions"), Region),
        (field_names(arrow.EVIDENCE, "dropped_phrases"), DroppedPhrase),
        (set(arrow.REJECTIONS.names), Rejection),
        (set(arrow.EVIDENCE.names) - {"regions"}, Sample),
    ],
)
def test_each_arrow_schema_holds_the_fields_of_its_record(names: set[str], record) -> None:
    assert names == set(record.model_fields)


def test_counts_that_do_not_add_up_cannot_exist() -> None:
    with pytest.raises(ValidationError, match="1 unaccounted for"):
        SampleCounts(samples_in=512, labelled=400, empty=98, rejected={"IMG_DECODE": 13})


def test_counts_add_reason_by_reason() -> None:
    a = SampleCounts(samples_in=3, labelled=1, empty=1, rejected={"IMG_DECODE": 1})
    b = SampleCounts(samples_in=2, labelled=0, empty=0, rejected={"IMG_DECODE": 1, "CAP_UTF8": 1})

    assert a.plus(b).rejected == {"CAP_UTF8": 1, "IMG_DECODE": 2}


def test_a_decoy_has_no_span_and_every_other_phrase_has_one() -> None:
    with pytest.raises(ValidationError):
        Phrase(text="a dog", root="dog")
    with pytest.raises(ValidationError):
        Phrase(text="a dog", root="dog", begin=0, end=5, kind="decoy")


def test_records_refuse_unknown_fields_and_changes() -> None:
    region = Region(phrase=0, x0=0, y0=0, x1=1, y1=1, score=0.5)

    with pytest.raises(ValidationError):
        Region(phrase=0, x0=0, y0=0, x1=1, y1=1, score=0.5, colour="red")
    with pytest.raises(ValidationError):
        region.score = 0.9


def test_a_row_with_an_unknown_field_is_refused_not_trimmed() -> None:
    with pytest.raises(KeyError, match="colour"):
        arrow.build_table(
            [{"unit": "u", "index": 0, "key": "k", "code": "OOM", "detail": "", "colour": 1}],
            arrow.REJECTIONS,
            {},
        )


def test_a_unit_is_named_by_its_shard_and_first_sample_and_not_by_a_signature() -> None:
    signed = "s3://bucket/a/00000.tar?X-Amz-Signature=abc"

    assert bare_url(signed) == "s3://bucket/a/00000.tar"
    assert unit_name(signed, 512) == unit_name("s3://bucket/a/00000.tar", 512)
    assert unit_name(signed, 512).endswith("-00000512")


def test_no_code_is_on_two_lists_and_an_unknown_code_is_refused() -> None:
    lists = [SAMPLE_CODES, SHARD_CODES, PHRASE_CODES]

    assert len({code for codes in lists for code in codes}) == sum(map(len, lists))
    with pytest.raises(KeyError):
        check_code("IMG_UGLY")


def test_a_span_that_names_other_text_is_refused() -> None:
    check_span("two 🐕 dogs", 6, 10, "dogs")
    with pytest.raises(ValueError, match="not 'dogs'"):
        check_span("two 🐕 dogs", 5, 9, "dogs")
