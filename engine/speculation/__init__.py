"""Guesses of what comes next, checked many at once by the model itself."""
