"""The report: every sentence follows from the numbers, whichever way they came out."""
