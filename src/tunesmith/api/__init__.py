"""A function for each verb: what the command line, a notebook and a program call."""
