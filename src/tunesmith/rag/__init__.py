"""Documents as passages that a question finds: read, cut, kept, searched, put into a prompt."""
