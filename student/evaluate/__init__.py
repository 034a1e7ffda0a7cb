"""Evaluation of any model or results file: COCO average precision, phrase recall, intervals over images.

The entry point is `run.evaluate`.
"""
