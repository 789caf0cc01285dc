"""How fast this machine runs our work, each figure beside its ceiling or its peer."""
