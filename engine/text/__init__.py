"""Between characters and token ids: vocabulary, prompts, and the reading of what a model emits."""
