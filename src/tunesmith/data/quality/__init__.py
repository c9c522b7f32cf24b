"""What is worth knowing of rows that a run would take: one question a file, told as warnings."""
