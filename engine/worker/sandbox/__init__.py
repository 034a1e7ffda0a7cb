"""Sandbox: run units that may kill their process in processes of their own, and find the sample that is to blame."""
