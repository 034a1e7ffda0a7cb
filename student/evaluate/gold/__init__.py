"""Human gold for evaluation: from a COCO file or from imported gold, checked when it is read."""
