"""The training loop, its gradients and checkpoints; it yields events and prints nothing."""
