"""Detectors with a fixed list of classes: an image in, boxes with classes out."""
