"""What a rule sees and proposes, and the arbiter that repairs a training run."""
