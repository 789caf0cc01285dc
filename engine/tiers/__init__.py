"""Which experts are kept where."""
