"""How our tables came to be what they are, one script a revision; none is ever changed again."""
