#!/usr/bin/env bash
# The test equipment: what tests, demo and lint need on a Debian machine beside Rust.
#
#   tests/equipment.sh install builder|demo|card-demo|test|lint
#                                     install what is missing (root), or say how to (everybody else)
#   tests/equipment.sh target         add the Rust target that the builder's binary is static for; print its name
#   tests/equipment.sh kryoptic       build the Kryoptic PKCS#11 module once; print its path
#   tests/equipment.sh virtual-card   build the virtual OpenPGP card once; print its path
#   tests/equipment.sh go-log         build the check of logs with Go's own implementation once; print its path
#   tests/equipment.sh second-card    install another author's virtual card once; print the Python that runs it
#   tests/equipment.sh securesystemslib
#                                     install securesystemslib once; print the Python that runs it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

builder_packages=(gcc libc6-dev)
build_packages=("${builder_packages[@]}" git ca-certificates pkg-config libpcsclite-dev)
demo_packages=("${build_packages[@]}" softhsm2 gpgv sqv)
card_packages=(pcscd vsmartcard-vpcd opensc gnupg scdaemon python3-venv)
test_packages=("${demo_packages[@]}" "${card_packages[@]}" xz-utils busybox faketime sq strace jq openssl openssh-client make patch perl clang libclang-dev golang-go golang-golang-x-mod-dev)
lint_packages=("${build_packages[@]}" python3)

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
    [golang-go]=go
    [golang-golang-x-mod-dev]=/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog/tlog.go
    [perl]='/usr/share/perl/*/IPC/Cmd.pm'
    [libpcsclite-dev]='/usr/include/PCSC/winscard.h'
    [vsmartcard-vpcd]='/usr/lib/pcsc/drivers/serial/libifdvpcd.so'
    [pcscd]=/usr/sbin/pcscd
    [scdaemon]='/usr/lib/gnupg/scdaemon'
    [python3-venv]='/usr/lib/python3*/ensurepip/__main__.py'
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

# apt-get, which waits for the machine's own upgrades. Its option waits for the lock of dpkg alone: while the lists or the
# archives are locked, apt-get fails at once, and is started again for ten minutes.
apt() {
    local output attempt
    output=$(mktemp)
    for ((attempt = 0; attempt < 60; attempt++)); do
        if LC_ALL=C apt-get -o DPkg::Lock::Timeout=600 "$@" 2>&1 | tee "$output" >&2; then
            rm "$output"
            return 0
        fi
        grep -q 'Could not get lock' "$output" || break
        say 'waiting for another apt'
        sleep 10
    done
    rm "$output"
    return 1
}

need_packages() {
    local package missing=()
    for package; do
        present "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0

    local install=(install -y --no-install-recommends "${missing[@]}")
    if ! command -v apt-get >/dev/null; then
        say "missing, under their Debian names: ${missing[*]}; install them and start again"
        exit 1
    elif ((EUID != 0)); then
        say 'some packages are missing; install them with this line, then start again'
        printf 'sudo apt-get %s\n' "${install[*]}" >&2
        exit 1
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt update -q
    apt "${install[@]}"
}

# The demonstration downloads a package, which apt must know.
need_package_lists() {
    command -v apt-cache >/dev/null && ((EUID == 0)) || return 0
    apt-cache show hello >/dev/null 2>&1 || apt update -q
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

# The builder's binary is static where Rust's own musl can be had. Elsewhere it is dynamic, and in CI that is a failure.
target() {
    local host musl
    host=$(rustc --print host-tuple)
    musl=${host/-gnu/-musl}
    if ! compgen -G "$(rustc --print target-libdir --target "$musl" 2>/dev/null)/libstd-*" >/dev/null; then
        say "adding the Rust target $musl"
        if ! rustup target add "$musl" >&2; then
            say "the Rust target $musl cannot be had"
            [[ -z ${CI:-} ]] || exit 1
            say "the builder's binary will be dynamic, for $host"
            musl=$host
        fi
    fi
    printf '%s\n' "$musl"
}

install_profile() {
    case $1 in
        builder) need_packages "${builder_packages[@]}" ;;
        demo)
            need_packages "${demo_packages[@]}"
            need_package_lists
            ;;
        card-demo)
            need_packages "${demo_packages[@]}" "${card_packages[@]}" clang libclang-dev
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

# Where what is built from these files is kept: outside the target folder, under a hash of them.
cached() {
    local name=$1 hash
    shift
    hash=$(cd "$here/$name" && sha256sum -- "$@" | sha256sum | cut -c1-16)
    printf '%s\n' "${COUNTERSIGN_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/countersign-tests}/$name-$hash"
}

# Lets one builder work at a time; `lock` is the descriptor.
take_turn() {
    mkdir -p "$1"
    exec {lock}>"$1/lock"
    flock -n "$lock" || { say "waiting for another build of $2" && flock "$lock"; }
}

# Builds a package of its own, in its folder here. The product appears by a rename, so an interrupted build leaves nothing
# that could be taken for it.
built() {
    local name=$1 product=$2 what=$3 home lock
    home=$(cd "$here/$name" && cached "$name" Cargo.lock Cargo.toml src/*)
    if [[ ! -f $home/$product ]]; then
        take_turn "$home" "$what"
    fi
    if [[ ! -f $home/$product ]]; then
        say "building $what (once, some minutes)"
        building=$home/building
        trap 'rm -rf "$building"' EXIT
        rm -rf "$building"
        # OpenSSL is built with make, which must not take flags from a make that called us.
        env -u MAKEFLAGS -u MFLAGS -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$building" \
            cargo build --release --locked --manifest-path "$here/$name/Cargo.toml" >&2 {lock}>&-
        mv "$building/release/$product" "$home/$product"
    fi
    printf '%s\n' "$home/$product"
}

# With Debian's packages alone: nothing is fetched.
go_log() {
    local home lock
    home=$(cached go-log main.go)
    if [[ ! -f $home/go-log ]]; then
        take_turn "$home" 'the check of logs in Go'
    fi
    if [[ ! -f $home/go-log ]]; then
        say 'building the check of logs in Go (once)'
        (cd "$here/go-log" && env GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE="$home/cache" CGO_ENABLED=0 \
            go build -o "$home/building" main.go >&2 {lock}>&-)
        mv "$home/building" "$home/go-log"
    fi
    printf '%s\n' "$home/go-log"
}

# Installs what is in the folder $1 into a virtual environment of its own, with the function $3. Such an environment has its
# own path in it, so it is made in its place, and marked when it is whole.
installed() {
    local name=$1 what=$2 fill=$3 home lock
    home=$(cd "$here/$name" && cached "$name" *requirements.txt)
    if [[ ! -f $home/whole ]]; then
        take_turn "$home" "$what"
    fi
    if [[ ! -f $home/whole ]]; then
        say "installing $what (once)"
        python3 -m venv --clear "$home/venv" >&2
        "$fill" "$here/$name" \
            "$home/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: >&2
        touch "$home/whole"
    fi
    printf '%s\n' "$home/venv/bin/python"
}

fill_second_card() {
    local folder=$1
    shift
    "$@" -r "$folder/build-requirements.txt"
    # Without isolation, in which pip would fetch what it builds with, and look at no digest.
    "$@" --no-binary smartcard,smartcard-app-openpgp --no-build-isolation -r "$folder/requirements.txt"
}

fill_securesystemslib() {
    local folder=$1
    shift
    "$@" -r "$folder/requirements.txt"
}

usage() {
    sed -n '4,12s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

case ${1:-} in
    install) install_profile "${2:-}" ;;
    target) target ;;
    kryoptic) built kryoptic libkryoptic_pkcs11.so 'the Kryoptic PKCS#11 module' ;;
    virtual-card) built virtual-card virtual-card 'the virtual OpenPGP card' ;;
    go-log) go_log ;;
    second-card) installed second-card 'the second virtual card' fill_second_card ;;
    securesystemslib) installed securesystemslib securesystemslib fill_securesystemslib ;;
    *) usage ;;
esac
