"""Learning: recurrent cells, text, and a trainer that leaves a run directory to export."""
