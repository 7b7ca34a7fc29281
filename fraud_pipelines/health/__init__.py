"""Health: what an installation needs to run, checked one by one, each fault with its remedy."""
