"""Were facts learned, or only the rows that tell them?"""
