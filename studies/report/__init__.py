"""What a person asks of a study: its state, its best trials, its repairs, its voices."""
