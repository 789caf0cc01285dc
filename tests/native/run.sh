#!/usr/bin/env bash
# Build and run the kernels' own test: plain, under the sanitizers, and for ARM in user-mode emulation.
#
#   tests/native/run.sh [plain|sanitized|symbols|arm]...   all without
set -euo pipefail
cd "$(dirname "$0")/../.."

parts=${*:-plain symbols sanitized arm}
build=build/native-tests

missing=()
need() { [ -e "$1" ] || missing+=("$2"); }
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_command g++ g++
need_command cmake cmake
need_command ninja ninja-build
[ "$(uname -m)" != x86_64 ] || need /usr/include/simde/x86/avx512.h libsimde-dev
if [[ " $parts " == *" arm "* && $(uname -m) != aarch64 ]]; then
    need_command aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
    need_command qemu-aarch64 qemu-user
fi
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "Please install first: sudo apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

compile() {  # FOLDER TARGET CMAKE-OPTIONS...
    cmake -S tests/native -B "$build/$1" -G Ninja -DCMAKE_BUILD_TYPE= "${@:3}" >/dev/null
    cmake --build "$build/$1" --target "$2"
}

# All that an instruction set's file may show others is its row of the table: an inline function of
# the library compiled with its instructions must never be the one that another file ends up calling.
check_symbols() {
    local object shown
    for object in $(find "$build/plain" -path '*shipped_*' -name '*.o'); do
        shown=$(nm --defined-only --extern-only --demangle "$object")
        if [ "$(wc -l <<<"$shown")" != 1 ] || ! grep -q ' selenograph::k[A-Z]' <<<"$shown"; then
            echo "$object shows more than its table:" >&2
            echo "$shown" >&2
            exit 1
        fi
    done
}

for part in $parts; do
    echo "== $part"
    case $part in
    plain)
        compile plain kernels
        "$build/plain/kernels"
        ;;
    symbols)
        compile plain all
        check_symbols
        ;;
    sanitized)
        compile sanitized kernels -Dsanitize=address,undefined
        "$build/sanitized/kernels"
        ;;
    arm)
        if [ "$(uname -m)" = aarch64 ]; then continue; fi   # it was plain
        compile arm kernels -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
            -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static
        qemu-aarch64 -cpu max "$build/arm/kernels" neon
        ;;
    *)
        echo "usage: $0 [plain|sanitized|symbols|arm]..." >&2
        exit 2
        ;;
    esac
done
