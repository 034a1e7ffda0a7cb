"""Labelers: a teacher behind the seam of `schemas.labeler`, one file per kind."""
