#!/bin/sh
# Sees to it that this Debian 12 has what Waxwing is built from and tested with. As root, or with sudo that asks nothing,
# missing packages are installed; otherwise the command to type is printed and the build stops.
set -eu
packages="gcc ninja-build meson pkg-config libunbound-dev liblua5.4-dev libsqlite3-dev libseccomp-dev libssl-dev libidn2-dev
libidn-dev libunistring-dev libjansson-dev zlib1g-dev libcurl4-openssl-dev libpam0g-dev libpq-dev libldap-dev libcmocka-dev dns-root-data
ca-certificates python3"
# what the tests talk to; a missing one only means skipped tests, said and counted
peers="nsd ldnsutils unbound gsasl testssl.sh libnet-ssleay-perl libauthen-sasl-perl swaks msmtp curl mutt s-nail dovecot-core
dovecot-lmtpd python3-aiosmtpd strace mandoc iproute2 util-linux uacme pebble openssl slapd ldap-utils postgresql-15"

missing=""
for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
wanted=""
if [ "${WAXWING_PEERS:-}" = yes ]; then
    for p in $peers postfix; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || wanted="$wanted $p"
    done
fi
if [ -n "$missing$wanted" ]; then
    if [ "$(id -u)" = 0 ]; then sudo=""
    elif sudo -n true 2>/dev/null; then sudo="sudo"
    else
        if command -v sudo >/dev/null; then how="Type this"; sudo="sudo "
        else how="As root, type this"; sudo=""
        fi
        echo "These packages are missing. $how, then try again:" >&2
        echo "  ${sudo}apt-get install --no-install-recommends$missing$wanted" >&2
        exit 1
    fi
    echo "installing (some minutes the first time):$missing$wanted"
    log=$(mktemp)
    # a mail server among the peers must not start by itself; what was not there before is taken away again
    policy=""
    if [ ! -e /usr/sbin/policy-rc.d ] && [ "${WAXWING_PEERS:-}" = yes ]; then
        policy=/usr/sbin/policy-rc.d
        trap '[ -z "$policy" ] || $sudo rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' | $sudo tee /usr/sbin/policy-rc.d >/dev/null
        $sudo chmod 755 /usr/sbin/policy-rc.d
    fi
    echo 'postfix postfix/main_mailer_type select No configuration' | $sudo debconf-set-selections 2>/dev/null || true
    echo 'slapd slapd/no_configuration boolean true' | $sudo debconf-set-selections 2>/dev/null || true
    # a dot for ten packages unpacked or set up; what apt says is shown when it fails
    { { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing $wanted; } 2>&1 || echo "apt-get failed"; } | tee "$log" |
        awk '/^(Unpacking|Setting up) / && ++n % 10 == 0 { printf "."; fflush(); dots = 1 } END { if (dots) print "" }'
    if [ "$(tail -n 1 "$log")" = "apt-get failed" ]; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
fi
# root's files they must be: a mail server trusts no others
if [ "${WAXWING_PEERS:-}" = yes ] && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo sh "$(dirname "$0")/peers.sh" "$(dirname "$0")/../build-peers"
fi
# a library that many web programs send mail with; where npm is, and no package of Debian
if [ "${WAXWING_PEERS:-}" = yes ] && command -v npm >/dev/null; then
    to="$(dirname "$0")/../build-peers/nodemailer"
    [ -e "$to/node_modules/nodemailer" ] || { mkdir -p "$to" && npm install --prefix "$to" --no-package-lock --no-audit \
        --no-fund --ignore-scripts nodemailer@7.0.6; } >/dev/null 2>&1 || echo "nodemailer is not there to test with" >&2
fi
[ "$(id -u)" != 0 ] || sh "$(dirname "$0")/users.sh"
