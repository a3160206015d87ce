"""Speech on request for the home page and the chat, in a process of its own."""
