"""The offline index: full-text search over folders of documents, with no network."""
