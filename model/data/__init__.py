"""From recordings and their texts to checked batches."""
