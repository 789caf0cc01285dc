"""``python -m engine.bench layer | engine | ...``: measure, print, and write where asked."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The command's exit code."""
    # Torch's threads would spin between its calls and take the kernels' cores; read on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from engine.bench.command import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
