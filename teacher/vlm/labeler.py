"""The labeler of an endpoint: images become requests, answers become regions.

A sample's requests depend on that sample alone, so batches change nothing. There is no score: every region has 1.0.
Equal answers cannot be promised by a remote model. So the first answer to a request is kept and used again.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from schemas.boxes import as_boxes
from schemas.errors import SampleRejectedError
from schemas.labeler import NO_SCORE, AnswerStore, PreparedSample
from schemas.records import Region, Sample
from teacher.registry import LabelerOptions
from teacher.vlm.answers import AnsweredBoxes, read_answer, reject
from teacher.vlm.endpoint import VlmEndpoint
from teacher.vlm.images import choose_size, encode_image
from teacher.vlm.pacing import SystemClock, WaitClock
from teacher.vlm.questions import (
    VlmQuestion,
    VlmQuestions,
    ask_decoys,
    ask_phrases,
    make_request,
    request_digest,
)
from teacher.vlm.replies import Completion
from teacher.vlm.settings import VlmSettings
from teacher.vlm.stored_answers import AnswerFolder, StoredAnswers

log = logging.getLogger(__name__)

SCORE = 1.0
_CUT = "length"

Outcome = list[Region] | SampleRejectedError


@dataclass(frozen=True)
class VlmInput:
    """The image as it is sent, and the questions about it."""

    image_url: str
    sent_size: tuple[int, int]
    stored_size: tuple[int, int]
    """(height, width)"""
    questions: tuple[VlmQuestion, ...]
    first_pass: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """What came of each question. It stays when the engine asks a failed batch again in parts."""


class VlmLabeler:
    """A `DecoyLabeler`, `AnswerKeeper` and `ProgressReporter` for an endpoint."""

    score_kind = NO_SCORE

    def __init__(
        self, settings: VlmSettings, options: LabelerOptions, digest: str, clock: WaitClock | None = None
    ) -> None:
        """Set up the connection. No request is sent."""
        self.digest = digest
        self.settings = settings
        self.batch_size = options.batch_size
        self._endpoint = VlmEndpoint(settings, clock or SystemClock())
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="vlm")
        # not every user of a labeler closes it
        self._release = weakref.finalize(self, _release, self._threads, self._endpoint)
        self._answers = StoredAnswers(AnswerFolder(settings.answers)) if settings.answers else None
        self._progress: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self.left_out: Counter[str] = Counter()
        """Boxes that were left out, by reason."""

    def keep_answers(self, store: AnswerStore) -> None:
        """Keep answers in the store, unless the settings name a folder."""
        if self.settings.answers is None:
            self._answers = StoredAnswers(store)

    def report_progress(self, progress: Callable[[], None]) -> None:
        """Call `progress` for each question that is settled. A batch may have many, and wait for a rate limit."""
        self._progress = progress

    def prepare(self, sample: Sample, image_rgb_u8: npt.NDArray[np.uint8]) -> PreparedSample:
        """Return the encoded image and the questions."""
        return self._prepare(ask_phrases(sample.phrases, self.settings.max_phrases), image_rgb_u8)

    def prepare_decoys(self, sample: Sample, image_rgb_u8: npt.NDArray[np.uint8]) -> PreparedSample:
        """Prepare for the decoys. Other phrases are asked with them, and their boxes are not used."""
        others = [phrase for phrase in sample.phrases if phrase.kind != "decoy"]
        limit = self.settings.max_phrases
        first = len(ask_phrases(others, limit).questions)
        prepared = self._prepare(ask_decoys(sample.phrases, limit), image_rgb_u8, first)
        return replace(prepared, second_pass=True)

    def _prepare(
        self, asked: VlmQuestions, image_rgb_u8: npt.NDArray[np.uint8], first_pass: int = 0
    ) -> PreparedSample:
        height, width = image_rgb_u8.shape[:2]
        size = choose_size(height, width, self.settings.style, self.settings.max_side)
        image_url = encode_image(image_rgb_u8, size, self.settings.image_format)
        inputs = VlmInput(image_url, size, (height, width), asked.questions, first_pass)
        return PreparedSample(bucket=(), inputs=inputs, dropped=asked.dropped)

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return the regions of each row. Requests of all rows are open at one time, up to `concurrency`.

        raises: SampleRejectedError if a row cannot be answered, after all others were asked; RuntimeEnvironmentError
        """
        rows: list[VlmInput | None] = [None if item is None else item.inputs for item in batch]
        self._ask_all([row for row in rows if row is not None])
        outcomes = [
            [] if row is None else [row.outcomes[n] for n in range(len(row.questions))] for row in rows
        ]
        for own in outcomes:
            for outcome in own:
                if isinstance(outcome, SampleRejectedError):
                    raise SampleRejectedError(outcome.code, outcome.detail)
        return [
            [region for outcome in own if not isinstance(outcome, SampleRejectedError) for region in outcome]
            for own in outcomes
        ]

    def _ask_all(self, rows: Sequence[VlmInput]) -> None:
        """Fill the missing outcomes. Raise what ends the run after the open requests have ended and were kept."""
        batch = _OpenBatch()
        missing = [(row, n) for row in rows for n in range(len(row.questions)) if n not in row.outcomes]
        futures = [self._threads.submit(self._fill_outcome, row, n, batch) for row, n in missing]
        try:
            wait(futures)
        finally:
            batch.stop.set()
            for future in futures:
                future.cancel()
        if batch.error is not None:
            raise batch.error

    def _fill_outcome(self, row: VlmInput, index: int, batch: _OpenBatch) -> None:
        question = row.questions[index]
        try:
            completion = self._complete(row.image_url, question, batch.stop)
            outcome: Outcome = self._make_regions(self._read(completion, question, row), row, index)
        except SampleRejectedError as rejected:
            outcome = rejected
        except Exception as error:
            batch.fail(error)
            return
        row.outcomes[index] = outcome
        self._progress()

    def _complete(self, image_url: str, question: VlmQuestion, stop: threading.Event) -> Completion:
        """Return the kept answer to a request, or ask and keep."""
        body = make_request(self.settings, image_url, question.texts)
        digest = request_digest(self.settings, body)
        kept = self._answers.find(digest) if self._answers else None
        if kept is not None:
            return kept
        completion = self._endpoint.ask(body, stop)
        return self._answers.keep(digest, completion) if self._answers else completion

    def _read(self, completion: Completion, question: VlmQuestion, row: VlmInput) -> AnsweredBoxes:
        settings = self.settings
        if completion.finish_reason == _CUT:
            reject(
                f"the answer was cut at {settings.max_tokens} tokens; raise teacher.max_tokens or lower "
                "teacher.max_phrases"
            )
        if completion.text is None:
            reject(f"the endpoint gave no text (finish_reason {completion.finish_reason})")
        return read_answer(completion.text, question.texts, settings.style, row.sent_size)

    def _make_regions(self, found: AnsweredBoxes, row: VlmInput, index: int) -> list[Region]:
        """Return the regions in pixels of the stored image, clipped. A box without area there is left out."""
        height, width = row.stored_size
        fractions_N4 = np.clip(as_boxes([box for _, box in found.boxes]), 0, 1)
        boxes_N4 = fractions_N4 * np.array([width, height, width, height])
        regions: list[Region] = []
        empty = 0
        for (position, _), (x0, y0, x1, y1) in zip(found.boxes, boxes_N4.tolist(), strict=True):
            if x1 <= x0 or y1 <= y0:
                empty += 1
                continue
            regions += [
                Region(
                    phrase=phrase,
                    x0=x0,
                    y0=y0,
                    x1=x1,
                    y1=y1,
                    score=SCORE,
                    pass_index=row.first_pass + index,
                )
                for phrase in row.questions[index].phrases[position]
            ]
        self._count("a label that was not asked for", found.unmatched)
        self._count("no area inside the image", empty)
        return regions

    def _count(self, reason: str, boxes: int) -> None:
        """Count boxes that are left out, and log it each time that their number doubles."""
        with self._lock:
            before = self.left_out[reason]
            after = self.left_out[reason] = before + boxes
        if after.bit_length() > before.bit_length():
            log.warning(
                "%d boxes of %s had %s and were left out; check teacher.style if there are many",
                after,
                self.settings.model,
                reason,
            )

    def close(self) -> None:
        """End the threads and close the connections. The labeler cannot be used after that."""
        self._release()


class _OpenBatch:
    """One call of `label`: the first error that ends it, and the signal for its other requests."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.error: Exception | None = None
        self._lock = threading.Lock()

    def fail(self, error: Exception) -> None:
        """Note the first error and stop the other requests."""
        with self._lock:
            if not self.stop.is_set():
                self.error = error
                self.stop.set()


def _release(threads: ThreadPoolExecutor, endpoint: VlmEndpoint) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    endpoint.close()
