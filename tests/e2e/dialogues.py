#!/usr/bin/env python3
"""The scripts of tests/dialogue against a running server: as a stranger, as a client that may relay, and by LMTP."""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside()
where = lib.folder()
# the default configuration, with an address that may relay and another port for LMTP
lua = ('hostname "localhost.localdomain"\nrelay_from { "198.51.100.1" }\nlisten { port = 25 }\n'
       'listen { port = 24, lmtp = true }\nlimits { sessions_per_client = 0 }\nroute { to = "*", via = "smtp://127.0.0.1:9" }\n'
       'resolver { "127.0.0.1" }\ndomain "localhost" %s\n' % lib.maildir_lua(where))
server = lib.start(where, lua)
scripts = sorted(glob.glob(os.path.join(lib.SOURCE, "tests", "dialogue", "*.smtp")))
runner = os.path.join(lib.SOURCE, "tests", "dialogue", "run_real.py")


def play(title, host, port, files, *more):
    """The results of the runner are results of this program; the scripts that are for others are left out of the count."""
    done = subprocess.run([sys.executable, runner, host, str(port)] + list(more) + files, stdout=subprocess.PIPE, text=True,
                          timeout=300)
    lines, n = done.stdout.splitlines(), 0
    for i, line in enumerate(lines):
        if "# SKIP" in line or line.startswith(("1..", "#")):
            continue
        why = lines[i + 1] if i + 1 < len(lines) and lines[i + 1].startswith("#") else ""
        tap.ok(line.startswith("ok"), "%s: %s" % (title, line.partition(" - ")[2]), why)
        n += 1
    return n


def attempts(path):
    with open(path, encoding="latin-1") as f:
        return sum(line.startswith(("C: RCPT", "C: rcpt")) for line in f)


n = play("stranger", "192.0.2.1", 25, scripts)
tap.ok(n > 50, "most scripts were played (%d)" % n)
n = play("stranger by IPv6", "2001:db8::1", 25, [s for s in scripts if "relay-" in s])
tap.ok(n >= 6, "scripts about relaying by IPv6 (%d)" % n)
n = sum(attempts(s) for s in scripts if "/relay-" in s)
tap.ok(n >= 40, "they make %d attempts to relay" % n)
n = play("relay client", "198.51.100.1", 25, scripts, "--have", "relay")
tap.ok(n >= 1, "scripts of a client that may relay (%d)" % n)
n = play("LMTP", "192.0.2.1", 24, scripts, "--have", "lmtp")
tap.ok(n >= 3, "scripts that speak LMTP (%d)" % n)
roles = server.pids()
tap.ok(not any("role.died" in line for line in server.lines), "no role died of it", server.log())
# nothing that a stranger sent to other places got in; reports to senders may wait for the next hop
rows = server.queue("list")
wrong = [r for r in rows if r["kind"] != "bounce" and not r["site"].startswith("maildir:")]
tap.ok(not wrong, "no mail for other places waits", str(wrong))
tap.equal(server.stop(), 0, "the server ends well")
tap.end()
