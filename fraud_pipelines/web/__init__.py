"""What every server of this project shares: the guard before its pages, and the port it listens on."""
