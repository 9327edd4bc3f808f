#!/usr/bin/env python3
"""Who holds a secret: the keys process, and nobody else.

The memory of every process of a running server is searched for private keys (as numbers in either order of octets and as
PEM) and for the verifiers of passwords (as text and as octets): at the start, when a process died, after a renewal and
after a reload. That the search finds what is there is shown by the keys process itself.
"""
import base64
import hashlib
import hmac
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["openssl"])
where = lib.folder()


def path(name):
    return os.path.join(where, name)


# ---- secrets ------------------------------------------------------------------------------------------------------------

def openssl(*args):
    return subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def numbers(key, *names):
    """The named numbers of a key, as octets."""
    text = openssl("pkey", "-in", key, "-text", "-noout")
    out = []
    for name in names:
        digits = re.search(r"^%s:\n((?:    [0-9a-f:]+\n)+)" % name, text, re.M).group(1)
        out.append(bytes.fromhex(re.sub(r"[:\s]", "", digits)).lstrip(b"\0"))
    return out


def make_pair(name, *algorithm):
    """A new key and its certificate, in the place of those before; what must not be found of it."""
    openssl("req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "30", "-subj", "/CN=mx.example.org",
            "-keyout", path("new.key"), "-out", path("new.crt"))
    with open(path("new.key"), encoding="ascii") as f:
        pem = f.read()
    secrets = {}
    for number in numbers(path("new.key"), *(("priv",) if algorithm[0] == "ec" else ("prime1", "prime2", "privateExponent"))):
        secrets["%s: a number" % name] = number
        secrets["%s: a number, its octets the other way round" % name] = number[::-1]
    secrets["%s: PEM" % name] = pem.splitlines()[2].encode()
    os.rename(path("new.key"), path(name + ".key"))
    os.rename(path("new.crt"), path(name + ".crt"))
    return secrets


def verifier(password):
    """As crypto/verifier.h has it (RFC 5802 3), and what must not be found of it."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    texts = [base64.b64encode(x).decode() for x in (salt, stored, server)]
    return "{SCRAM-SHA-256}4096,%s,%s,%s" % tuple(texts), {"a StoredKey": stored, "a StoredKey in base64": texts[1].encode(),
                                                         "a ServerKey in base64": texts[2].encode()}


def make_users(*names):
    lines, secrets = [], {}
    for name in names:
        text, of_one = verifier("secret of " + name)
        lines.append("%s:%s\n" % (name, text))
        secrets.update(("%s of %s" % (what, name), octets) for what, octets in of_one.items())
    lib.file_of(path("new.users"), "".join(lines))
    os.chmod(path("new.users"), 0o600)
    os.rename(path("new.users"), path("org.users"))
    return secrets


# ---- memory -------------------------------------------------------------------------------------------------------------

def look(server, secrets, when):
    """Nobody but keys has any of them; keys has some form of each file's."""
    for (role, index), pid in sorted(server.pids().items()):
        found = lib.found_in(pid, secrets)
        if role != "keys":
            tap.equal(found, set(), "%s: %s %d holds no secret" % (when, role, index))
            continue
        for whose in sorted({what.split(":")[0] if ":" in what else "passwords" for what in secrets}):
            tap.ok(any(what.startswith(whose) or (whose == "passwords" and ":" not in what) for what in found),
                   "%s: keys holds what is of %s (so the search finds it)" % (when, whose), sorted(found))


# ---- the server ---------------------------------------------------------------------------------------------------------

secrets = {}
secrets.update(make_pair("ec", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
secrets.update(make_pair("rsa", "rsa:2048"))
secrets.update(make_users("joe", "ann"))
lua = ('hostname "mx.example.org"\npostmaster "joe@example.org"\nresolver { "127.0.0.53" }\nlisten { port = 25, address = "127.0.0.1" }\n'
       'listen { port = 465, address = "127.0.0.1", submission = true }\n'
       'tls { cert = "ec.crt", key = "ec.key" }\ntls { cert = "rsa.crt", key = "rsa.key" }\n'
       'domain "example.org" %s\n' % lib.maildir_lua(where, 'passwd "org.users"'))
config = lib.file_of(path("waxwing.lua"), lib.paths_lua(where) + lua)
done = lib.run("check", config)
if done.returncode != 0 and "is not in this version" in done.stderr:
    lib.skip_all("TLS is not in this version")
server = lib.start(where, lua)
look(server, secrets, "at the start")

pid = server.pid("keys")
threads = {}
for thread in os.listdir("/proc/%d/task" % pid):
    with open("/proc/%d/task/%s/status" % (pid, thread), encoding="ascii") as f:
        threads[thread] = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
status = threads[str(pid)]
tap.equal([t["Seccomp"] for t in threads.values()], ["2"] * 3, "keys and its threads have a seccomp filter")
own = os.getpriority(os.PRIO_PROCESS, pid)
tap.equal(sorted(os.getpriority(os.PRIO_PROCESS, int(t)) for t in threads), [own] + [min(own + 10, 19)] * 2,
          "those that compute hashes give way to the one that signs")
tap.equal(status["CapEff"].strip("0") + status["CapPrm"].strip("0"), "", "keys has no capability")
descriptors = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
tap.equal([d for d in descriptors if "memfd" in d or (d.startswith("/") and not d.startswith("/dev/null"))], [],
          "keys has no file open, nor the memory in which it got its secrets")

# ---- a process dies -----------------------------------------------------------------------------------------------------

since = server.mark()
for role in ("keys", "smtpd"):
    old = server.pid(role)
    os.kill(old, signal.SIGKILL)
    lib.wait_until(lambda: server.pids().get((role, 0), old) != old, "another %s process" % role)
lib.wait_until(lambda: lib.found_in(server.pid("keys"), secrets), "the keys in the new process")
lib.wait_until(lambda: any("joe" in what for what in lib.found_in(server.pid("keys"), secrets)), "the passwords there, too")
look(server, secrets, "when keys and smtpd died")
tap.ok(not any("secret.refused" in line for line in server.lines[since:]), "and all was taken again", server.log)

# ---- renewals -----------------------------------------------------------------------------------------------------------

since = server.mark()
renewed = make_pair("ec", "ec", "-pkeyopt", "ec_paramgen_curve:P-384")
server.wait_log(r"certificate\.loaded.*ec\.crt", since)
renewed.update(make_users("joe", "zoe"))
server.wait_log(r"passwords\.loaded.*org\.users", since)
secrets.update(renewed)
look(server, secrets, "after a renewal")

# only the certificate is new: its key comes later
since = server.mark()
os.rename(path("rsa.key"), path("rsa.kept"))
os.rename(path("rsa.crt"), path("rsa.old"))
half = make_pair("rsa", "rsa:2048")
os.rename(path("rsa.key"), path("rsa.next"))
os.rename(path("rsa.kept"), path("rsa.key"))
server.wait_log(r"secret\.refused.*rsa\.crt.*does not belong.*the one in force", since)
os.rename(path("rsa.next"), path("rsa.key"))
server.wait_log(r"certificate\.loaded.*rsa\.crt", since)
secrets.update(half)
tap.ok(True, "a pair that is half renewed waits for its other half")
look(server, secrets, "after a renewal in two steps")

since = server.mark()
lib.file_of(path("org.users"), "joe:{PLAIN}oh no\n")
server.wait_log(r"secret\.refused.*org\.users.*line 1.*joe.*the one in force", since)
tap.ok(not any("oh no" in line for line in server.lines), "a bad line is told by its number, and not what is in it")

# ---- a reload, and the end ----------------------------------------------------------------------------------------------

since = server.mark()
os.kill(server.process.pid, signal.SIGHUP)
server.wait_log(r"reload\.done", since)
look(server, secrets, "after a reload")
tap.equal(server.stop(), 0, "and it ends in good order")

os.unlink(path("ec.key"))
bad = lib.Server(["--config", config], path("control"))
tap.equal(bad.process.wait(lib.DEADLINE_S), 78, "without a key it does not start")
tap.ok(bad.wait_log(r"end why=.*ec\.key"), "and says which file it is")
tap.end()
