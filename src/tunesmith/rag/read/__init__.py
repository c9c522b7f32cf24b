"""Files of each kind, read into documents."""
