"""What searches are worth, simulated on surrogates that were fitted to real trainings."""
