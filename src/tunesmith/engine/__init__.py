"""The packed stream through a base: batch, attention, forward, head. It knows only the seams."""
