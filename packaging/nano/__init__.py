"""How the embedded model is made: corpus, vocabulary, training, export and rollouts.

Run it with ``PYTHONPATH=packaging python -m nano --help``.
"""
