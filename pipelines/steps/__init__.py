"""Work in steps that are remembered: what is done is not done again, and what a step made is checked."""
