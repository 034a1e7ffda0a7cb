"""How much the engine costs: beside bare loops and beside an idiomatic Ray Data pipeline, in one run."""
