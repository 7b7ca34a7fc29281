"""Recovery: backups of an installation, and their restoration on another machine or under another path."""
