#!/bin/sh
# Unpacks mail servers that Debian does not let stand beside each other, each into a folder of its own below $1; the
# end-to-end tests lay one over the system, for that server alone (tests/e2e/peers.py). Nothing is installed. What can't
# be had is left out: those tests are skipped, said and counted.
set -eu
mkdir -p "${1:?a folder}"
to=$(cd "$1" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# $1: the folder's name; the rest: packages; libraries that the machine has are not fetched again
unpack() {
    name=$1
    shift
    [ ! -e "$to/$name/done" ] || return 0
    rm -rf "${to:?}/$name"
    mkdir -p "$to/$name/debs" "$to/$name/root"
    for p in "$@"; do
        case $p in
        lib*) ! dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || continue ;;
        esac
        if ! (cd "$to/$name/debs" && apt-get download -q "$p") >"$log" 2>&1; then
            echo "$name is not there to test with: $(grep '^E:' "$log" | head -n 1)" >&2
            rm -rf "${to:?}/$name"
            return 0
        fi
    done
    for p in "$to/$name/debs/"*.deb; do
        dpkg -x "$p" "$to/$name/root"
    done
    rm -rf "$to/$name/debs"
    touch "$to/$name/done"
}

unpack exim exim4-daemon-heavy exim4-base exim4-config libgnutls-dane0 libidn12 libmariadb3 libspf2-2 libpq5 libnsl2 \
    libldap-2.5-0 libsasl2-2 libperl5.36 libunbound8
unpack opensmtpd opensmtpd libevent-2.1-7
unpack sendmail sendmail-bin sendmail-base sendmail-cf libldap-2.5-0 liblockfile1 libnsl2 libsasl2-2 libwrap0 m4 libsigsegv2
