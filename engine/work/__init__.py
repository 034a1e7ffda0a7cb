"""How a unit is worked: cut, planned, handed out, run on one executor or the other."""
