"""The packed stream through a base model: batch, attention, forward, head; knows only the seams."""
