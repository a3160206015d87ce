"""What leaves the machine: kept as rows, and sent to trackers and to a chat."""
