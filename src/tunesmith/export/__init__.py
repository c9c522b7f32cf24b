"""Results written for other programs: GGUF for llama.cpp, a Modelfile for Ollama."""
