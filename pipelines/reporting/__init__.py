"""The demo's `report.html`: one self-contained page that shows a round and its outcome."""
