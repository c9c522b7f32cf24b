"""Which method, start and learning rate do what on four kinds of task: the evidence in docs."""
