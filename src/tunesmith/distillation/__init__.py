"""A long prompt or a teacher turned into training rows."""
