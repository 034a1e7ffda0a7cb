"""The teacher `mm-grounding-dino`: MM-Grounding-DINO, and LLMDet, whose weights have the same structure.

It is asked and read like Grounding DINO. Its logits have another scale (divided by the root of the width, plus a bias),
so its scores do not compare with those of `grounding-dino` and have a `score_kind` of their own.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from schemas.labeler import Labeler
from teacher.huggingface.entry import HuggingFaceTeacher
from teacher.huggingface.settings import PromptSettings
from teacher.labelers.grounding_dino import GroundingDinoLabeler, load_prompt_tokenizer
from teacher.prompts.packing import Budget
from teacher.registry import LabelerOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class MMGroundingDinoSettings(PromptSettings):
    """An MM-Grounding-DINO or LLMDet directory as teacher."""

    kind: Literal["mm-grounding-dino"] = Field(
        "mm-grounding-dino", description="an MM-Grounding-DINO or LLMDet directory"
    )


class MMGroundingDinoLabeler(GroundingDinoLabeler):
    """Asks MM-Grounding-DINO or LLMDet."""

    score_kind = "mm_grounding_dino.token_score"

    def get_model_class(self) -> type[PreTrainedModel]:
        from transformers import MMGroundingDinoForObjectDetection

        return MMGroundingDinoForObjectDetection


class MMGroundingDinoTeacher(HuggingFaceTeacher[MMGroundingDinoSettings]):
    """A directory with `model_type: mm-grounding-dino`."""

    description = "an MM-Grounding-DINO or LLMDet directory"
    settings_class = MMGroundingDinoSettings
    model_types = frozenset({"mm-grounding-dino"})
    min_score = 0.1
    starting_policy = MappingProxyType({"min_score": 0.4})
    scores_from = "threshold 0.4 of the documentation of transformers; the floor is well below it"

    def make(self, settings: MMGroundingDinoSettings, options: LabelerOptions) -> Labeler:
        return MMGroundingDinoLabeler(settings, options, self.digest(settings))

    def prompt_budget(self, path: Path) -> Budget:
        return load_prompt_tokenizer(path).budget


ENTRY = MMGroundingDinoTeacher()
