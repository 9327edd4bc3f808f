#!/usr/bin/env python3
"""Both ends of SASL against GNU SASL's gsasl(1), and verifiers made by it and by Dovecot.  Usage: run_gsasl.py SASL_PEER

The two programs are joined by pipes: what one prints as a line of base64 the other reads.
"""
import base64
import os
import shutil
import subprocess
import sys

PEER = sys.argv[1]
EXPORTER = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(1, 33))).decode()
SCRAM = ["SCRAM-SHA-1", "SCRAM-SHA-256"]
PLUS = [m + "-PLUS" for m in SCRAM]
count = failed = 0
os.environ["PATH"] += ":/usr/sbin:/sbin"


def ok(good, name, why=""):
    global count, failed
    count += 1
    failed += not good
    print("%sok %d - %s" % ("" if good else "not ", count, name))
    for line in str(why).split("\n") if not good else []:
        print("# " + line)


def skip(name, why):
    global count
    count += 1
    print("ok %d - %s # SKIP %s" % (count, name, why))


class End:
    """A program whose messages are lines."""

    def __init__(self, args):
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  bufsize=1)

    def hear(self):
        """The next line without what gsasl prompts in front of it; None at the end."""
        line = self.p.stdout.readline()
        if not line or line.startswith(("done", "failed")):
            return line or None
        return line.rstrip("\n").split(" ")[-1]

    def say(self, line):
        try:
            self.p.stdin.write(line + "\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            pass

    def end(self):
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        rest, err = self.p.stdout.read(), self.p.stderr.read()
        self.p.wait()
        return rest, err


def gsasl(role, mechanism, password):
    end = End(["stdbuf", "-oL", "gsasl", "--" + role, "--mechanism=" + mechanism, "--authentication-id=user",
               "--password=" + password, "--iteration-count=4096"] + ([] if mechanism in PLUS else ["--no-cb"]))
    end.hear()  # it says the mechanism first
    return end


def is_end(line):
    return line is None or line.startswith(("done", "failed", "*"))


def our_server(mechanism, password, verifier, ours=None, theirs=None):
    """gsasl as the client of our server: (our last line, whether gsasl is content, what it says)."""
    client = gsasl("client", mechanism, password)
    server = End([PEER, "server", mechanism, "user", verifier] + ([ours] if ours else []))
    if theirs:
        client.say(theirs)
    if mechanism != "LOGIN":
        server.say(client.hear() or "")
    last = server.hear()
    while not is_end(last):
        client.say(last)
        # gsasl is content with the server's signature ("v=") and says no more; SMTP wants an empty response to it
        server.say("" if last.startswith("dj") else client.hear() or "*")
        last = server.hear()
    server.end()
    client.say("")  # what the server says at the end, which is nothing
    err = client.end()[1]
    return (last or "").strip(), "authentication finished (server trusted)" in err, err


def our_client(mechanism, password):
    """Our client against gsasl as the server: (our last line, whether gsasl is content, what it says). As a server on pipes
    gsasl takes no channel binding."""
    server = gsasl("server", mechanism, "pencil")
    client = End([PEER, "client", mechanism, "user", password])
    line = server.hear()  # the first challenge, empty but for LOGIN
    if mechanism == "LOGIN":
        client.say(line)
    while True:
        line = client.hear()
        if is_end(line):
            break
        server.say(line)
        if line == "":  # the answer to the server's signature
            break
        line = server.hear()
        if not line:  # it has ended, or has no more to say and wants to hear that we neither
            server.say("")
            break
        client.say(line)
    err = server.end()[1]
    return client.end()[0].strip(), "Server authentication finished" in err, err


def verifier_of(mechanism):
    done = subprocess.run(["gsasl", "--mkpasswd", "--mechanism=" + mechanism, "--password=pencil", "--iteration-count=4096"],
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def main():
    if not shutil.which("gsasl"):
        skip("gsasl", "gsasl is not installed")
        return
    both = ";".join(verifier_of(m) for m in SCRAM)
    for m in ["PLAIN", "LOGIN"] + SCRAM:
        last, good, err = our_server(m, "pencil", both)
        ok(last == "done user" and good, "gsasl logs in to us with " + m, (last, good, err))
        last, good, err = our_server(m, "pen", both)
        ok(last == "failed wrong credentials", "and with a wrong password it does not", (last, good, err))
    for m in PLUS:
        last, good, err = our_server(m, "pencil", both, EXPORTER, EXPORTER)
        ok(last == "done user" and good, "gsasl logs in to us with " + m, (last, good, err))
        last, good, err = our_server(m, "pencil", both, EXPORTER, OTHER)
        ok(last == "failed the channel binding does not match", "and over another channel it does not", (last, good, err))
    for m in ["PLAIN", "LOGIN"] + SCRAM:
        last, good, err = our_client(m, "pencil")
        ok(last == "done user" and good, "we log in to gsasl with " + m, (last, good, err))
        last, good, err = our_client(m, "pen")
        ok(not good and (m not in SCRAM or last == "failed the server did not prove itself"),
           "and with a wrong password we do not", (last, good, err))
    for scheme in ["SCRAM-SHA-256", "SCRAM-SHA-1", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "CRYPT"]:
        name = "gsasl logs in with a password that Dovecot made %s of" % scheme
        if not shutil.which("doveadm"):
            skip(name, "Dovecot is not installed")
            continue
        made = subprocess.run(["doveadm", "pw", "-s", scheme, "-p", "pencil"], stdout=subprocess.PIPE, text=True, check=True)
        last, good, err = our_server(scheme if scheme in SCRAM else "PLAIN", "pencil", made.stdout.strip())
        ok(last == "done user" and good, name, (last, good, err))


main()
print("1..%d" % count)
sys.exit(1 if failed else 0)
