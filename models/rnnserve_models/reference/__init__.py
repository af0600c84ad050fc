"""The same mathematics in plain NumPy, written from the equations: the oracle of every test."""
