#!/usr/bin/env bash
# Make .venv ready: system libraries, pinned packages, compiled kernels.
#
#   packaging/setup/setup.sh run     what the program needs
#   packaging/setup/setup.sh test    that, and what tests and linters need
#
# Done work is remembered in .venv/.ready; while nothing it depends on changes, this ends at once.
set -euo pipefail
cd "$(dirname "$0")/../.."

level=${1:-run}
case $level in
run) extras= ;;
test) extras='[test,dev]' ;;
*) echo "usage: $0 [run|test]" >&2; exit 2 ;;
esac

fingerprint() {
    # The folder's own path counts: a moved checkout leaves stale paths in .venv.
    { pwd -P; sha256sum pyproject.toml packaging/constraints.txt packaging/setup/*; \
      sha256sum engine/native/cmake/CMakeLists.txt; \
      find engine/native/src -type f | sort | xargs sha256sum; } | sha256sum | cut -d' ' -f1
}
now=$(fingerprint)
ready=.venv/.ready
if [ -x .venv/bin/python ] && [ -f $ready ]; then
    read -r then reached <$ready || true
    if [ "$then" = "$now" ] && { [ "$reached" = "$level" ] || [ "$reached" = test ]; }; then exit 0; fi
    # A run set-up after a test set-up keeps the tests' packages fresh too.
    if [ "$reached" = test ]; then level=test extras='[test,dev]'; fi
fi

# --- Python: the plain python3 if new enough, else the newest named one ---------------------------
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if new_enough $candidate; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "Selenograph needs Python 3.11 or newer; found: $(python3 --version 2>&1 || true)" >&2
    echo "On Debian 12, Ubuntu 24.04 or newer: sudo apt-get install python3" >&2
    exit 1
fi

packaging/setup/system.sh "$level" "$python"

# --- the virtual environment ----------------------------------------------------------------------
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "Creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
pip() { .venv/bin/python -m pip "$@"; }
install() { pip install --quiet --disable-pip-version-check --constraint packaging/constraints.txt "$@"; }

echo "Installing packages (the first time takes a few minutes)"
# torch first and by itself, to get the build for the processor: the default one for Linux brings
# gigabytes of CUDA libraries. Sources configured on this machine win, then PyTorch's own index,
# and if neither has it, the default build serves as well.
# With an NVIDIA card, take that one later: .venv/bin/pip install --force-reinstall torch==VERSION
torch=$(grep -E '^torch==' packaging/constraints.txt)
if ! .venv/bin/python -c "import importlib.metadata as m; assert m.version('torch').split('+')[0] == '${torch#*==}'" 2>/dev/null; then
    if pip index versions torch 2>/dev/null | grep -qF "${torch#*==}+cpu"; then
        install "$torch"
    else
        install --retries 1 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$torch" ||
            { echo "PyTorch's index is out of reach, so the default build it is"; install "$torch"; }
    fi
fi
install scikit-build-core nanobind ninja cmake
echo "Compiling the kernels and installing Selenograph"
install --no-build-isolation --editable ".$extras"
.venv/bin/python -c 'import engine.native._kernels'

echo "$now $level" >$ready
