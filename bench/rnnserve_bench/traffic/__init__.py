"""Load against a running server: when to send, what to send, and what came of it."""
