"""The subcommands of the terminal."""
