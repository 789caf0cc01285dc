#!/usr/bin/env bash
# Check what must come from the operating system; as root install it, else name it in one line.
#
#   packaging/setup/system.sh run|test|screenshots PYTHON
#
# Libraries are looked up by file, not by package: package names differ between releases.
set -euo pipefail

level=$1
python=$2

commands_run='g++:g++ bwrap:bubblewrap'
commands_test='Xvfb:xvfb xvfb-run:xvfb xauth:xauth git:git'
libraries='libglib-2.0.so.0:libglib2.0-0 libEGL.so.1:libegl1 libGL.so.1:libgl1
    libxkbcommon.so.0:libxkbcommon0 libxkbcommon-x11.so.0:libxkbcommon-x11-0
    libdbus-1.so.3:libdbus-1-3 libfontconfig.so.1:libfontconfig1 libX11-xcb.so.1:libx11-xcb1
    libxcb-cursor.so.0:libxcb-cursor0 libxcb-icccm.so.4:libxcb-icccm4
    libxcb-keysyms.so.1:libxcb-keysyms1 libxcb-image.so.0:libxcb-image0
    libxcb-render-util.so.0:libxcb-render-util0 libxcb-shape.so.0:libxcb-shape0
    libxcb-xinerama.so.0:libxcb-xinerama0'
fonts_screenshots='fonts-dejavu-core fonts-noto-cjk fonts-noto-color-emoji'

missing=()
commands=$commands_run
[ "$level" = run ] || commands+=" $commands_test"
for entry in $commands; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
done
known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
for entry in $libraries; do
    [[ $known == *"${entry%%:*} "* ]] || missing+=("${entry#*:}")
done
if [ "$level" = screenshots ]; then
    for font in $fonts_screenshots; do
        dpkg -s "$font" >/dev/null 2>&1 || missing+=("$font")
    done
fi
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("$version-venv")
"$python" -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' \
    2>/dev/null || missing+=("$version-dev")

[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
if ! command -v apt-get >/dev/null; then
    echo "Please install these first (Debian's names): ${missing[*]}" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Please run first: sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi
echo "Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
