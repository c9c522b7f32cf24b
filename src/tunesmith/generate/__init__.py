"""The only generation loop: chat, evaluation, retrieval and server use it."""
