"""The teacher `owlv2`: each phrase is a query. The model looks at the image padded to a square."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from schemas.labeler import Labeler
from teacher.huggingface.entry import HuggingFaceTeacher
from teacher.huggingface.images import ImageRgb, Size
from teacher.huggingface.owl import CLIP_RULES, OwlLabeler, OwlSettings
from teacher.huggingface.square_resize import resize_square
from teacher.registry import LabelerOptions


class Owlv2Settings(OwlSettings):
    """An OWLv2 directory as teacher."""

    kind: Literal["owlv2"] = Field("owlv2", description="an OWLv2 directory")


class Owlv2Labeler(OwlLabeler[Owlv2Settings]):
    """Asks OWLv2. A region's `quality` is the sigmoid of the box's objectness, which no text changes."""

    score_kind = "owlv2.sigmoid"
    model_type = "owlv2"
    image_defaults = {**CLIP_RULES, "size": {"height": 960, "width": 960}}
    image_switches = {
        "do_rescale": True,
        "rescale": True,
        "do_pad": True,
        "do_resize": True,
        "do_normalize": True,
    }

    def resize(self, image_rgb_u8: ImageRgb, stored_size: Size | None = None) -> ImageRgb:
        """Return the image padded to a square and resized, float32 0..255. A reduced scale gives the same square."""
        assert self.rules.exact is not None, "the model's own size was checked when it was loaded"
        return resize_square(image_rgb_u8, self.rules.exact[0])

    def find_needed_size(self, stored_size: Size) -> Size:
        """Return the size of the image inside the model's square."""
        assert self.rules.exact is not None, "the model's own size was checked when it was loaded"
        share = self.rules.exact[0] / max(stored_size)
        return math.ceil(stored_size[0] * share), math.ceil(stored_size[1] * share)

    def get_box_frame(self, stored_size: Size) -> Size:
        """Return the square that the image is padded to: boxes are fractions of it."""
        return max(stored_size), max(stored_size)


class Owlv2Teacher(HuggingFaceTeacher[Owlv2Settings]):
    """A directory with `model_type: owlv2`."""

    description = "an OWLv2 directory"
    settings_class = Owlv2Settings
    model_types = frozenset({Owlv2Labeler.model_type})
    had_rounded_boxes = False
    starting_policy = MappingProxyType({"min_score": 0.1})
    scores_from = "threshold 0.1 of the documentation of transformers; the floor is half of it"

    def make(self, settings: Owlv2Settings, options: LabelerOptions) -> Labeler:
        return Owlv2Labeler(settings, options, self.digest(settings))


ENTRY = Owlv2Teacher()
