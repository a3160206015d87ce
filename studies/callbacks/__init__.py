"""Callbacks, which are told how a trial goes: the terminal, a chat, trackers, the dashboard."""
