"""Programs: the command line, labeling, compiling, training, the demo, the audit and exports."""
