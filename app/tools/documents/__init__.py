"""Files and pages of others made into text. What parses them runs in a process of its own."""
