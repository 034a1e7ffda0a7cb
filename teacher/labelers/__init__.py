"""Labelers: a teacher behind the interface of `schemas.labeler`, one file per kind."""
