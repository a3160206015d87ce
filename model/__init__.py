"""Tacotron 2: trains and speaks, and knows nothing of studies."""
