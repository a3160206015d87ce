"""Pages in a browser: what studies do, and a voice to talk to."""
