"""Cards: how each is asked, what was learned of it, and why it cannot be read."""
