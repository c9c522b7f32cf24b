"""What did tuning cost: probes of general ability and plain text, base against tuned."""
