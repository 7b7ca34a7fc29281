"""Features: declarations, the history kernel and the derived expressions, one definition for batch and stream."""
