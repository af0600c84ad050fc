"""Load generation and honest comparison, all in one run on one machine."""
