"""The auditor's room: draw a sample of a view, review it blind, and say how right the view is, with an interval.

A sample and its verdicts are bound to the digest of the view they were drawn from.
"""
