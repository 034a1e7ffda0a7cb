"""Estimates of how reliable labels are, computed from the labels alone."""
