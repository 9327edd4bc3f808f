#!/usr/bin/env python3
"""Mail into programs: what a program gets, what its end means, and what it can't do to the server."""
import json
import os
import pwd
import re
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["setsid"])
PYTHON = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin")  # one that every user may run
if PYTHON is None:
    lib.skip_all("needs a python3 of the system")
where = lib.folder()
OWNER = pwd.getpwnam("_wwmail")
SEEN = os.path.join(where, "seen")  # what programs write
os.mkdir(SEEN, 0o700)
os.chown(SEEN, OWNER.pw_uid, OWNER.pw_gid)


def script(name, text):
    path = lib.file_of(os.path.join(where, name), text)
    os.chmod(path, 0o755)
    return path


TELL = script("tell", """#!%s -B
import json, os, resource, sys
text = sys.stdin.buffer.read()
mask = os.umask(0)
fds = []
for fd in range(256):
    try:
        os.fstat(fd)
        fds.append(fd)
    except OSError:
        pass
told = dict(argv=sys.argv[1:], env=dict(os.environ), text=text.decode("utf-8", "surrogateescape"), uid=os.getresuid(),
            gid=os.getresgid(), groups=os.getgroups(), cwd=os.getcwd(), umask=mask, fds=fds,
            session=os.getsid(0) == os.getpid() == os.getpgrp(), core=resource.getrlimit(resource.RLIMIT_CORE),
            nnp=[l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")])
name = "%s/%%d" %% os.getpid()
with open(name + ".part", "w") as f:
    json.dump(told, f)
os.rename(name + ".part", name)
""" % (PYTHON, SEEN))
DO = script("do", """#!/bin/sh
# what the user's name says
case "$1" in
exit-*) cat >/dev/null; echo "status ${1#exit-}"; exit "${1#exit-}" ;;
own-temp) cat >/dev/null; echo "4.2.2 over quota"; exit 1 ;;
own-perm) cat >/dev/null; echo "5.7.1 go away" >&2; exit 75 ;;
early) exit 0 ;;
early-fail) exit 77 ;;
closes) exec <&-; echo closed >%(seen)s/closes; exit 0 ;;
floods) cat >/dev/null; head -c 8388608 /dev/zero | tr '\\0' 'y'; head -c 4194304 /dev/urandom >&2; exit 65 ;;
background) cat >/dev/null; sleep 1000 & echo $! >%(seen)s/background; exit 0 ;;
daemon) setsid sh -c 'echo $$ >%(seen)s/daemon; exec sleep 1000' & while [ ! -s %(seen)s/daemon ]; do :; done ;;
hangs) sleep 1000 & echo $$ $! >%(seen)s/hangs; wait ;;
deaf) trap '' TERM; sleep 1000 & echo $$ $! >%(seen)s/deaf; wait; wait; exit 0 ;;
waits) echo $$ >%(seen)s/waits.new; mv %(seen)s/waits.new %(seen)s/waits; sleep 1000; exit 0 ;;
counts) wc -c >%(seen)s/counts.new; mv %(seen)s/counts.new %(seen)s/counts; exit 0 ;;
esac
""" % {"seen": SEEN})
lua = """hostname "mx.wax.test"
postmaster "joe@box.test"
relay_from { "127.0.0.1" }
resolver { "127.0.0.53" }
limits { sessions_per_client = 0 }
retry { first = "1h", longest = "1h", jitter = 0 }
listen { port = 25 }
domain "box.test" %s
domain "tell.test" { users = any, user = "_wwmail", deliver = pipe { %s, "--user=%%u", "%%d", "<%%t>", "%%s", "%%r", "100%%%%", "$HOME `id` ;|*", "" } }
domain "bare.test" { users = any, user = "_wwmail", deliver = pipe { %s, "%%u" } }
domain "do.test" { users = any, user = "_wwmail", deliver = pipe { %s, "%%u" } }
domain "short.test" { users = any, deliver = pipe { %s, "%%u", user = "_wwmail", timeout = 2 } }
domain "gone.test" { users = any, user = "_wwmail", deliver = pipe { "%s/nothing" } }
domain "mode.test" { users = any, user = "_wwmail", deliver = pipe { "%s/waxwing.lua" } }
""" % ((lib.maildir_lua(where, '{ "joe" }', ''', aliases = { tell = "|%s 'a  b' %%u %%t", both = { "joe", "|%s both" }, ''' % (TELL, TELL) +
        '''loop = "|%s loop" }''' % TELL),) + tuple(json.dumps(p) for p in (TELL, TELL, DO, DO)) + (where, where))
server = lib.start(where, lua)
TEXT = b"From: a@x.test\r\nSubject: %s\r\n\r\nx\r\n.dot\r\n"


def told():
    """What TELL saw since the last time, one a program."""
    out = []
    for name in sorted(n for n in os.listdir(SEEN) if n.isdigit()):
        path = os.path.join(SEEN, name)
        with open(path) as f:
            out.append(json.load(f))
        os.unlink(path)
    return out


def seen(name):
    path = os.path.join(SEEN, name)
    return lib.wait_until(lambda: os.path.exists(path) and open(path).read(), "what %s wrote" % name)


def send(rcpt, sender="a@x.test", text=TEXT % b"s", parameters=""):
    return lib.id_of(lib.send_one(25, sender, [rcpt] if isinstance(rcpt, str) else rcpt, text, parameters))


def outcome(id_):
    """(event, text) of what became of it."""
    ends = ("delivered", "deferred", "failed")
    row = lib.wait_until(lambda: [r for r in server.why(id_) if r.get("event") in ends], "an outcome of " + id_)[0]
    return row["event"], row.get("text", "")


def try_one(name, want, pattern, domain="do.test", **kw):
    got = outcome(send("%s@%s" % (name, domain), **kw))
    tap.ok(got[0] == want and re.search(pattern, got[1]), "%s is %s" % (name, want), str(got))


HOSTILE = '"o\'brien;$(id)|`x`"@x.test'
# ---- what it gets -------------------------------------------------------------------------------------------------------

id_ = send("joe+shop@tell.test", HOSTILE)
tap.equal(outcome(id_), ("delivered", "delivered to the program"), "into a program")
got = told()
tap.equal(len(got), 1, "once")
got = got[0]
tap.equal(got["argv"], ["--user=joe", "tell.test", "<shop>", HOSTILE, "joe+shop@tell.test", "100%", "$HOME `id` ;|*", ""],
          "its words are as configured, the addresses in them are data")
got["env"].pop("LC_CTYPE", None)  # Python's own
tap.equal(got["env"], {"PATH": "/usr/local/bin:/usr/bin:/bin", "SHELL": OWNER.pw_shell, "HOME": OWNER.pw_dir, "USER": "_wwmail",
                       "LOGNAME": "_wwmail", "SENDER": "_o_brien___id___x__@x.test", "RECIPIENT": "joe+shop@tell.test",
                       "LOCAL": "joe+shop", "EXTENSION": "shop", "DOMAIN": "tell.test"},
          "its environment is what it is told and no more")
lines = got["text"].split("\n")
tap.equal(lines[:2], ["Return-Path: <%s>" % HOSTILE, "Delivered-To: joe+shop@tell.test"], "Return-Path and Delivered-To stand on top")
tap.equal((lines[-5:], "\r" in got["text"]), (["Subject: s", "", "x", ".dot", ""], False), "the message follows, lines end in LF")
tap.equal((got["uid"], got["gid"], got["groups"]), ([OWNER.pw_uid] * 3, [OWNER.pw_gid] * 3, []), "it is the user and nobody else")
tap.equal((got["umask"], got["fds"], got["session"], got["core"], got["nnp"]), (0o77, [0, 1, 2], True, [0, 0], ["1"]),
          "umask 077, no descriptor of ours, a session of its own, no core files, no new privileges")
tap.equal(got["cwd"], OWNER.pw_dir if os.path.isdir(OWNER.pw_dir) else "/", "in its home, or at the root")

id_ = send("joe@tell.test", "")
outcome(id_)
got = told()[0]
tap.equal((got["argv"][3], got["env"]["SENDER"], got["text"].split("\n")[0]), ("", "", "Return-Path: <>"), "the null sender is empty")
big = b"Subject: big\r\n\r\n" + (b"line of the message\r\n" * 50000)
outcome(send("joe@bare.test", text=big))
tap.equal(len(told()[0]["text"].partition("\n\n")[2]), 50000 * 20, "a megabyte arrives whole")
outcome(send("counts@do.test", text=b"Subject: huge\r\n\r\n" + b"x" * 78 + b"\r\n" + (b"y" * 78 + b"\r\n") * 260000))
tap.ok(0 < int(seen("counts")) - 79 * 260001 < 1000, "20 megabytes arrive whole", seen("counts"))

for sender, rcpt, name in (("a@x.test", "-oops@bare.test", "a user that begins with a dash"),):
    got = outcome(send(rcpt, sender))
    tap.ok(got[0] == "failed" and "begins with '-'" in got[1], name + " is refused", str(got))
tap.equal(told(), [], "and no program runs")

id_ = send("tell@box.test")
outcome(id_)
got = told()
tap.equal([g["argv"] for g in got], [["a  b", "tell", ""]], "the program of an alias, its words as quoted")
tap.equal((got[0]["env"]["RECIPIENT"], got[0]["uid"]), ("tell@box.test", [OWNER.pw_uid] * 3), "as the user of the domain")
send("both@box.test", text=TEXT % b"both")
lib.wait_until(lambda: lib.messages_in(where + "/mail/box.test/joe") and any(n.isdigit() for n in os.listdir(SEEN)), "both copies")
tap.equal((len(lib.messages_in(where + "/mail/box.test/joe")), [g["argv"] for g in told()]), (1, [["both"]]),
          "an alias for a mailbox and a program")
got = outcome(send("loop@box.test", text=b"Delivered-To: LOOP@box.test\r\n" + TEXT % b"loop"))
tap.ok(got[0] == "failed" and "mail forwarding loop for loop@box.test" in got[1], "what it has had already is a loop", str(got))
tap.equal(told(), [], "and is not given to it")
got = outcome(send("joe@box.test", text=b"Delivered-To: joe@box.test\r\n" + TEXT % b"loop"))
tap.ok(got[0] == "failed" and "mail forwarding loop for joe@box.test" in got[1], "nor to a mailbox", str(got))

# ---- what its end means -------------------------------------------------------------------------------------------------

for status, want in ((64, "failed"), (65, "failed"), (67, "failed"), (69, "failed"), (73, "failed"), (77, "failed"), (78, "failed"),
                     (1, "failed"), (126, "failed"), (71, "deferred"), (74, "deferred"), (75, "deferred")):
    try_one("exit-%d" % status, want, r"^the program ended with status %d\b.*: status %d$" % (status, status))
try_one("exit-0", "delivered", "delivered to the program")
try_one("own-temp", "deferred", "^over quota$")
try_one("own-perm", "failed", "^go away$")
try_one("early", "delivered", "delivered to the program", text=big)
try_one("early-fail", "failed", "status 77", text=big)
try_one("closes", "delivered", "delivered to the program", text=big)
try_one("floods", "failed", "^the program ended with status 65 .*: y{300,}$", text=big)
try_one("x", "deferred", "could not be executed: .*does not exist", domain="gone.test")
try_one("x", "deferred", "could not be executed: permission denied", domain="mode.test")
id_ = send("exit-67@do.test", "joe@box.test")
outcome(id_)
server.wait_event(id_, "done")
lib.wait_until(lambda: [m for m in lib.messages_in(where + "/mail/box.test/joe") if b"Status: 5.1.1" in m], "a report")
report = [m.decode() for m in lib.messages_in(where + "/mail/box.test/joe") if b"Status: 5.1.1" in m][0]
tap.ok("status 67 (user unknown)" in report and where not in report.partition("Original")[0], "the report says so, and not which program", report)

# ---- what it leaves -----------------------------------------------------------------------------------------------------

try_one("background", "delivered", "delivered")
pid = int(seen("background"))
lib.wait_until(lambda: not lib.is_alive(pid), "the end of what it left running")
tap.ok(True, "what it leaves in its group ends with it")
try_one("daemon", "delivered", "delivered")
pid = int(seen("daemon"))
tap.ok(lib.is_alive(pid), "who makes a session of his own lives on, and holds nobody up")
os.kill(pid, signal.SIGKILL)
try_one("hangs", "deferred", "did not end within 2 seconds and was stopped", domain="short.test")
lib.wait_until(lambda: not any(lib.is_alive(int(p)) for p in seen("hangs").split()), "the end of the group")
tap.ok(True, "a program that hangs is ended, and its children")
try_one("deaf", "deferred", "did not end within 2 seconds and was stopped", domain="short.test")
lib.wait_until(lambda: not any(lib.is_alive(int(p)) for p in seen("deaf").split()), "the end of the group")
tap.ok(True, "so is one that does not listen")


def waiting():
    """A message whose program has begun and will not end: (id, pid of the program)."""
    path = os.path.join(SEEN, "waits")
    if os.path.exists(path):
        os.unlink(path)
    id_ = send("waits@do.test")
    return id_, int(seen("waits"))


id_, pid = waiting()
os.kill(pid, signal.SIGKILL)
got = outcome(id_)
tap.ok(got[0] == "deferred" and "ended by signal 9" in got[1], "kill -9 of the program", str(got))
id_, pid = waiting()
with open("/proc/%d/status" % pid) as f:
    parent = int(re.search(r"PPid:\s+(\d+)", f.read())[1])
with open("/proc/%d/cmdline" % parent) as f:
    tap.ok("--role\0pipe" in f.read(), "its parent is the process for programs")
os.kill(parent, signal.SIGKILL)
got = outcome(id_)
tap.ok(got[0] == "deferred" and "ended before it did" in got[1], "kill -9 of the process that runs it", str(got))
lib.wait_until(lambda: not lib.is_alive(pid), "the end of the program")
tap.ok(True, "ends the program too")
try_one("exit-0", "delivered", "delivered to the program")
tap.ok(not any("role.died" in line for line in server.lines), "nobody else died", server.log())

# many at a time: all come, none is lost
ids = [send("u%d@bare.test" % i) for i in range(80)]
lib.wait_until(lambda: len([n for n in os.listdir(SEEN) if n.isdigit()]) == 80, "80 programs")
for i in ids:
    server.wait_event(i, "done")
tap.equal(sorted(g["argv"][0] for g in told()), sorted("u%d" % i for i in range(80)), "80 messages, each into its program, once")

id_, pid = waiting()
server.process.send_signal(signal.SIGTERM)
server.wait_log(r"\bdrain.begun\b")
tap.equal(server.stop(), 0, "the server ends while a program runs, at the second signal at once")
lib.wait_until(lambda: not lib.is_alive(pid), "the end of the program")
tap.ok(True, "and the program with it")
tap.end()
