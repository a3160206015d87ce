"""Telegram: its client, its messages in English and Russian, and its commands."""
