"""Tacotron 2 itself: layers, attention, losses, and measures of its alignment."""
