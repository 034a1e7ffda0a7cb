"""Rounds: label, compile, train, evaluate, promote, and repeat with the student as teacher."""
