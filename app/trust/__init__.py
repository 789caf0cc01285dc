"""Who lets a tool call run: patterns, rules, where targets come from, unattended scopes."""
