"""Folders of image files as shards."""
