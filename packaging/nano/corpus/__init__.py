"""Generated agent transcripts: worlds, tasks, phrasings."""
