"""Rounds: label, compile, gate, train, evaluate, promote, and again with the promoted student; with brakes."""
