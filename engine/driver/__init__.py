"""Drive a run: which tasks are dispatched to which worker, and what becomes of each answer."""
