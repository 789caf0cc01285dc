"""Which tokens are computed next."""
