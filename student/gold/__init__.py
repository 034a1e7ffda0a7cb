"""Files of human labels: every record is kept, repaired or refused with a code."""
