#!/usr/bin/env bash
# The test equipment: what tests, demo and lint need on a Debian machine beside Rust.
#
#   tests/equipment.sh install demo|test|lint   install what is missing (root), or say how to (everybody else)
#   tests/equipment.sh kryoptic                 build the Kryoptic PKCS#11 module once; print its path
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

demo_packages=(softhsm2 gpgv sqv git gcc libc6-dev ca-certificates)
test_packages=("${demo_packages[@]}" opensc gnupg xz-utils faketime jq openssl openssh-client make pkg-config perl clang libclang-dev)
lint_packages=(gcc libc6-dev git ca-certificates)

nextest_version=0.9.143
deny_version=0.20.2

# The command, or the file, that shows that a package is there; by default a command of the package's name.
declare -A proof=(
    [softhsm2]=softhsm2-util
    [opensc]=pkcs11-tool
    [gnupg]=gpgsm
    [openssh-client]=ssh-keygen
    [xz-utils]=xz
    [ca-certificates]=/etc/ssl/certs/ca-certificates.crt
    [libc6-dev]=/usr/include/stdio.h
    [perl]='/usr/share/perl/*/IPC/Cmd.pm'
    [libclang-dev]='/usr/lib/llvm-*/lib/libclang*.so*'
)

say() { printf 'equipment: %s\n' "$*" >&2; }

present() {
    local shown=${proof[$1]:-$1}
    case $shown in
        /*) compgen -G "$shown" >/dev/null ;;
        *) command -v "$shown" >/dev/null ;;
    esac
}

need_packages() {
    local package missing=()
    for package; do
        present "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0

    local install=(apt-get install -y --no-install-recommends "${missing[@]}")
    if ! command -v apt-get >/dev/null; then
        say "missing, under their Debian names: ${missing[*]}; install them and start again"
        exit 1
    elif ((EUID != 0)); then
        say 'some packages are missing; install them with this line, then start again'
        printf 'sudo %s\n' "${install[*]}" >&2
        exit 1
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >&2
    "${install[@]}" >&2
}

# The demonstration downloads a package, which apt must have heard of.
need_package_lists() {
    command -v apt-cache >/dev/null && ((EUID == 0)) || return 0
    apt-cache show hello >/dev/null 2>&1 || apt-get update -q >&2
}

need_cargo_tool() {
    local name=$1 version=$2
    cargo "$name" --version >/dev/null 2>&1 && return 0
    say "installing cargo-$name $version (once, some minutes)"
    cargo install --locked "cargo-$name" --version "$version" >&2
}

need_component() {
    cargo "$2" --version >/dev/null 2>&1 && return 0
    say "adding the Rust component $1"
    rustup component add "$1" >&2
}

install_profile() {
    case $1 in
        demo)
            need_packages "${demo_packages[@]}"
            need_package_lists
            ;;
        test)
            need_packages "${test_packages[@]}"
            need_cargo_tool nextest "$nextest_version"
            ;;
        lint)
            need_packages "${lint_packages[@]}"
            need_component rustfmt fmt
            need_component clippy clippy
            need_cargo_tool deny "$deny_version"
            ;;
        *) usage ;;
    esac
}

# Cached outside the target folder under a hash of the package. One builder at a time; the module appears by a
# rename, so an interrupted build leaves nothing that could be taken for it.
kryoptic() {
    local cache=${COUNTERSIGN_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/countersign-tests}
    local package=$here/kryoptic hash home module lock
    hash=$(cd "$package" && sha256sum Cargo.lock Cargo.toml src/lib.rs | sha256sum | cut -c1-16)
    home=$cache/kryoptic-$hash
    module=$home/libkryoptic_pkcs11.so

    if [[ ! -f $module ]]; then
        mkdir -p "$home"
        exec {lock}>"$home/lock"
        flock -n "$lock" || { say 'waiting for another build of the Kryoptic module' && flock "$lock"; }
    fi
    if [[ ! -f $module ]]; then
        say 'building the Kryoptic PKCS#11 module (once, some minutes)'
        building=$home/building
        trap 'rm -rf "$building"' EXIT
        rm -rf "$building"
        # OpenSSL is built with make, which must not take flags from a make that called us.
        env -u MAKEFLAGS -u MFLAGS -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$building" \
            cargo build --release --locked --manifest-path "$package/Cargo.toml" >&2 {lock}>&-
        mv "$building/release/libkryoptic_pkcs11.so" "$module"
    fi
    printf '%s\n' "$module"
}

usage() {
    sed -n '4,5s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

case ${1:-} in
    install) install_profile "${2:-}" ;;
    kryoptic) kryoptic ;;
    *) usage ;;
esac
