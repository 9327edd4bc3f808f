#!/usr/bin/env python3
"""~/.forward: where mail goes that a user sends on, what of the file is refused, and that nothing is lost by it."""
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["mount"])
where = lib.folder()
HOMES, BOXES = os.path.join(where, "home"), os.path.join(where, "boxes")
USERS = {name: 20001 + i for i, name in enumerate(("joe", "ann", "bob", "cat", "nohome", "filehome"))}

# ---- accounts of our own ------------------------------------------------------------------------------------------------

os.mkdir(HOMES, 0o755)
os.mkdir(BOXES)
os.chmod(BOXES, 0o1777)
with open("/etc/passwd") as f:
    passwd = "".join(line for line in f if not 1000 <= int(line.split(":")[2]) < 65000)
for name, uid in USERS.items():
    passwd += "%s:x:%d:%d::%s/%s:/bin/sh\n" % (name, uid, uid, HOMES, name)
    if name not in ("nohome", "filehome"):
        os.mkdir(os.path.join(HOMES, name), 0o700)
        os.chown(os.path.join(HOMES, name), uid, uid)
lib.file_of(os.path.join(HOMES, "filehome"), "no folder")
subprocess.run(["mount", "--bind", lib.file_of(os.path.join(where, "passwd"), passwd), "/etc/passwd"], check=True)

hop = lib.Hop(2501, [], {"gone": b"550 5.1.1 no such user"})
LUA = """hostname "mx.wax.test"
postmaster "joe@box.test"
relay_from { "127.0.0.1" }
resolver { "127.0.0.53" }
submit(false)
retry { first = "1h", longest = "1h", jitter = 0 }
limits { sessions_per_client = 0 }
listen { port = 25 }
route { to = "*", via = "smtp://127.0.0.1:2501" }
domain "box.test" { users = system, deliver = maildir "%%h/Maildir", forward = true, catchall = "cat", aliases = { both = { "joe", "ann" } } }
domain "also.test" { same_as = "box.test" }
domain "var.test" { users = system, deliver = maildir "%s/%%u", forward = true }
domain "plain.test" { users = system, deliver = maildir "%%h/Plain" }
""" % BOXES
server = lib.start(where, LUA)
TEXT = b"From: a@x.test\r\nSubject: %s\r\n\r\nx\r\n"


def path_of(user):
    return os.path.join(HOMES, user, ".forward")


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def forward(user, text, mode=0o644, owner=None):
    """text: octets, or None for no file."""
    path = path_of(user)
    remove(path)
    if text is not None:
        with open(path, "wb") as f:
            f.write(text)
        os.chown(path, USERS[owner or user] if owner != "root" else 0, USERS[user])
        os.chmod(path, mode)


def clear():
    """No files, no mail."""
    del hop.taken[:]
    for user in USERS:
        home = os.path.join(HOMES, user)
        if os.path.isdir(home):
            remove(path_of(user))
        for box in (home + "/Maildir", home + "/Plain", os.path.join(BOXES, user)):
            shutil.rmtree(box, True)


def send(rcpt, sender="boss@x.test", text=TEXT % b"s", parameters=""):
    return lib.id_of(lib.send_one(25, sender, [rcpt] if isinstance(rcpt, str) else rcpt, text, parameters))


def got():
    """{mailbox: messages} for users, and {address: messages} for what the next hop took; reports are left out."""
    server.wait_empty()
    found = {}
    for user in USERS:
        for box in (os.path.join(HOMES, user, "Maildir"), os.path.join(HOMES, user, "Plain"), os.path.join(BOXES, user)):
            n = len(lib.messages_in(box))
            if n > 0:
                found[user] = found.get(user, 0) + n
    for sender, rcpts, _ in hop.taken:
        for rcpt in rcpts if sender else ():
            found[rcpt] = found.get(rcpt, 0) + 1
    return found


def reports():
    """(recipients, text) of each report that the next hop took."""
    return [(rcpts, text.decode()) for sender, rcpts, text in hop.taken if not sender]


def try_file(content, want, name, rcpt="joe@box.test", **kw):
    clear()
    forward("joe", content)
    send(rcpt, **kw)
    tap.equal(got(), want, name)


# ---- where it goes ------------------------------------------------------------------------------------------------------

try_file(None, {"joe": 1}, "no file: the Maildir")
try_file(b"", {"joe": 1}, "an empty file too")
try_file(b"# |/bin/false\n\n   # ann@far.test\n,\n", {"joe": 1}, "and one of comments")
try_file(b"\\joe\n", {"joe": 1}, "and one that names nobody else")
try_file(b"joe@far.test\n", {"joe@far.test": 1}, "one address outside, and no copy at home")
sender, _, text = hop.taken[0]
tap.equal(sender, "boss@x.test", "the envelope sender stays")
tap.ok(b"\r\nSubject: s\r\n" in text, "the message too", text)
try_file(b"\\joe, joe@far.test\n", {"joe": 1, "joe@far.test": 1}, "a backslash keeps a copy")
tap.ok(b"Delivered-To: joe@box.test\n" in lib.messages_in(HOMES + "/joe/Maildir")[0], "which has his address")
for own in (b"joe", b"JOE", b"joe@box.test", b"Joe@Box.Test", b"joe@also.test", b'"Joe S." <joe>'):
    try_file(own + b"\r\njoe@far.test\r\n", {"joe": 1, "joe@far.test": 1}, "so does %s" % own.decode())
try_file(b"ann, x@far.test,joe+shop@far.test", {"ann": 1, "x@far.test": 1, "joe+shop@far.test": 1},
         "several, another user of the domain among them")
try_file(b"\\joe, x@far.test", {"joe": 1, "x@far.test": 1}, "his address in a same_as domain", rcpt="joe@also.test")
try_file(b"\\joe, x@far.test", {"joe": 1, "x@far.test": 1}, "behind a plus", rcpt="Joe+shop@box.test")
tap.ok(b"delivered-to: joe+shop@box.test\n" in lib.messages_in(HOMES + "/joe/Maildir")[0].lower(), "which his copy keeps")
try_file(b"\\joe, x@far.test", {"joe": 1, "x@far.test": 1}, "for the postmaster, too", rcpt="postmaster")
try_file(b"\\joe, x@far.test", {"joe": 1, "ann": 1, "x@far.test": 1}, "by way of an alias", rcpt="both@box.test")
try_file(b"x@far.test", {"joe": 1}, "a domain without forward reads no file", rcpt="joe@plain.test")
try_file(b"x@far.test", {"x@far.test": 1}, "a Maildir that is not in the home", rcpt="joe@var.test")
try_file(None, {"joe": 1}, "and without a file", rcpt="joe@var.test")
big = TEXT % b"big" + b"line of the message\r\n" * 50000
try_file(b"\\joe\nx@far.test", {"joe": 1, "x@far.test": 1}, "a megabyte, read once and sent twice", text=big)
tap.equal([len(m.partition(b"\n\n")[2]) for m in lib.messages_in(HOMES + "/joe/Maildir")], [2 + 50000 * 20], "arrives whole")
try_file(None, {"joe": 1}, "a megabyte without a file", text=big)
tap.equal([len(m.partition(b"\n\n")[2]) for m in lib.messages_in(HOMES + "/joe/Maildir")], [2 + 50000 * 20], "arrives whole")

clear()
forward("cat", b"cat@box.test, nobody@box.test, x@far.test")
send("nobody@box.test")
tap.equal(got(), {"cat": 1, "x@far.test": 1}, "behind the catch-all, with both of its names: one copy each")
clear()
forward("joe", b"x@far.test")
forward("ann", b"\\ann, x@far.test")
id_ = send(["joe@box.test", "ann@box.test"])
found = got()
tap.equal((found.get("ann"), found.get("joe")), (1, None), "two users who forward to the same")
tap.ok(found.get("x@far.test") in (1, 2), "who gets it", str(found))
tap.ok(any(r["event"] == "expanded" and r.get("text", "").startswith(".forward of ") for r in server.why(id_)), "`why` says by what",
       str(server.why(id_)))
clear()
forward("joe", b"x@far.test", 0o444, "root")
send("joe@box.test")
tap.equal(got(), {"x@far.test": 1}, "root's file counts as the user's")

# ---- circles and reports ------------------------------------------------------------------------------------------------

clear()
forward("joe", b"ann")
forward("ann", b"bob@also.test")
forward("bob", b"far@far.test")
send("joe@box.test")
tap.equal(got(), {"far@far.test": 1}, "one to the other to the next")
clear()
forward("joe", b"ann")
forward("ann", b"joe")
send("joe@box.test")
tap.equal(got(), {}, "two who forward to each other and keep nothing: nobody gets it")
found = reports()
tap.ok(len(found) == 1 and found[0][0] == ["boss@x.test"] and "Status: 5.4.6" in found[0][1], "but the sender a report", str(found))
clear()
forward("joe", b"\\joe, ann")
forward("ann", b"ann, joe, x@far.test")
send("joe@box.test")
tap.equal((got(), len(reports())), ({"joe": 1, "ann": 1, "x@far.test": 1}, 1), "and keep a copy: one each, and a report of the circle")
clear()
forward("joe", b"gone@far.test, \\joe")
send("joe@box.test")
tap.equal(got(), {"joe": 1}, "a target that does not exist")
found = reports()
tap.ok(len(found) == 1 and found[0][0] == ["boss@x.test"] and "Status: 5.1.1" in found[0][1], "is reported to who wrote the message",
       str(found))
clear()
forward("joe", b"gone@far.test")
send("joe@box.test", "")
tap.equal((got(), reports()), ({}, []), "a report that can't be forwarded makes no report")

# ---- what is refused ----------------------------------------------------------------------------------------------------

PROGRAM = "only the configuration can have programs started"
RAN = os.path.join(where, "ran")


def refused(name, pattern, change):
    """Mail waits, `why` says for what; with the file put right it is forwarded."""
    clear()
    change()
    id_ = send("joe@box.test")
    row = server.wait_event(id_, "deferred")
    tap.ok(re.search(pattern, row.get("text", "")), name + " is refused, and `why` says so", str(row))
    forward("joe", b"x@far.test")
    server.queue("retry", "all")
    tap.equal(got(), {"x@far.test": 1}, "put right, it is forwarded")


def file(text, **kw):
    return lambda: forward("joe", text, **kw)


def link(to):
    def change():
        os.symlink(to, path_of("joe"))
        os.lchown(path_of("joe"), USERS["joe"], USERS["joe"])
    return change


def bound():
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path_of("joe"))


refused("a program", "^line 1 of the user's .forward: " + PROGRAM, file(b'"|/usr/bin/touch %s"\n' % RAN.encode()))
refused("a program without quotes", "^line 2 of the user's .forward: " + PROGRAM, file(b"\\joe\n|/usr/bin/touch %s\n" % RAN.encode()))
refused("a file", "^line 1 .*not to files and folders", file(b"x@far.test, " + RAN.encode()))
refused("an include", "^line 3 .*no other file is included", file(b"x@far.test\n#\n:include:/etc/passwd\n"))
tap.ok(not os.path.exists(RAN), "nothing was started or written")
refused("no address", "^line 1 .*domain", file(b"x@"))
refused("a NUL", "^line 1 .*control character", file(b"x@far.test\0\n"))
refused("more than 32 KiB", "more than 32768 octets", file(b"# a comment of forty octets, many times.\n" * 1000))
refused("a file that its group can write", "others than its owner can write it", file(b"x@far.test", mode=0o664))
refused("a file that everybody can write", "others than its owner can write it", file(b"x@far.test", mode=0o646))
refused("another user's file", "it belongs to another user", file(b"x@far.test", owner="ann"))
refused("what he may not read", "permission denied", file(b"x@far.test", mode=0o600, owner="root"))
refused("a symbolic link", "symbolic link", link(lib.file_of(os.path.join(HOMES, "target"), "x@far.test")))
refused("a symbolic link to nowhere", "symbolic link", link("/nonexistent"))
refused("a folder", "no regular file", lambda: os.mkdir(path_of("joe")))
refused("a fifo", "no regular file", lambda: os.mkfifo(path_of("joe")))
refused("a socket", "no regular file", bound)
refused("a device", "no regular file|permission denied", lambda: os.mknod(path_of("joe"), 0o20666, os.makedev(1, 5)))
tap.ok(not any("died" in line for line in server.lines), "no process died of any of it", server.log())

# ---- homes --------------------------------------------------------------------------------------------------------------

clear()
for name in ("nohome", "filehome"):
    send(name + "@var.test")
tap.equal(got(), {"nohome": 1, "filehome": 1}, "who has no home has no .forward")
id_ = send("nohome@box.test")
row = server.wait_event(id_, "deferred")
tap.ok("missing" in row.get("text", ""), "where the Maildir is in the home the mail waits for it", str(row))
os.mkdir(HOMES + "/nohome", 0o700)
forward("nohome", b"x@far.test")
os.chown(HOMES + "/nohome", USERS["nohome"], USERS["nohome"])
send("nohome@var.test")
lib.wait_until(lambda: [1 for _, rcpts, _ in hop.taken if rcpts == ["x@far.test"]], "the forwarded copy")
tap.ok(True, "a home that comes later is seen at once")
server.queue("retry", "all")
tap.equal(got(), {"nohome": 1, "filehome": 1, "x@far.test": 2}, "and what waited for it too")
clear()
os.chmod(HOMES + "/joe", 0)
os.chown(HOMES + "/joe", 0, 0)
id_ = send("joe@var.test")
row = server.wait_event(id_, "deferred")
tap.ok("permission denied" in row.get("text", ""), "a home that he may not enter may have a .forward: the mail waits", str(row))
os.chown(HOMES + "/joe", USERS["joe"], USERS["joe"])
os.chmod(HOMES + "/joe", 0o700)
server.queue("retry", "all")
tap.equal(got(), {"joe": 1}, "and comes")

# many at a time, of users who forward and users who don't
clear()
forward("joe", b"\\joe, x@far.test")
forward("ann", b"bob")
for i in range(60):
    send(("joe", "ann", "bob", "cat")[i % 4] + "@box.test", text=TEXT % b"many" if i % 3 else big)
tap.equal(got(), {"joe": 15, "bob": 30, "cat": 15, "x@far.test": 15}, "60 messages, each where it should be, once")

tap.equal(server.stop(), 0, "the server ends")
done = lib.run("check", lib.file_of(where + "/bad.lua", LUA.replace('users = system, deliver = maildir "%s/%%u"' % BOXES,
                                                                    'users = any, deliver = maildir "%s/%%u"' % BOXES)))
tap.ok(done.returncode == 78 and "has forward, which needs users = system" in done.stderr, "check: forward needs accounts", done.stderr)
subprocess.run(["umount", "/etc/passwd"], check=True)
tap.end()
