#!/usr/bin/env bash
# Run the tests: all but tests/e2e without a screen, then tests/e2e on a virtual one.
set -euo pipefail
cd "$(dirname "$0")/../.."

QT_QPA_PLATFORM=offscreen .venv/bin/python -m pytest --ignore=tests/e2e "$@"
if compgen -G 'tests/e2e/test_*.py' >/dev/null; then
    # A screen of its own even where there is one: windows must not pop up over somebody's work.
    QT_QPA_PLATFORM=xcb xvfb-run --auto-servernum --server-args='-screen 0 1600x1000x24' \
        .venv/bin/python -m pytest tests/e2e "$@"
fi
