#!/usr/bin/env python3
"""`waxwing user` edits the files of users and passwords: what it writes, what it keeps, and what it refuses. Needs no server
and no namespaces."""
import base64
import fcntl
import hashlib
import hmac
import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
WHERE = lib.folder()
FILE = os.path.join(WHERE, "org.users")
CONFIG = lib.file_of(os.path.join(WHERE, "waxwing.lua"), """hostname "mail.example.org"
postmaster "ann@example.org"
domain "example.org" { users = passwd "org.users", deliver = lmtp "unix:/run/x" }
domain "other.example" { users = passwd "other.users", deliver = lmtp "unix:/run/x" }
domain "same.example" { same_as = "example.org" }
domain "open.example" { users = any, deliver = lmtp "unix:/run/x" }
""")
START = "# who has a mailbox\n\nann:!locked:1000:100\n\njoe.b:$y$broken\n"
lib.file_of(os.path.join(WHERE, "other.users"), "")


def user(*args, text="", where=("--config", CONFIG)):
    return lib.run("user", *where, *args, input=text)


def content():
    with open(FILE, encoding="utf-8", newline="") as f:
        return f.read()


def field_of(name):
    return [line.split(":")[1] for line in content().splitlines() if line.split(":")[0] == name][0]


def verifies(form, password):
    """By the text of RFC 5802 3, and not by our code."""
    name, _, rest = form[1:].partition("}")
    digest = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}[name]
    rounds, salt, stored, server = rest.split(",")
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(salt), int(rounds))
    key = hmac.new(salted, b"Client Key", digest).digest()
    return (base64.b64decode(stored) == hashlib.new(digest, key).digest() and
            base64.b64decode(server) == hmac.new(salted, b"Server Key", digest).digest())


def adds():
    lib.file_of(FILE, START)
    os.chmod(FILE, 0o640)
    done = user("add", "Joe@same.example", "--stdin", text="correct horse\nno part of it\n")
    tap.ok(done.returncode == 0, "a user by another name of his domain", str(done))
    forms = field_of("joe").split(";")
    tap.ok(content() == START + "joe:" + ";".join(forms) + "\n", "all else stays as it was", content)
    tap.ok(len(forms) == 2 and all(verifies(f, "correct horse") and not verifies(f, "correct hors") for f in forms),
           "both hashes verify the password", str(forms))
    tap.equal(stat.S_IMODE(os.stat(FILE).st_mode), 0o640, "the mode is kept")
    tap.equal([n for n in os.listdir(WHERE) if n.startswith(".")], [], "nothing is left behind")
    tap.equal(user("add", "joe@example.org", "--stdin", text="correct horse\n").returncode, 65, "not twice")
    tap.equal(user("passwd", "eve@example.org", "--stdin", text="correct horse\n").returncode, 67, "nobody gets no password")
    before = content()
    done = user("passwd", "ann@example.org", "--stdin", text="p\u00e4ssw\u00f6rter\r\n")
    after = content()
    tap.ok(done.returncode == 0 and re.fullmatch(r"\{SCRAM-SHA-256\}[^:]*", field_of("ann")) and
           after == before.replace("!locked", field_of("ann")), "another password; further fields stay", after)
    tap.ok(verifies(field_of("ann").split(";")[0], "p\u00e4ssw\u00f6rter"), "outside ASCII, and without the end of its line")
    done = user("passwd", "ann@example.org", "--stdin", text="pa\u0308ssw\uff4frt\u00a0\u2168\u00ad\n")
    tap.ok(done.returncode == 0 and verifies(field_of("ann").split(";")[0], "p\u00e4sswort IX"), "in the one form that it is compared in", str(done))


def refuses():
    before = content()
    rows = [("joe@example.org", "short\n", 65), ("joe@example.org", "", 65), ("joe@example.org", "x" * 512, 65),
            ("joe@example.org", "a control\x07character\n", 65), ("joe@example.org", "not to be\u202eseen\n", 65),
            ("joe@example.org", "younger \U0001f511 than 3.2\n", 65), ("joe@example.org", "\u0627 left and right\n", 65),
            ("joe@example.org", "short\u00ad\u00ad\u00ad\n", 65), ("joe@example.org", "\ufdfa" * 20 + "\n", 65), ("joe/x@example.org", "correct horse", 65),
            ("joe@open.example", "correct horse", 65), ("joe@nowhere.example", "correct horse", 65),
            ("joe", "correct horse", 65), ("", "correct horse", 65), ("j\tx@example.org", "correct horse", 65)]
    for address, text, code in rows:
        done = user("passwd", address, "--stdin", text=text)
        tap.ok(done.returncode == code and done.stderr and not done.stdout, "%r, %r: %d" % (address, text[:20], code), str(done))
    for args in (["add"], ["list", "a", "b"], ["app-password", "joe@example.org"], ["add", "joe@example.org", "password"],
                 ["frobnicate"], ["add", "x@example.org", "--json"], ["list", "--stdin"], [],
                 ["list", "--file", FILE]):
        done = user(*args)
        tap.ok(done.returncode == 64 and "Usage:" in done.stderr, "%s is an error of usage" % args, str(done))
    done = user("app-password", "joe@example.org", "my phone")
    tap.ok(done.returncode == 65 and done.stderr, "no spaces in the name of a program", str(done))
    tap.equal(user("list", where=("--config", WHERE + "/none.lua")).returncode, 66, "no configuration")
    tap.equal(user("list", where=("--config", FILE)).returncode, 78, "a configuration with errors")
    tap.equal(user("list", where=("--file", WHERE + "/none")).returncode, 66, "no file")
    tap.equal(user("list", where=("--file", WHERE)).returncode, 66, "a folder is no file")
    tap.equal(content(), before, "and nothing was changed")


def programs():
    done = user("app-password", "joe@example.org", "phone")
    password = done.stdout.strip()
    tap.ok(done.returncode == 0 and re.fullmatch("[0-9a-z]{4}(-[0-9a-z]{4}){4}", password) and
           "joe/phone@example.org" in done.stderr and password not in done.stderr, "a password for a program", str(done))
    tap.ok(verifies(field_of("joe/phone").split(";")[0], password), "it is the one that was printed")
    tap.equal(user("app-password", "joe@example.org", "Phone").returncode, 65, "the name is taken")
    other = user("app-password", "joe@example.org", "tablet").stdout.strip()
    tap.ok(other and other != password, "each is another one")
    tap.equal([x.split(":")[0] for x in content().splitlines()][-3:], ["joe", "joe/phone", "joe/tablet"], "they stand together")
    tap.equal(user("app-password", "eve@example.org", "phone").returncode, 67, "nobody gets none")
    tap.equal(lib.run("check", CONFIG).returncode, 0, "the configuration takes them for no mailboxes")


def lists():
    done = user("list", "example.org")
    both = "SCRAM-SHA-256 SCRAM-SHA-1"
    tap.equal(re.sub(r"(?m)\(.*\)$", "(why)", done.stdout).splitlines(),
              ["ann@example.org  " + both, "joe.b@example.org  (why)", "joe@example.org  " + both, "joe/phone@example.org  " + both,
               "joe/tablet@example.org  " + both], "the list")
    tap.ok("$y$" not in done.stdout and "}" not in done.stdout, "without any verifier", done.stdout)
    rows = [json.loads(x) for x in user("--json", "list").stdout.splitlines()]
    tap.equal([(r["user"], r["domain"], r.get("app"), len(r["verifiers"]), bool(r.get("problem"))) for r in rows],
              [("ann", "example.org", None, 2, False), ("joe.b", "example.org", None, 0, True), ("joe", "example.org", None, 2, False),
               ("joe", "example.org", "phone", 2, False), ("joe", "example.org", "tablet", 2, False)], "as JSON")
    tap.equal((user("list", "other.example").stdout, user("list", "other.example").returncode), ("", 0), "an empty file")
    tap.equal(user("list", "open.example").returncode, 65, "a domain without passwords")
    lines = user("list", where=("--file", FILE)).stdout.splitlines()
    tap.ok("joe/phone  " + both in lines and len(lines) == 5, "of a file alone", lines)


def removes():
    tap.equal(user("remove", "joe@example.org", "Phone").returncode, 0, "the password of a program goes")
    tap.ok("joe/phone" not in content() and "joe/tablet" in content(), "that one only", content)
    tap.equal(user("remove", "joe@example.org", "phone").returncode, 67, "it is gone")
    tap.equal(user("remove", "joe@example.org").returncode, 0, "a user goes with all of his")
    tap.equal(content().replace(field_of("ann"), "!locked"), START, "and the file is as at first")


def files():
    new = os.path.join(WHERE, "new.users")
    old = os.umask(0)
    done = user("add", "joe", "--stdin", text="correct horse\n", where=("--file", new))
    os.umask(old)
    tap.ok(done.returncode == 0 and stat.S_IMODE(os.stat(new).st_mode) == 0o600, "a new file is for its owner alone", str(done))
    link = os.path.join(WHERE, "link.users")
    os.symlink("new.users", link)
    done = user("add", "ann", "--stdin", text="correct horse\n", where=("--file", link))
    tap.ok(done.returncode == 0 and os.path.islink(link) and "\nann:" in open(new).read(), "a symbolic link stays one", str(done))
    if os.geteuid() != 0:
        tap.skip("owner and group are kept", "needs root")
    else:
        os.chown(new, 12345, 12346)
        user("passwd", "ann", "--stdin", text="another horse\n", where=("--file", new))
        tap.equal((os.stat(new).st_uid, os.stat(new).st_gid), (12345, 12346), "owner and group are kept")
    bad = lib.run("user", "add", "x@y", "--file", new, "--stdin", input="correct horse")
    tap.equal(bad.returncode, 65, "with a file the name stands alone")


def waits():
    """Who edits at the same time waits, and both edits are there."""
    folder = os.open(WHERE, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    started = [subprocess.Popen([lib.WAXWING, "user", "--file", FILE, "app-password", "ann", "p%d" % i], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True) for i in range(4)]
    lib.wait_until(lambda: sum(is_waiting(p.pid) for p in started) == len(started), "all of them at the lock")
    before = content()
    fcntl.flock(folder, fcntl.LOCK_UN)
    os.close(folder)
    done = [p.communicate(timeout=lib.DEADLINE_S) and p.returncode for p in started]
    tap.equal((done, before.count("ann/"), content().count("ann/")), ([0] * 4, 0, 4), "four at the same time")


def is_waiting(pid):
    """Does it wait for a lock? The kernel's list names it behind the arrow."""
    with open("/proc/locks") as f:
        return any("->" in x and x.split()[5] == str(pid) for x in f)


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(lib.WAXWING, [lib.WAXWING, "user", "--file", FILE] + list(args))
        self.said = ""

    def wait(self, text):
        while text not in self.said:
            if not select.select([self.fd], [], [], lib.DEADLINE_S)[0]:
                raise TimeoutError("no %r in %r" % (text, self.said))
            self.said += os.read(self.fd, 1000).decode()

    def type(self, text):
        os.write(self.fd, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self):
        """Its exit status, as of waitpid; what else it said is read."""
        try:
            while True:
                octets = os.read(self.fd, 1000)
                if not octets:
                    break
                self.said += octets.decode()
        except OSError:
            pass  # the terminal has no other end any more
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return status


def asks():
    t = Terminal("add", "zoe")
    t.wait("New password of zoe: ")
    quiet = not t.echoes()
    t.type("typed by hand\n")
    t.wait("Again, that of zoe: ")
    t.type("typed by hand\n")
    tap.equal(t.end(), 0, "a password that is typed twice")
    tap.ok(quiet and "typed" not in t.said, "is not seen", t.said)
    tap.ok(verifies(field_of("zoe").split(";")[0], "typed by hand"), "and is the one")
    before = content()
    t = Terminal("passwd", "zoe")
    t.wait("New password of zoe: ")
    t.type("typed by hand\n")
    t.wait("Again, that of zoe: ")
    t.type("typed by foot\n")
    tap.equal(os.waitstatus_to_exitcode(t.end()), 65, "two that differ")
    t = Terminal("passwd", "zoe")
    t.wait("New password of zoe: ")
    keep = os.dup(t.fd)
    t.type("half\x03")
    tap.equal(os.waitstatus_to_exitcode(t.end()), -signal.SIGINT, "^C ends it")
    os.close(keep)
    t = Terminal("passwd", "eve")
    tap.ok(os.waitstatus_to_exitcode(t.end()) == 67 and "New password" not in t.said, "nobody is asked for nobody's", t.said)
    tap.equal(content(), before, "nothing was changed")
    done = subprocess.run([lib.WAXWING, "user", "--file", FILE, "passwd", "zoe"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True, timeout=lib.DEADLINE_S)
    tap.ok(done.returncode == 64 and "--stdin" in done.stderr, "without a terminal --stdin is named", str(done))


def echo_returns():
    """A shell's terminal echoes again after ^C: the terminal is held open by this side's parent, so it can be asked."""
    leader, follower = pty.openpty()
    p = subprocess.Popen([lib.WAXWING, "user", "--file", FILE, "passwd", "zoe"], stdin=follower, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, preexec_fn=lambda: (os.setsid(), fcntl.ioctl(follower, termios.TIOCSCTTY, 0)))
    lib.wait_until(lambda: not termios.tcgetattr(follower)[3] & termios.ECHO, "the echo to be off")
    p.send_signal(signal.SIGTERM)
    tap.equal((p.wait(lib.DEADLINE_S), bool(termios.tcgetattr(follower)[3] & termios.ECHO)), (-signal.SIGTERM, True),
              "a signal ends it, and the terminal is as before")
    p.communicate()
    os.close(leader)
    os.close(follower)


adds()
refuses()
programs()
lists()
removes()
files()
waits()
asks()
echo_returns()
tap.end()
