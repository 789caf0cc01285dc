"""Whether constrained replies are what they should be, and what that costs."""
