"""What a server stands: many sessions, more load than it can carry, and streams by the thousand."""
