"""Did it work: what is asked, how it is scored, and the verdict."""
