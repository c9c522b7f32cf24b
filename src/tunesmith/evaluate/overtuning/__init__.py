"""Did a run go on too long, break, or learn its rows by heart?"""
