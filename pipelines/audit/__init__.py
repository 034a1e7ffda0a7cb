"""Audits: draw a sample of a view, review it blind, and estimate the precision of the view with an interval.

A sample and its verdicts are bound to the digest of the view they were drawn from.
"""
