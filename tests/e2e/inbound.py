#!/usr/bin/env python3
"""Clients behind proxies and on this machine, lists and aliases, routes by tag and sender."""
import os
import re
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside()
where = lib.folder()
SUBMIT = os.path.join(where, "submit")
lib.file_of(os.path.join(where, "members"), "# who is on it\nann@box.test, joe\nout@far.test\n")
lib.file_of(os.path.join(where, "aliases"), """
# aliases(5)
info: joe, ann
club: :include:members
owner-club: ann
one: two
two: three
three: one
self: \\self, ann
deep: info, joe
Big.Boss: joe
""")
lua = """hostname "mx.wax.test"
postmaster "joe@box.test"
relay_from { "192.0.2.7" }
resolver { "127.0.0.53" }
submit "%s"
xclient_from { "127.0.0.1" }
commands { expn = true }
limits { sessions_per_client = 0, future_release = "1h" }
retry { first = "1s", longest = "1s", jitter = 0 }
listen { port = 25 }
listen { port = 26, proxy = { "127.0.0.1" }, tag = "proxied" }
listen { port = 27, tag_header = "X-Pool", normalize = true, greet_delay = "1s" }
listen { port = 28, submission = true }
listen { port = 24, lmtp = true, address = "127.0.0.1" }
source "pool" { address = "198.51.100.1", helo = "pool.wax.test" }
route { tag = "bulk", via = "smtp://127.0.0.1:2501" }
route { from = "shop@box.test", via = "smtp://127.0.0.1:2502" }
route { to = "*.far.test", via = "smtp://127.0.0.1:2503" }
route { via = "smtp://127.0.0.1:2504", to = "*" }
domain "box.test" %s
domain "same.test" { same_as = "box.test" }
domain "branch.test" { relay = "smtp://127.0.0.1:2505", recipients = { "kim" } }
domain "b\u00fccher.test" %s
""" % (SUBMIT, lib.maildir_lua(where, '{ "joe", "ann", "self" }', ', aliases = file "aliases"'), lib.maildir_lua(where))
server = lib.start(where, lua)
MAIL = lib.mail_folder(where)


class Hop:
    """Takes all mail at a port and keeps (sender, recipients, message)."""

    def __init__(self, port):
        self.taken = []
        import threading
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        import threading
        while True:
            threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, s):
        f = s.makefile("rb")
        s.sendall(b"220 hop.test ESMTP\r\n")
        sender, rcpts = None, []
        for line in f:
            verb = line[:4].upper()
            if verb == b"EHLO":
                s.sendall(b"250-hop.test\r\n250 8BITMIME\r\n")
            elif verb == b"MAIL":
                sender, rcpts = re.search(rb"<(.*?)>", line)[1].decode(), []
                s.sendall(b"250 ok\r\n")
            elif verb == b"RCPT":
                rcpts.append(re.search(rb"<(.*?)>", line)[1].decode())
                s.sendall(b"250 ok\r\n")
            elif verb == b"DATA":
                s.sendall(b"354 go\r\n")
                text = b""
                while (part := f.readline()) != b".\r\n":
                    text += part
                self.taken.append((sender, sorted(rcpts), text))
                s.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                s.sendall(b"221 bye\r\n")
                break
            else:
                s.sendall(b"500 no\r\n")
        s.close()


hops = {port: Hop(port) for port in range(2501, 2506)}
TEXT = b"From: a@x.test\r\nSubject: %s\r\n\r\nx\r\n"


def subjects(user, domain="box.test"):
    return sorted(re.search(rb"(?m)^Subject: (.*)$", m)[1].decode() for m in lib.messages_in("%s/%s/%s" % (MAIL, domain, user)))


def send(subject, rcpts, port=25, sender="a@x.test", source="192.0.2.1", text=TEXT, **kw):
    id_ = lib.id_of(lib.send_one(port, sender, rcpts, text % subject.encode(), source=source, host="192.0.2.1", **kw))
    server.wait_empty()
    return id_


def taken(port, subject):
    return [(s, r) for s, r, text in hops[port].taken if b"Subject: " + subject.encode() in text]


def head_of(user, subject):
    return next(m.partition(b"\n\n")[0].decode() for m in lib.messages_in("%s/box.test/%s" % (MAIL, user))
                if b"\nSubject: " + subject.encode() + b"\n" in m)


# ---- addresses ----------------------------------------------------------------------------------------------------------

id_ = send("to two", ["info@box.test"])
tap.equal((subjects("joe"), subjects("ann")), (["to two"], ["to two"]), "an alias for two")
tap.ok(any(r.get("event") == "expanded" for r in server.why(id_)), "why tells of it", lambda: str(server.why(id_)))
send("once", ["info@box.test", "joe@box.test", "deep@box.test", "JOE@Box.Test"])
tap.equal((subjects("joe").count("once"), subjects("ann").count("once")), (1, 1), "one copy for each, by whatever way")
send("same", ["big.boss@same.test"])
tap.equal(subjects("joe").count("same"), 1, "an alias of a domain that is the same as another")
send("own", ["self@box.test"])
tap.equal((subjects("self"), subjects("ann").count("own")), (["own"], 1), "a copy for oneself and one for another")
send("list", ["club@box.test"])
tap.equal((subjects("joe").count("list"), subjects("ann").count("list")), (1, 1), "members here of a list")
tap.equal(taken(2504, "list"), [("owner-club@box.test", ["out@far.test"])], "a member elsewhere: from the list's owner")
tap.ok("Return-Path: <owner-club@box.test>" in head_of("joe", "list"), "and here", lambda: head_of("joe", "list"))
id_ = send("circle", ["one@box.test"])
tap.equal([s for s, r, text in hops[2504].taken if b"Status: 5.4.6" in text], [""], "a circle of aliases ends in a report")
send("idna", ["kim@xn--bcher-kva.test"])
tap.equal(subjects("kim", "xn--bcher-kva.test"), ["idna"], "a domain outside ASCII by its A-label")
send("idna", ["kim@b\u00fccher.test"], parameters=" SMTPUTF8")
tap.equal(subjects("kim", "xn--bcher-kva.test"), ["idna", "idna"], "and by its U-label")
c = lib.Smtp(25, "192.0.2.1")
c.ask("MAIL FROM:<a@x.test>")
tap.equal([c.ask("RCPT TO:<%s>" % r)[0] for r in ("kim@branch.test", "nobody@branch.test", "x@far.test", "owner-club@box.test")],
          [250, 550, 550, 250], "recipients of a relayed domain stand in a table")
c.close()
send("branch", ["kim@branch.test"])
tap.equal(taken(2505, "branch"), [("a@x.test", ["kim@branch.test"])], "a relayed domain goes to its host")

# ---- routes -------------------------------------------------------------------------------------------------------------

OURS = dict(source="192.0.2.7")
import subprocess
subprocess.run(["ip", "addr", "add", "192.0.2.7/24", "dev", "lo"], check=True)
send("by sender", ["x@there.test"], sender="shop@box.test", **OURS)
tap.equal(len(taken(2502, "by sender")), 1, "a smart host for a sender")
send("by recipient", ["x@y.far.test"], **OURS)
tap.equal(len(taken(2503, "by recipient")), 1, "and for recipients")
send("by tag", ["x@there.test"], port=27, text=b"X-Pool:  bulk\r\n" + TEXT, **OURS)
tap.equal(len(taken(2501, "by tag")), 1, "and for what a header field says")
send("other tag", ["x@there.test"], port=27, text=b"X-Pools: bulk\r\n" + TEXT, **OURS)
tap.equal(len(taken(2504, "other tag")), 1, "of another name it says nothing")
tap.equal(lib.send_one(28, "a@x.test", ["joe@box.test"], TEXT % b"x", host="192.0.2.1", source="192.0.2.1")[0], 550,
          "a stranger at a submission port")

# ---- clients ------------------------------------------------------------------------------------------------------------


def proxied(header, source="127.0.0.1"):
    """What the server says first to a connection that begins so."""
    s = socket.create_connection(("127.0.0.1", 26), 30, (source, 0))
    s.sendall(header + b"EHLO client.example.org\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<x@there.test>\r\nQUIT\r\n")
    out = b""
    try:
        while part := s.recv(65536):
            out += part
    except ConnectionError:
        pass
    s.close()
    return out.decode()


V2 = b"\r\n\r\n\0\r\nQUIT\n"
addr2 = socket.inet_aton("192.0.2.7") + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4000, 26)
for name, header, verdict in (
        ("version 1, a client of ours", b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 26\r\n", "250 2.1.5"),
        ("version 1, a stranger", b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 26\r\n", "550 5.7.1"),
        ("version 2, a client of ours", V2 + b"\x21\x11\0\x0c" + addr2, "250 2.1.5"),
        ("version 2 with more behind", V2 + b"\x21\x11\0\x13" + addr2 + b"\x04\0\x04abcd", "250 2.1.5"),
        ("version 2, the proxy itself", V2 + b"\x20\0\0\0", "550 5.7.1")):
    got = proxied(header)
    tap.ok(got.startswith("220 ") and "\n" + verdict in got, "PROXY " + name, got)
s = socket.create_connection(("127.0.0.1", 26), 30, ("127.0.0.1", 0))
for octet in b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 26\r\nQUIT\r\n":
    s.sendall(bytes([octet]))
tap.ok(s.makefile("rb").read().startswith(b"220 "), "PROXY octet by octet")
s.close()
for name, header in (("no header", b""), ("a cut one", b"PROXY TCP4 192.0.2.7\r\n"),
                     ("a false one", b"PROXY TCP4 192.0.2.777 127.0.0.1 4000 26\r\n"), ("version 3", V2 + b"\x31\x11\0\x0c" + addr2),
                     ("a length that lies", V2 + b"\x21\x11\xff\xff" + addr2)):
    tap.equal(proxied(header), "", "PROXY: " + name + " ends without a word")
tap.equal(proxied(b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 26\r\n", "127.0.0.2"), "", "PROXY from a stranger ends without a word")
c = lib.Smtp(25)
tap.ok("XCLIENT" in c.capabilities, "XCLIENT is offered to a proxy")
tap.equal(c.ask("XCLIENT ADDR=192.0.2.7 NAME=inside.test")[0], 220, "and starts over")
c.ask("EHLO inside.test")
tap.equal((c.ask("MAIL FROM:<a@x.test>")[0], c.ask("RCPT TO:<x@there.test>")[0]), (250, 250), "as a client of ours")
tap.equal(c.ask("RSET")[0], 250, "which can be dropped")
c.ask("XCLIENT ADDR=[UNAVAILABLE]")
c.ask("EHLO inside.test")
tap.equal((c.ask("MAIL FROM:<a@x.test>")[0], c.ask("RCPT TO:<x@there.test>")[0]), (250, 550), "an unknown client is a stranger")
c.close()
c = lib.Smtp(25, "192.0.2.1", "192.0.2.1")
tap.ok("XCLIENT" not in c.capabilities and c.ask("XCLIENT ADDR=192.0.2.7")[0] == 550, "not to others")
tap.equal(c.ask("EXPN club")[0], 550, "EXPN is not for strangers")
tap.ok("FUTURERELEASE" not in c.capabilities, "nor is FUTURERELEASE")
c.close()
c = lib.Smtp(25, "192.0.2.1", "192.0.2.7")
tap.equal(c.ask("EXPN club"), (250, "2.1.5 <ann@box.test>\n2.1.5 <joe@box.test>\n2.1.5 <out@far.test>"), "EXPN for clients of ours")
tap.equal(c.ask("EXPN nobody")[0], 550, "EXPN of no list")
tap.ok("FUTURERELEASE 3600 " in c.capabilities, "FUTURERELEASE for clients of ours", c.capabilities)
held = lib.id_of(c.send("a@x.test", ["joe@box.test"], TEXT % b"later", " HOLDFOR=3"))
row = [r for r in server.queue("list") if r.get("id") == held]
tap.ok(row and subjects("joe").count("later") == 0, "a message is held", str(row))
server.wait_event(held, "done")
tap.equal(subjects("joe").count("later"), 1, "until its time")
tap.equal(c.envelope("a@x.test", ["joe@box.test", "ann@box.test"], " PRDR"), None, "PRDR")
c.ask("DATA")
c.write(TEXT % b"prdr" + b".\r\n")
tap.equal([c.reply()[0] for _ in range(4)], [353, 250, 250, 250], "PRDR: a reply for each and one for all")
c.close()

# bare newlines of our own clients are mended, those of strangers refused, and neither ends a message
BARE = b"Subject: bare\r\n\r\none\ntwo\rthree\r\n.\nfour\n.\r\nfive\r\n"
c = lib.Smtp(27, "192.0.2.1", "192.0.2.7")
c.envelope("a@x.test", ["ann@box.test"])
c.ask("DATA")
c.write(BARE + b".\r\n")
tap.equal(c.reply()[0], 250, "bare newlines of a client of ours are taken")
c.close()
server.wait_empty()
got = [lib.without_trace(m) for m in lib.messages_in(MAIL + "/box.test/ann") if b"bare" in m]
tap.ok(len(got) == 1 and b"one\ntwo\nthree\n" in got[0] and b"five" in got[0] and b"\r" not in got[0], "and mended", str(got))
s = socket.create_connection(("192.0.2.1", 27), 30, ("192.0.2.1", 0))
s.sendall(b"EHLO too.early\r\n")
tap.ok(s.recv(1000).startswith(b"554 5.5.1 "), "who talks before the greeting is refused")
s.close()
c = lib.Smtp(27, "192.0.2.1", "192.0.2.1")
tap.equal(c.greeting[0], 220, "who waits is greeted")
tap.equal(c.send("a@x.test", ["ann@box.test"], BARE)[0], 550, "bare newlines of a stranger are refused")
c.close()

# the socket of this machine
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect(SUBMIT)
f = s.makefile("rb")
f.readline()
for line in (b"HELO me", b"MAIL FROM:<joe@box.test>", b"RCPT TO:<ann@box.test>", b"RCPT TO:<x@there.test>", b"DATA"):
    s.sendall(line + b"\r\n")
    answer = f.readline()
    tap.ok(answer[:1] in b"23", "by the socket: " + line.decode(), repr(answer))
s.sendall(TEXT % b"local" + b".\r\n")
tap.ok(f.readline().startswith(b"250 "), "by the socket: the message")
s.close()
server.wait_empty()
tap.equal((subjects("ann").count("local"), len(taken(2504, "local"))), (1, 1), "it goes here and abroad")
tap.ok(re.search(r"from localhost\s+\(uid 0\)", "\n".join(m.decode() for m in lib.messages_in(MAIL + "/box.test/ann") if b"local" in m)),
       "its trace names the user")
tap.equal(os.stat(SUBMIT).st_mode & 0o777, 0o666, "everybody may use the socket")
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()
