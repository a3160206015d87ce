"""Corpora that the project can make or fetch by itself."""
