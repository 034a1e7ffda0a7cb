"""COCO-like files: their records joined on disk, read by one set of rules, and their types."""
