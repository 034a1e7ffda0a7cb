"""The average of two models of one architecture, weight by weight (as WiSE-FT, arXiv 2109.01903, does after tuning).

Promise: the result is a complete model directory. Models whose weights differ in name or shape are refused, and the
error names the first such weight.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError
from student.data.trained_images import read_trained_images, write_prefixes
from teacher.models.weight_files import WEIGHTS

CARD = "README.md"
_END_OF_HEAD = "\n---\n"


def average_models(student: Path, teacher: Path, share: float, to: Path) -> None:
    """Write `(1 - share) * student + share * teacher` as a model directory, completely or not at all.

    The file of trained images has the images of both. The card says that the model is an average, above the student's
    own card.

    share:  in [0, 1]; integers (counters of a norm) are the student's
    raises: ConflictError if names or shapes of the weights differ
    """
    ours, theirs = _load_weights(student), _load_weights(teacher)
    _check_same_shapes(ours, theirs, student, teacher)
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(student, draft)
    save_file(
        {name: _average(value, theirs[name], share) for name, value in ours.items()},
        draft / WEIGHTS,
        metadata={"format": "pt"},
    )
    write_prefixes(draft, read_trained_images(student), read_trained_images(teacher))
    (draft / CARD).write_text(_make_card(student, teacher, share), encoding="utf-8")
    shutil.rmtree(to, ignore_errors=True)
    draft.rename(to)


def _make_card(student: Path, teacher: Path, share: float) -> str:
    """Return the student's card below a list of the averaged models. Its numbers are of the student alone."""
    own = (student / CARD).read_text(encoding="utf-8") if (student / CARD).exists() else ""
    head, mark, body = own.partition(_END_OF_HEAD) if own.startswith("---\n") else ("", "", own)
    parts = [
        f"- {part:.0%} of {name}, weights sha256 `{sha256_hex((folder / WEIGHTS).read_bytes())}`"
        for part, name, folder in ((1 - share, "a student", student), (share, "its teacher", teacher))
    ]
    lines = ["# The average of a student and its teacher, weight by weight", "", *parts, ""]
    return f"{head}{mark}" + "\n".join([*lines, "What follows is the student's own card.", "", body])


def _load_weights(model: Path) -> dict[str, Tensor]:
    path = model / WEIGHTS
    if not path.is_file():
        raise NotFoundError(f"{model} has no {WEIGHTS}: only model directories can be averaged")
    return load_file(path)


def _check_same_shapes(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], student: Path, teacher: Path
) -> None:
    for name in sorted(ours.keys() | theirs.keys()):
        shapes = [tuple(side[name].shape) if name in side else None for side in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise ConflictError(
                f"{name} is {shapes[0]} in {student} and {shapes[1]} in {teacher}: only models of one architecture "
                "and vocabulary can be averaged; set average: 0"
            )


def _average(ours: Tensor, theirs: Tensor, share: float) -> Tensor:
    if not ours.is_floating_point():
        return ours
    return ours.lerp(theirs.to(ours.dtype), share).contiguous()
