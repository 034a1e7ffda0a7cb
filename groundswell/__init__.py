"""Groundswell's public Python API: `import groundswell as gs`.

Open labels as typed rows, Arrow, pandas or `datasets`; look at a row's image and boxes; run a teacher on one image;
compile a policy; load a student. `docs/python.md` shows each part.

The import is light: a part loads its libraries when it is first used. It also makes GLIP known to the Auto classes of
`transformers`, now or as soon as they are imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from groundswell.auto_classes import register_when_imported

if TYPE_CHECKING:
    from groundswell.drawing import draw
    from groundswell.grounding import GroundingTeacher, load_teacher
    from groundswell.images import load_image
    from groundswell.label_table import LabelTable, open_evidence, open_view
    from groundswell.policies import compile
    from groundswell.students import Student, load_student

__all__ = [
    "GroundingTeacher",
    "LabelTable",
    "Student",
    "compile",
    "draw",
    "load_image",
    "load_student",
    "load_teacher",
    "open_evidence",
    "open_view",
]

_MODULES = {
    "GroundingTeacher": "grounding",
    "LabelTable": "label_table",
    "Student": "students",
    "compile": "policies",
    "draw": "drawing",
    "load_image": "images",
    "load_student": "students",
    "load_teacher": "grounding",
    "open_evidence": "label_table",
    "open_view": "label_table",
}

register_when_imported()


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
