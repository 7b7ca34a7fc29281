"""What an aggregate function is made of: its declaration, what is kept for it, and the compiled step."""
