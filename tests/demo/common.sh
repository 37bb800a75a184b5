# What the scenarios of the demonstration have in common; `journey` and `quorum` read this file first.
#
#   tests/demo/SCENARIO PROGRAM FOLDER [TOKEN-URI]
#
# FOLDER is made anew and left for inspection; everything stays inside it. The token is SoftHSM2, unless the URI of another
# is given: the release key is made on it, and no existing key is replaced.
set -euo pipefail

program=$(readlink -f "$1")
folder=$2
token=${3:-}
here=$PWD

bold='' plain=''
[[ -t 1 && -z ${NO_COLOR:-} ]] && bold=$'\033[1m' plain=$'\033[0m'
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
at() { printf '\n[%s]\n' "$1"; cd "$root/$1"; }
run() {
    local word
    printf '\n$'
    for word; do
        [[ $word =~ ^[[:alnum:]_./:=@%+,-]+$ ]] || word=${word@Q}
        printf ' %s' "$word"
    done
    printf '\n'
    "$@"
}
broken() { printf 'demo: %s\n' "$*" >&2; exit 70; }

# A `countersign sign` that must be refused for this reason, which the log must contain, without a use of the token.
refused() {
    local reason=$1 before code=0
    shift
    before=$(uses)
    run "$@" || code=$?
    ((code == 1)) || broken "that had to be refused, but ended with code $code"
    [[ $(countersign log list | tail -n 1) == *evidence-refused*"$reason"* ]] ||
        broken "the log does not say of the refusal: $reason"
    [[ $(uses) == "$before" ]] || broken 'the token was used for what was refused'
}

# How often the token was used: what the log says, in which each use is announced, and a card's own count.
uses() {
    countersign log list | grep -cE '^ *[0-9]+ +[^ ]+ +(intent|resumed|key-intended) '
    [[ -z $token ]] || countersign key check | grep counter || true
}

# The folder, with these folders in it, and everything that the scenarios need.
start() {
    local missing=()
    [[ -n $token ]] || command -v softhsm2-util >/dev/null || missing+=(softhsm2)
    command -v gpgv >/dev/null || missing+=(gpgv)
    command -v sqv >/dev/null || missing+=(sqv)
    if ((${#missing[@]})); then
        printf 'demo: some programs are missing; install them with this line, then start again\n' >&2
        printf 'apt-get install -y --no-install-recommends %s\n' "${missing[*]}" >&2
        exit 3
    fi
    for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
        [[ -e $module ]] && break
    done
    [[ -n $token || -e $module ]] || { echo 'demo: softhsm2-util is there, but its module libsofthsm2.so is not where distributions put it' >&2; exit 3; }

    if [[ -e $folder && ! -e $folder/.countersign-demo ]]; then
        printf 'demo: %s exists and is not an earlier demonstration; name another folder\n' "$folder" >&2
        exit 2
    fi
    rm -rf "$folder"
    mkdir -p "$folder"/{bin,signing-host/tokens,location/{inbox,releases}}
    touch "$folder/.countersign-demo"
    root=$(cd "$folder" && pwd)
    (cd "$root" && mkdir -p "$@")
    export COUNTERSIGN_HOME=$root/signing-host/home
    [[ -n $token ]] || export SOFTHSM2_CONF=$root/signing-host/softhsm2.conf
    ln -s "$program" "$root/bin/countersign"
    PATH=$root/bin:$PATH
}

# The signing host with its token and the release key, and the certificate at the location.
set_up_signing_host() {
    if [[ -n $token ]]; then
        say 'The signing host, and the token that its release key is made on.'
        at signing-host
        run countersign key list --token "$token"
        run countersign init --generate ed25519 --user-id 'Demo Releases <release@example.org>' --token "$token"
    else
        say 'The signing host. A software token takes the place of the HSM; its PIN comes from a file.'
        at signing-host
        printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$PWD/tokens" >softhsm2.conf
        (umask 077; od -An -N4 -tu4 /dev/urandom | tr -d ' ' >pin)
        run softhsm2-util --init-token --free --label release --so-pin "so-$(cat pin)" --pin "$(cat pin)"
        run countersign init --generate ed25519 --user-id 'Demo Releases <release@example.org>' \
            --token "pkcs11:token=release;object=r$(date +%Y)?module-path=$module&pin-source=file:$PWD/pin"
    fi
    run countersign key export --binary -o ../location/release.pgp
}

# The way of a release from the inbox to its users.
publish_and_check() {
    say 'The location verifies again, with the certificate alone, and makes the release public.'
    at location
    run countersign admit --cert release.pgp inbox releases

    say 'Anybody checks it with the tools they have.'
    at "location/releases/$1"
    local artifact builder
    for artifact in $(sed -n 's/^[0-9a-f]*  \([^/]*\)$/\1/p' SHA256SUMS); do
        run gpgv --keyring ../../release.pgp "$artifact.asc" "$artifact"
        run sqv --keyring ../../release.pgp "$artifact.asc" "$artifact"
    done
    run gpgv --keyring ../../release.pgp SHA256SUMS.asc SHA256SUMS
    run sha256sum -c SHA256SUMS
    for builder in evidence/*/; do
        builder=${builder%/}
        run gpgv --keyring "./$builder/build-key.pgp" "$builder/build.manifest.sig" "$builder/build.manifest"
    done
    run countersign verify --cert ../../release.pgp .
}
