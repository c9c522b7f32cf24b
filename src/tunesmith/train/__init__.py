"""The training loop, its checkpoints and its run folder; yields events and prints nothing."""
