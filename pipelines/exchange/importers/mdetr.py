"""MDETR and GLIP mixed grounding: one row per caption, boxes tied to spans of it.

What is said of a caption is not all that is there, so this gold is not exhaustive: a noun it does not name may be in
the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.reading.captions import clean_caption
from pipelines.exchange.gold.account import Refused, Tally, code_of_contained
from pipelines.exchange.gold.box_frames import Frame, frame_of
from pipelines.exchange.gold.boxes import read_box
from pipelines.exchange.gold.coco_store import CocoFile, same_form
from pipelines.exchange.gold.options import Options
from pipelines.exchange.gold.rows import GoldPhrase, RowMaker, head_of
from pipelines.exchange.gold.spans import Span, read_spans
from pipelines.exchange.importers.coco import check_split, file_name_of, is_crowd
from schemas.errors import SampleRejectedError

_KEPT = ("dataset_name", "data_source", "original_img_id", "sentence_id", "tokens_positive_eval")


class MdetrGold:
    """Rows of a grounding file."""

    exhaustive = False
    problems = ()

    def __init__(self, path: Path, options: Options, tally: Tally) -> None:
        self._path, self._options, self._tally = path, options, tally
        self.facts: dict[str, Any] = {}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per image record (a caption each), in the file's order."""
        maker = RowMaker(self._options.images_url)
        with CocoFile(self._path, self._tally) as file:
            for image, annotations in file.images():
                try:
                    row = self._row(maker, image, annotations)
                except Refused as refused:
                    self._tally.refused("images", image["id"], refused.code, refused.detail)
                    self._tally.refused(
                        "annotations",
                        f"image {image['id']}",
                        code_of_contained(refused),
                        number=len(annotations),
                    )
                else:
                    yield row

    def _row(
        self, maker: RowMaker, image: dict[str, Any], annotations: list[dict[str, Any]]
    ) -> dict[str, Any]:
        name = file_name_of(image)
        check_split(self._options, name, image["id"], image.get("original_img_id"))
        caption, caption_repairs = read_caption(image.get("caption"))
        frame = frame_of(image, name, self._options.images)
        phrases: dict[Span, GoldPhrase] = {}
        for annotation in annotations:
            self._add(annotation, image, caption, frame, phrases)
        self._add_asked(image, caption, phrases)
        self._tally.kept("images", image["id"], (*frame.repairs, *caption_repairs))
        self._tally.unknown(sum(phrase.unknown for phrase in phrases.values()))
        kept = {field: image[field] for field in _KEPT if field in image}
        in_order = [phrases[span] for span in sorted(phrases)]
        return maker.row(frame, name, caption, in_order, meta={"mdetr_image_id": image["id"], **kept})

    def _add(
        self,
        annotation: dict[str, Any],
        image: dict[str, Any],
        caption: str,
        frame: Frame,
        phrases: dict[Span, GoldPhrase],
    ) -> None:
        repairs: set[str] = set()
        text = annotation.get("phrase")
        texts = [text] if isinstance(text, str) and text.strip() else None
        try:
            box = frame.placed(read_box(annotation.get("bbox"), "xywh", frame.width, frame.height, repairs))
            spans = read_spans(annotation.get("tokens_positive"), caption, texts, repairs)
        except Refused as refused:
            self._tally.refused("annotations", annotation.get("id"), refused.code, refused.detail)
            with suppress(Refused):  # without a span nobody knows whose box it was
                for span in read_spans(annotation.get("tokens_positive"), caption, texts, set()):
                    phrase_at(span, caption, phrases).unknown = True
            return
        if not same_form(annotation["image_id"], image["id"]):
            repairs.add("number_form")
        for span in spans:
            phrase = phrase_at(span, caption, phrases)
            (phrase.ignored if is_crowd(annotation) else phrase.boxes).append(box)
        self._tally.kept("annotations", annotation.get("id"), repairs)

    def _add_asked(self, image: dict[str, Any], caption: str, phrases: dict[Span, GoldPhrase]) -> None:
        """Phrases that an evaluation asks for and that no box names: unresolved."""
        asked = image.get("tokens_positive_eval")
        for number, spans in enumerate(asked if isinstance(asked, list) else []):
            repairs: set[str] = set()
            self._tally.met("asked phrases")
            try:
                found = read_spans(spans, caption, None, repairs)
            except Refused as refused:
                name = f"{image['id']} phrase {number}"
                self._tally.refused("asked phrases", name, refused.code, refused.detail)
                continue
            for span in found:
                phrase_at(span, caption, phrases)
            self._tally.kept("asked phrases", f"{image['id']} phrase {number}", repairs)


def read_caption(value: Any) -> tuple[str, tuple[str, ...]]:
    """The caption with its offsets as they were, and repairs. Raises Refused caption_bad."""
    if not isinstance(value, str):
        raise Refused("caption_bad", f"{type(value).__name__}, expected text")
    try:
        stored = clean_caption(value)
    except SampleRejectedError as rejected:
        raise Refused("caption_bad", str(rejected)) from rejected
    if stored.cut_from is not None:
        raise Refused("caption_bad", f"{stored.cut_from} characters")
    return stored.text, ("caption_controls",) if stored.text != value else ()


def phrase_at(span: Span, caption: str, phrases: dict[Span, GoldPhrase]) -> GoldPhrase:
    """The phrase of a span, made when it is new."""
    if span not in phrases:
        phrases[span] = GoldPhrase(*span, root=head_of(caption[span[0] : span[1]]))
    return phrases[span]
