"""Evidence to view: what a policy keeps of what the teacher saw, every region accounted for, without a GPU."""
