"""What watches a training run, and where its history is kept."""
