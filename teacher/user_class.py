"""A class of the user as teacher: `kind: my_module:MyTeacher`. The whole protocol is ten lines.

    class MyTeacher:
        digest = "my teacher, version 1"      # change it when your code gives other boxes
        score_kind = "my_teacher.score"       # optional: what the score means

        def __init__(self, model: str, **options): ...

        def find(self, image_rgb_u8, phrases):
            yield 0, (x0, y0, x1, y1), 0.9    # number of a phrase, pixels of the image, score from 0 to 1

`model` is `teacher.model` of the job, empty if the job gives none, and `options` are `teacher.options`. The digest of
the labels covers `digest`, the options and the bytes of the model's files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from schemas.boxes import as_boxes, clip
from schemas.errors import ConfigError, RuntimeEnvironmentError, SampleRejectedError
from schemas.labeler import PreparedSample
from schemas.records import Region, Sample

_Image = npt.NDArray[np.uint8]
_Answer = tuple[int, Sequence[float], float]


@runtime_checkable
class UserClass(Protocol):
    """What a user's class must have."""

    digest: str

    def __init__(self, model: str, **options: JsonValue) -> None: ...

    def find(self, image_rgb_u8: _Image, phrases: Sequence[str]) -> Iterable[_Answer]:
        """Return the number of a phrase, a box (xyxy pixels, half-open) and a score for each thing found."""
        ...


def is_user_class(value: object) -> TypeGuard[type[UserClass]]:
    """Return whether a value is a class with a method `find`."""
    return isinstance(value, type) and callable(getattr(value, "find", None))


def read_class_digest(user_class: type[UserClass], name: str) -> str:
    """Return the class's own digest. Raises ConfigError without one."""
    digest = getattr(user_class, "digest", None)
    if not isinstance(digest, str) or not digest:
        raise ConfigError(
            f"teacher {name!r}: the class has no `digest`; give it a text that you change when its boxes change, such "
            f'as digest = "{user_class.__name__}, version 1"'
        )
    return digest


@dataclass(frozen=True)
class _UserInput:
    image_rgb_u8: _Image
    phrases: tuple[int, ...]
    texts: tuple[str, ...]
    pass_index: int = 0


class UserClassLabeler:
    """`schemas.labeler.DecoyLabeler` around an object of a user's class. Images are asked one by one."""

    def __init__(
        self,
        user_class: type[UserClass],
        model: str,
        options: Mapping[str, JsonValue],
        *,
        batch_size: int,
        min_score: float,
        digest: str,
    ) -> None:
        """Make the user's object. An error that its class raises passes through."""
        self.digest = digest
        self.batch_size = batch_size
        self.score_kind = str(getattr(user_class, "score_kind", f"{user_class.__name__}.score"))
        self._name = f"{user_class.__module__}:{user_class.__qualname__}"
        self._min_score = min_score
        self._user = user_class(model, **options)

    def prepare(self, sample: Sample, image_rgb_u8: _Image) -> PreparedSample:
        """Keep the image and the texts of the phrases."""
        return self._prepare(sample, image_rgb_u8, is_decoy=False)

    def prepare_decoys(self, sample: Sample, image_rgb_u8: _Image) -> PreparedSample:
        """Keep the image and the texts of the decoys."""
        return self._prepare(sample, image_rgb_u8, is_decoy=True)

    def _prepare(self, sample: Sample, image_rgb_u8: _Image, is_decoy: bool) -> PreparedSample:
        numbers = tuple(
            n for n, phrase in enumerate(sample.phrases) if not is_decoy or phrase.kind == "decoy"
        )
        texts = tuple(sample.phrases[n].text for n in numbers)
        return PreparedSample(
            bucket=(), inputs=_UserInput(image_rgb_u8, numbers, texts, int(is_decoy)), second_pass=is_decoy
        )

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return the regions of each row."""
        return [[] if row is None else self._find(row.inputs) for row in batch]

    def _find(self, inputs: _UserInput) -> list[Region]:
        height, width = inputs.image_rgb_u8.shape[:2]
        regions = []
        for answer in self._user.find(inputs.image_rgb_u8, inputs.texts):
            place, box, score = self._check(answer, len(inputs.texts))
            x0, y0, x1, y1 = clip(as_boxes([box]), width, height)[0].tolist()
            if x1 > x0 and y1 > y0 and score >= self._min_score:
                regions.append(
                    Region(
                        phrase=inputs.phrases[place], x0=x0, y0=y0, x1=x1, y1=y1, score=score,
                        pass_index=inputs.pass_index,
                    )
                )  # fmt: skip
        return regions

    def _check(self, answer: _Answer, phrases: int) -> tuple[int, list[float], float]:
        """Return an answer with plain numbers. Raises RuntimeEnvironmentError for one of another form."""
        try:
            place, box, score = answer
            numbers = [float(side) for side in box]
            place, score = int(place), float(score)
        except (TypeError, ValueError) as error:
            raise self._make_error(answer, phrases) from error
        if len(numbers) != 4 or not 0 <= place < phrases:
            raise self._make_error(answer, phrases)
        if not all(math.isfinite(number) for number in (*numbers, score)):
            raise SampleRejectedError("TEACHER_NONFINITE", f"{self._name}: {answer!r} is not finite")
        if not 0 <= score <= 1:
            raise self._make_error(answer, phrases)
        return place, numbers, score

    def _make_error(self, answer: object, phrases: int) -> RuntimeEnvironmentError:
        return RuntimeEnvironmentError(
            f"teacher {self._name}: find() gave {str(answer)[:200]}; expected (number of a phrase below {phrases}, "
            "(x0, y0, x1, y1), score from 0 to 1); correct the class"
        )
