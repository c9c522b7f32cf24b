"""Tunesmith: fine-tune a language model's behaviour, and prove that it worked."""

__version__ = "0.1.0"
