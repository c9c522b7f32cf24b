"""What `tunesmith serve` does under load, beside PEFT's batches and llama.cpp's server."""
