"""Checks this machine and says the fix for what is wrong."""
