"""Human gold from other tools' formats, one file for each format."""
