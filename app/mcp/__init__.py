"""Tools of other programs by the Model Context Protocol, and our own offered by it."""
