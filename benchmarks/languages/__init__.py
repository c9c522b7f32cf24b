"""How well does a base read a language: what separates those that do from those that do not."""
