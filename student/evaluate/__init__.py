"""Numbers for any model or results file: COCO average precision, phrase recall, intervals over images.

`run.evaluate` is the door; `coco` and `phrases` hold the arithmetic.
"""
