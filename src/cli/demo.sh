# The journey of one release, with the real commands. The token is one in software, unless another is named.
#
#   demo.sh PROGRAM FOLDER [TOKEN-URI]
#
# Run by `countersign demo`. FOLDER is made anew and left for a look; everything stays inside it.
set -euo pipefail

program=$(readlink -f "$1")
folder=$2
token=${3:-}
here=$PWD

bold='' plain=''
[[ -t 1 && -z ${NO_COLOR:-} ]] && bold=$'\033[1m' plain=$'\033[0m'
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '\n$'; printf ' %q' "$@"; printf '\n'; "$@"; }
at() { printf '\n[%s]\n' "$1"; cd "$root/$1"; }

missing=()
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
mkdir -p "$folder"/{signing-host,builder/dist,location/{inbox,releases}}
touch "$folder/.countersign-demo"
root=$(cd "$folder" && pwd)
export COUNTERSIGN_HOME=$root/signing-host/home
[[ -n $token ]] || export SOFTHSM2_CONF=$root/signing-host/softhsm2.conf
mkdir "$root/bin" "$root/signing-host/tokens"
ln -s "$program" "$root/bin/countersign"
PATH=$root/bin:$PATH
version=$(countersign --version | cut -d' ' -f2)

if [[ -n $token ]]; then
    say 'The signing host, and the token that its release key is made on.'
    at signing-host
    run countersign key list --token "$token"
    run countersign init --generate ed25519 --user-id 'Demo Releases <release@example.org>' --token "$token"
else
    say 'The signing host. A software token stands for the HSM; its PIN comes from a file.'
    at signing-host
    printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$PWD/tokens" >softhsm2.conf
    (umask 077; od -An -N4 -tu4 /dev/urandom | tr -d ' ' >pin)
    run softhsm2-util --init-token --free --label release --so-pin "so-$(cat pin)" --pin "$(cat pin)"
    run countersign init --generate ed25519 --user-id 'Demo Releases <release@example.org>' \
        --token "pkcs11:token=release;object=r$(date +%Y)?module-path=$module&pin-source=file:$PWD/pin"
fi
run countersign key export --binary -o ../location/release.pgp

say 'An operator approves one build: a grant, and a key that lives only for it.'
run countersign grant countersign "$version" --builder m1 --valid-for 2h --artifact 'countersign*' --artifact '*.deb'
mv countersign-"$version".m1.key ../builder/

say 'The build machine: what it built, then the attestation; its key is gone afterwards.'
at builder
run cp "$program" dist/countersign
tarball=$PWD/dist/countersign-$version.tar.gz
if git -C "$here" rev-parse --verify -q HEAD >/dev/null 2>&1; then
    run git -C "$here" archive --format=tar.gz --prefix="countersign-$version/" -o "$tarball" HEAD
elif [[ -f $here/Cargo.toml ]]; then
    run tar -C "$here" --exclude=./target --exclude=./.git --exclude="./$folder" --transform "s,^\.,countersign-$version," -czf "$tarball" .
fi
if command -v apt-get >/dev/null; then
    # As root, apt would drop its rights and then lack those to write here.
    if ! (cd dist && run apt-get download -o APT::Sandbox::User=root hello); then
        echo 'demo: apt-get could not download a package; run "apt-get update" as root first' >&2
        exit 3
    fi
fi
run countersign attest --key "countersign-$version.m1.key" dist/*

say 'The signing host fetches the build, verifies it in software, and only then uses the token.'
at signing-host
run cp -r ../builder/dist fetched
run countersign sign "countersign-$version.grant.json" --from fetched --dry-run
run countersign sign "countersign-$version.grant.json" --from fetched -o "../location/inbox/countersign-$version"

say 'Had one byte been changed on the way, the token would not have been used.'
run cp -r fetched changed
printf '!' >>changed/countersign
if run countersign sign "countersign-$version.grant.json" --from changed -o ../location/inbox/changed; then
    echo 'demo: a changed artifact was signed' >&2
    exit 70
fi
run countersign log list

say 'The location verifies again, with the certificate alone, and makes the release public.'
at location
run countersign admit --cert release.pgp inbox releases

say 'Anybody checks it with the tools they have.'
at "location/releases/countersign-$version"
for artifact in $(sed -n 's/^[0-9a-f]*  \([^/]*\)$/\1/p' SHA256SUMS); do
    run gpgv --keyring ../../release.pgp "$artifact.asc" "$artifact"
    run sqv --keyring ../../release.pgp "$artifact.asc" "$artifact"
done
run gpgv --keyring ../../release.pgp SHA256SUMS.asc SHA256SUMS
run sha256sum -c SHA256SUMS
run gpgv --keyring ./evidence/m1/build-key.pgp evidence/m1/build.manifest.sig evidence/m1/build.manifest
run countersign verify --cert ../../release.pgp .

say "Done: gpgv, sqv and sha256sum agree. Everything is in $root for a look."
