"""Long contexts and many sequences, measured on small models with K2's attention."""
