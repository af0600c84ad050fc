"""Hours of mixed traffic against one server, and whether anything in it grows."""
