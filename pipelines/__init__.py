"""What we run: the command line, labelling, compiling, training, the demo, the audit and exports."""
