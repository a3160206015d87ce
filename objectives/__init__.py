"""What a trial is asked to do: train a voice and be measured."""
