"""The engine: a checkpoint on disk becomes an OpenAI-compatible endpoint on loopback.

Other packages import :mod:`engine.protocol` and :mod:`engine.errors` only.
"""
