"""The commands of `rnnserve`, one a file; each is imported when it is called."""
