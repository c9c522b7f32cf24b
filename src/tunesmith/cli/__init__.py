"""The command line: it parses, calls what lies below, and prints."""
