"""Whether the fixes fix: training spoilt in known ways, and healthy training, under several arms."""
