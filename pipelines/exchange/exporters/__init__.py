"""Labels to other tools' formats, one file for each format."""
