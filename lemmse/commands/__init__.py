"""What `python -m lemmse` does, a module for each group of commands."""
