"""MDETR and GLIP mixed grounding: one row per caption, boxes tied to spans of it.

A caption does not name everything in its image. So this gold is not exhaustive: a noun that it does not name may be in
the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipelines.exchange.gold.box_frames import Frame, make_frame
from pipelines.exchange.gold.file_marks import has_lists, has_spans
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import (
    check_split,
    get_phrase,
    read_caption,
    require_file_name,
)
from pipelines.exchange.gold.rows import GoldPhrase, RowBuilder
from pipelines.exchange.gold.scores import BoxScores
from pipelines.exchange.gold.source_ids import BoxIds
from pipelines.exchange.importer import Importer, ImportOption
from schemas.rows import ViewRow
from student.gold.account import ImportAccount, RecordError, code_of_contents
from student.gold.coco.file import COCO_BOXES, check_boxes, read_coco_box
from student.gold.coco.store import CocoStore, JsonObject, id_text
from student.gold.spans import Span, read_spans

_KEPT = ("dataset_name", "data_source", "original_img_id", "sentence_id", "tokens_positive_eval")


class MdetrReader:
    """Rows of a grounding file."""

    exhaustive = False
    problems = ()
    questionable_names = ()
    category_ids = None

    def __init__(self, path: Path, options: ImportOptions, account: ImportAccount) -> None:
        self._path, self._options, self._account = path, options, account
        self._stated = options.state_convention(COCO_BOXES)
        self.facts: dict[str, object] = {}
        self.source_ids: BoxIds = ()

    def rows(self) -> Iterator[ViewRow]:
        """Yield one row per image record (one caption each), in the order of the file."""
        builder = RowBuilder(self._options.images_url)
        self.source_ids = builder.source_ids
        with CocoStore(self._path, self._account) as file:
            check_boxes(file, self._path, self._stated)
            self._scores = BoxScores(self._options, has_scores="score" in file.annotation_fields)
            for image, annotations in file.images():
                try:
                    row = self._build_row(builder, image, annotations)
                except RecordError as refused:
                    self._account.refuse("images", image["id"], refused.code, refused.detail)
                    self._account.refuse(
                        "annotations",
                        f"image {image['id']}",
                        code_of_contents(refused),
                        number=len(annotations),
                    )
                else:
                    yield row
            self.facts |= {"scores": self._scores.number} if self._scores.has_scores else {}

    def _build_row(self, builder: RowBuilder, image: JsonObject, annotations: list[JsonObject]) -> ViewRow:
        name = require_file_name(image, self._options)
        check_split(self._options, name, image["id"], image.get("original_img_id"))
        caption, caption_repairs = read_caption(image.get("caption"))
        frame = make_frame(image, name, self._options.images)
        phrases: dict[Span, GoldPhrase] = {}
        for annotation in annotations:
            self._add_annotation(annotation, image, caption, frame, phrases)
        self._add_evaluation_phrases(image, caption, phrases)
        self._account.keep("images", image["id"], (*frame.repairs, *caption_repairs))
        self._account.add_unknown(sum(phrase.unknown for phrase in phrases.values()))
        kept = {field: image[field] for field in _KEPT if field in image}
        in_order = [phrases[span] for span in sorted(phrases)]
        return builder.build(frame, name, caption, in_order, meta={"mdetr_image_id": image["id"], **kept})

    def _add_annotation(
        self,
        annotation: JsonObject,
        image: JsonObject,
        caption: str,
        frame: Frame,
        phrases: dict[Span, GoldPhrase],
    ) -> None:
        repairs: set[str] = set()
        text = annotation.get("phrase")
        texts = [text] if isinstance(text, str) and text.strip() else None
        try:
            size = (frame.width, frame.height)
            own = read_coco_box(annotation, image, size, self._stated or COCO_BOXES)
            box = frame.place(own.box)
            spans = read_spans(annotation.get("tokens_positive"), caption, texts, repairs)
            score = self._scores.read(own.score)
        except RecordError as refused:
            self._account.refuse("annotations", annotation.get("id"), refused.code, refused.detail)
            with suppress(RecordError):  # without a span the phrase of the box is unknown
                for span in read_spans(annotation.get("tokens_positive"), caption, texts, set()):
                    get_phrase(span, caption, phrases).unknown = True
            return
        for span in spans:
            get_phrase(span, caption, phrases).add_box(
                box, score, is_ignored=own.is_crowd, source_id=id_text(annotation.get("id"))
            )
        self._account.keep("annotations", annotation.get("id"), own.repairs | repairs)

    def _add_evaluation_phrases(
        self, image: JsonObject, caption: str, phrases: dict[Span, GoldPhrase]
    ) -> None:
        """Add phrases that an evaluation asks for and that no box names. They are unresolved."""
        asked = image.get("tokens_positive_eval")
        for number, spans in enumerate(asked if isinstance(asked, list) else []):
            repairs: set[str] = set()
            self._account.count("asked phrases")
            try:
                found = read_spans(spans, caption, None, repairs)
            except RecordError as refused:
                name = f"{image['id']} phrase {number}"
                self._account.refuse("asked phrases", name, refused.code, refused.detail)
                continue
            for span in found:
                get_phrase(span, caption, phrases)
            self._account.keep("asked phrases", f"{image['id']} phrase {number}", repairs)


def _recognize(path: Path) -> bool:
    return has_lists(path, "images", "annotations") and has_spans(path)


ENTRY = Importer(MdetrReader, frozenset({ImportOption.BOXES, ImportOption.ORIGIN}), recognize=_recognize)
