#!/bin/sh
# A small private Internet for tests of the resolver: a signed root and a signed top-level domain, served by two nsd on
# port 53 of loopback addresses, in a network namespace of its own, so that no question can ever leave the machine.
#
#   unbound_lab.sh PROGRAM [ARGUMENT...]     runs PROGRAM within; LAB names the folder with root.key and root.hints
#
# Names: good.test (signed), plain.test (not signed), bogus.test (signed, two records altered afterwards),
# lame.test (its server is none for it), silent.test (its server does not answer). LAB_HOSTS=N adds h0.plain.test to h(N-1).plain.test and as many of good.test.
# Needs root, unshare (util-linux), nsd, ldns-keygen and ldns-signzone (ldnsutils); a TAP skip when something is missing.
set -eu

skip() {
    echo "1..0 # SKIP $1"
    exit 0
}

if [ "${LAB_INSIDE:-}" != yes ]; then
    [ "$(id -u)" = 0 ] || skip "needs root"
    PATH=$PATH:/usr/sbin:/sbin
    for tool in unshare nsd ldns-keygen ldns-signzone ip; do
        command -v $tool >/dev/null || skip "needs $tool"
    done
    unshare -n true 2>/dev/null || skip "may not make a network namespace"
    export PATH LAB_INSIDE=yes
    exec unshare -n "$0" "$@"
fi

LAB=$(mktemp -d)
export LAB
nsd_pids=
leave() {
    status=$?
    trap - EXIT INT TERM
    for pid in $nsd_pids; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$LAB"
    exit $status
}
trap leave EXIT INT TERM
ip link set lo up

zone_head() { # origin
    printf '$ORIGIN %s\n$TTL 300\n@ IN SOA ns.lab.test. host.lab.test. 1 3600 600 86400 60\n' "$1"
}
hosts() {
    awk -v n="${LAB_HOSTS:-0}" 'BEGIN { for (i = 0; i < n; i++) printf "h%d A 192.0.2.%d\n", i, i % 250 }'
}
sign() { # origin, file -> $key
    key=$(cd "$LAB" && ldns-keygen -k -a ECDSAP256SHA256 "$1")
    (cd "$LAB" && ldns-signzone "$2" "$key")
}

{
    zone_head good.test.
    cat <<'END'
@ NS ns
ns A 127.0.0.2
@ MX 20 mx3
@ MX 10 mx1
@ MX 10 mx2.plain.test.
mx1 A 192.0.2.1
mx1 A 192.0.2.2
mx1 AAAA 2001:db8::1
mx3 A 192.0.2.3
alias CNAME chain
chain CNAME mx1
aliasmx CNAME @
dangling CNAME nothing
away CNAME host.plain.test.
null MX 0 .
text TXT "one" "two"
short 1 A 192.0.2.9
_25._tcp.mx1 TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
_25._tcp.mx1 TLSA 2 0 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
_25._tcp.alias CNAME _25._tcp.mx1
_25._tcp.away CNAME _25._tcp.host.plain.test.
END
    hosts
} >"$LAB/good"
sign good.test. good
good_ds=$(cat "$LAB/$key.ds")

{
    zone_head plain.test.
    cat <<'END'
@ NS ns
ns A 127.0.0.2
@ MX 10 host
host A 192.0.2.20
_25._tcp.host TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
mx2 AAAA 2001:db8::2
loop1 CNAME loop2
loop2 CNAME loop1
END
    awk 'BEGIN { for (i = 0; i < 60; i++) printf "many MX %d m%d.plain.test.\n", 100 - i, i }'
    hosts
} >"$LAB/plain"

{
    zone_head bogus.test.
    printf '@ NS ns\nns A 127.0.0.2\nhost A 192.0.2.30\nsafe A 192.0.2.32\n_25._tcp.host TLSA 3 1 1 '
    printf '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n'
} >"$LAB/bogus"
sign bogus.test. bogus
bogus_ds=$(cat "$LAB/$key.ds")
sed 's/192\.0\.2\.30/192.0.2.31/; s/\(TLSA.*\)0123/\13210/' "$LAB/bogus.signed" >"$LAB/bogus.altered"

{
    zone_head test.
    printf '@ NS ns.test.\nns A 127.0.0.2\n'
    for sub in good plain bogus; do
        printf '%s NS ns.%s\nns.%s A 127.0.0.2\n' $sub $sub $sub
    done
    printf 'lame NS ns.lame\nns.lame A 127.0.0.1\nsilent NS ns.silent\nns.silent A 127.0.0.99\n'
    printf '%s\n%s\n' "$good_ds" "$bogus_ds"
} >"$LAB/test"
sign test. test
{
    zone_head .
    printf '@ NS ns.root-lab.\nns.root-lab. A 127.0.0.1\ntest. NS ns.test.\nns.test. A 127.0.0.2\n'
    cat "$LAB/$key.ds"
} >"$LAB/root"
sign . root
cp "$LAB/$key.key" "$LAB/root.key"
printf '. 3600 NS ns.root-lab.\nns.root-lab. 3600 A 127.0.0.1\n' >"$LAB/root.hints"

serve() { # address, zone:file ...
    address=$1
    shift
    {
        printf 'server:\n ip-address: %s\n username: ""\n chroot: ""\n database: ""\n server-count: 1\n' "$address"
        printf ' zonesdir: "%s"\n zonelistfile: "%s/%s.list"\n xfrdfile: "%s/%s.xfrd"\n xfrdir: "%s"\n pidfile: ""\n' \
            "$LAB" "$LAB" "$address" "$LAB" "$address" "$LAB"
        printf ' rrl-ratelimit: 0\nremote-control:\n control-enable: no\n'
        for z in "$@"; do
            printf 'zone:\n name: "%s"\n zonefile: %s\n' "${z%%:*}" "${z#*:}"
        done
    } >"$LAB/$address.conf"
    nsd -d -c "$LAB/$address.conf" >"$LAB/$address.log" 2>&1 &
    nsd_pids="$nsd_pids $!"
}
serve 127.0.0.1 .:root.signed
serve 127.0.0.2 test:test.signed good.test:good.signed plain.test:plain bogus.test:bogus.altered
# a server is there when its socket is: the line of its port in the kernel's table
for address in 0100007F:0035 0200007F:0035; do
    tries=0
    until grep -q "$address" /proc/net/udp; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || { cat "$LAB"/*.log >&2; skip "nsd does not start"; }
        # looked at again until it is there or nsd has ended
        for pid in $nsd_pids; do kill -0 "$pid" 2>/dev/null || { cat "$LAB"/*.log >&2; skip "nsd ended"; }; done
        sleep 0.02
    done
done
"$@"
