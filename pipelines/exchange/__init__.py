"""Labels in and out in the forms that others read and write, with a count of what a form cannot hold."""
