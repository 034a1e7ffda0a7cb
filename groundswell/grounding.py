"""Run a teacher on one image: phrases of a caption become boxes, in the form of an evidence row."""

from __future__ import annotations

from pipelines.ground_image.teacher import GroundingTeacher, load_teacher

__all__ = ["GroundingTeacher", "load_teacher"]
