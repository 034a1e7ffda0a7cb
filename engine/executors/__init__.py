"""Executors: run workers in this process, or as Ray actors."""
