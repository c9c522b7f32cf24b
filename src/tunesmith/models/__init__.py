"""Bases: from a name, a folder, a GGUF file or a hub id to a frozen model and tokenizer."""
