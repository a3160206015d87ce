"""Between text, spectrograms and sound; and a finished voice that speaks."""
