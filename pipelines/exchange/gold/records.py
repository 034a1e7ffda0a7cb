"""Fields of records that several formats share: file name, caption, crowd flag, phrase of a span."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from engine.reading.captions import clean_caption
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.rows import GoldPhrase, find_head
from schemas.errors import SampleRejectedError
from student.gold.account import RecordError
from student.gold.file_names import find_file_name
from student.gold.images.names import last_part
from student.gold.spans import Span


def require_file_name(image: Mapping[str, object], options: ImportOptions) -> str:
    """Return the file name of an image; its id if no image is looked for. Raises RecordError field_missing."""
    name = find_file_name(image)
    if name is None and options.images is None:
        return str(image["id"])
    if name is None:
        raise RecordError("field_missing", f"image {image.get('id')!r} has neither file_name nor coco_url")
    return name


def check_split(options: ImportOptions, file_name: str, *others: object) -> None:
    """Raise RecordError for an image that is not on the list of --split."""
    base = last_part(file_name)
    names = {file_name, base, PurePosixPath(base).stem, *map(str, others)}
    if options.split is not None and not names & options.split:
        raise RecordError("not_in_split")


def read_caption(value: object) -> tuple[str, tuple[str, ...]]:
    """Return the caption, its offsets unchanged, and the codes of repairs. Raises RecordError caption_bad."""
    if not isinstance(value, str):
        raise RecordError("caption_bad", f"{type(value).__name__}, expected text")
    try:
        stored = clean_caption(value)
    except SampleRejectedError as rejected:
        raise RecordError("caption_bad", str(rejected)) from rejected
    if stored.cut_from is not None:
        raise RecordError("caption_bad", f"{stored.cut_from} characters")
    return stored.text, ("caption_controls",) if stored.text != value else ()


def get_phrase(span: Span, caption: str, phrases: dict[Span, GoldPhrase]) -> GoldPhrase:
    """Return the phrase of a span. Add it if it is new."""
    if span not in phrases:
        phrases[span] = GoldPhrase(*span, root=find_head(caption[span[0] : span[1]]))
    return phrases[span]
