"""Human gold from other people's files: COCO and its relatives, MDETR grounding, Flickr30k Entities, ODVG.

`run.import_gold` is the door. Every importer yields rows of the view's form and tells a `Tally` what became of each
record; docs/gold.md lists formats and codes.
"""
