"""What importers share: images, boxes, spans, rows of the view's form, and the account of every record.

`docs/gold.md` lists formats and codes.
"""
