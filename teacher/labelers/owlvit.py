"""The teacher `owlvit`: each phrase is a query. The model looks at the image squeezed into a square."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from pydantic import Field

from schemas.labeler import Labeler
from teacher.huggingface.entry import HuggingFaceTeacher
from teacher.huggingface.owl import CLIP_RULES, OwlLabeler, OwlSettings
from teacher.registry import LabelerOptions


class OwlVitSettings(OwlSettings):
    """An OWL-ViT directory as teacher."""

    kind: Literal["owlvit"] = Field("owlvit", description="an OWL-ViT directory")


class OwlVitLabeler(OwlLabeler[OwlVitSettings]):
    """Asks OWL-ViT, which has no objectness."""

    score_kind = "owlvit.sigmoid"
    model_type = "owlvit"
    image_defaults = {**CLIP_RULES, "size": {"height": 768, "width": 768}, "resample": 3}
    image_switches = {
        "do_resize": True,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale": True,
        "do_normalize": True,
    }


class OwlVitTeacher(HuggingFaceTeacher[OwlVitSettings]):
    """A directory with `model_type: owlvit`."""

    description = "an OWL-ViT directory"
    settings_class = OwlVitSettings
    model_types = frozenset({OwlVitLabeler.model_type})
    had_rounded_boxes = False
    starting_policy = MappingProxyType({"min_score": 0.1})
    scores_from = "threshold 0.1 of the documentation of transformers; the floor is half of it"

    def make(self, settings: OwlVitSettings, options: LabelerOptions) -> Labeler:
        return OwlVitLabeler(settings, options, self.digest(settings))


ENTRY = OwlVitTeacher()
