"""Users: who may log in, as what; API keys."""
