#!/bin/sh
# Makes the system users of Waxwing: one for each kind of process, so that none can touch another's files or memory,
# and one for mailboxes of the demonstration. Needs root; running it again changes nothing.
set -eu
for user in _wwsmtpd _wwlookup _wwqueue _wwrelay _wwadmin _wwkeys _wwauth _wwtables _wwagent _wwacme _wwhttp _wwhttps _wwmail; do
    getent passwd "$user" >/dev/null 2>&1 ||
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
done
