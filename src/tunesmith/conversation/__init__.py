"""Chats with a base, its adapters and documents."""
