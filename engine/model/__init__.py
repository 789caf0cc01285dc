"""The network: embedding, MLA, mixture of experts, head."""
