# The journey of one release, with the real commands.

start builder/dist
version=$(countersign --version | cut -d' ' -f2)
set_up_signing_host

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
refused 'but builder `m1` attested' \
    countersign sign "countersign-$version.grant.json" --from changed -o ../location/inbox/changed
run countersign log list

publish_and_check "countersign-$version"

say "Done: gpgv, sqv and sha256sum agree. Everything is in $root for a look."
