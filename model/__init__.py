"""Tacotron 2: its data, network, training and voices. Nothing here knows of studies."""
