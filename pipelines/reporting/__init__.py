"""The demo's `report.html`: one self-contained page that shows a round and says plainly who won."""
