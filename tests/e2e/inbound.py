#!/usr/bin/env python3
"""Clients behind proxies and on this machine, lists and aliases, routes by tag and sender, ETRN, callouts, DSN, conversion."""
import email
import os
import re
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["nsd"])
where = lib.folder()
lib.Dns(where, {"test.": "null MX 0 ."})
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
commands { expn = true, etrn = { "192.0.2.8" } }
limits { sessions_per_client = 0, future_release = "1h" }
retry { first = "1h", longest = "1h", jitter = 0 }
listen { port = 25 }
listen { port = 26, proxy = { "127.0.0.1" }, tag = "proxied" }
listen { port = 27, tag_header = "X-Pool", normalize = true, greet_delay = "1s" }
listen { port = 28, submission = true }
listen { port = 24, lmtp = true, address = "127.0.0.1" }
source "pool" { address = "198.51.100.1", helo = "pool.wax.test" }
route { tag = "bulk", via = "smtp://127.0.0.1:2501" }
route { from = "shop@box.test", via = "smtp://127.0.0.1:2502" }
route { to = "*.far.test", via = "smtp://127.0.0.1:2503" }
route { to = "*.old.test", via = "smtp://127.0.0.1:2508" }
route { via = "smtp://127.0.0.1:2504", to = "*" }
domain "box.test" %s
domain "same.test" { same_as = "box.test" }
domain "asked.test" { relay = "smtp://127.0.0.1:2506", recipients = "callout" }
domain "away.test" { relay = "smtp://127.0.0.1:2507", recipients = any }
domain "branch.test" { relay = "smtp://127.0.0.1:2505", recipients = { "kim" } }
domain "b\u00fccher.test" %s
""" % (SUBMIT, lib.maildir_lua(where, '{ "joe", "ann", "self" }', ', aliases = file "aliases"'), lib.maildir_lua(where))
server = lib.start(where, lua)
MAIL = lib.mail_folder(where)


REFUSES = {"nobody": b"550 5.1.1 unknown", "later": b"450 4.2.1 not now"}
hops = {port: lib.Hop(port, refuses=REFUSES) for port in range(2501, 2507)}
hops[2508] = lib.Hop(2508, [b"SIZE"], REFUSES)
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


def proxied(header, source="127.0.0.1", before=b""):
    """What the server says first to a connection that begins so."""
    s = socket.create_connection(("127.0.0.1", 26), 30, (source, 0))
    s.sendall(header + b"EHLO client.example.org\r\n" + before + b"MAIL FROM:<a@x.test>\r\nRCPT TO:<x@there.test>\r\nQUIT\r\n")
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
got = proxied(b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 26\r\n", before=b"XCLIENT ADDR=192.0.2.7\r\n")
tap.ok("XCLIENT" not in got.partition("\n550 ")[0] and "\n550 5.7.0" in got and "\n550 5.7.1" in got,
       "a balancer's clients do not inherit its XCLIENT", got)
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

# ---- what others are asked ----------------------------------------------------------------------------------------------

c = lib.Smtp(25, "192.0.2.1", "192.0.2.1")
answer = c.ask("MAIL FROM:<x@null.test>")
tap.ok(answer[0] == 550 and answer[1].startswith("5.7.27 "), "a sender whose domain has a null MX", str(answer))
tap.equal((c.ask("MAIL FROM:<x@nowhere.test>")[0], c.ask("RSET")[0]), (250, 250), "one whose domain does not exist is taken")
c.ask("MAIL FROM:<a@x.test>")
tap.equal([c.ask("RCPT TO:<%s@asked.test>" % r)[0] for r in ("kim", "nobody", "later", "ann")], [250, 550, 450, 250],
          "the next hop is asked who exists")
c.write(b"RCPT TO:<lee@asked.test>\r\nRCPT TO:<nobody@asked.test>\r\nDATA\r\n")
tap.equal([c.reply()[0] for _ in range(3)], [250, 550, 354], "what is pipelined behind a question waits")
c.write(TEXT % b"asked" + b".\r\n")
tap.equal(c.reply()[0], 250, "and so does the message")
c.close()
server.wait_empty()
tap.equal(taken(2506, "asked"), [("a@x.test", ["ann@asked.test", "kim@asked.test", "lee@asked.test"])], "for those whom it knows")
c = lib.Smtp(25, "192.0.2.1", "192.0.2.7")
tap.equal(c.ask("MAIL FROM:<x@null.test>")[0], 250, "clients of ours are not asked about")
c.close()

id_ = lib.id_of(lib.send_one(25, "a@x.test", ["kim@away.test"], TEXT % b"away", source="192.0.2.1", host="192.0.2.1"))
lib.wait_until(lambda: [r for r in server.queue("list") if r["id"] == id_ and r["state"] == "deferred"], "a deferred message")
hops[2507] = lib.Hop(2507, refuses=REFUSES)
c = lib.Smtp(25, "192.0.2.1", "192.0.2.1")
tap.ok("ETRN" in c.capabilities and c.ask("ETRN away.test")[0] == 459, "ETRN is not for everybody", c.capabilities)
c.close()
subprocess.run(["ip", "addr", "add", "192.0.2.8/24", "dev", "lo"], check=True)
c = lib.Smtp(25, "192.0.2.1", "192.0.2.8")
tap.equal(c.ask("ETRN branch.test")[0], 251, "ETRN: nothing waits for a domain")
tap.equal(c.ask("ETRN away.test"), (253, "2.0.0 1 messages wait and are tried now"), "ETRN: a message waits for another")
server.wait_event(id_, "done")
tap.equal(taken(2507, "away"), [("a@x.test", ["kim@away.test"])], "and is sent at once")
tap.equal(c.ask("ETRN away.test")[0], 251, "then nothing waits any more")
c.close()

# ---- reports on request, and conversion ---------------------------------------------------------------------------------


def send_dsn(subject, rcpt, parameters):
    """Its reports to the sender, ann."""
    c = lib.Smtp(25, "192.0.2.1", "192.0.2.7")
    tap.equal((c.ask("MAIL FROM:<ann@box.test> RET=HDRS ENVID=QQ+2B7")[0], c.ask("RCPT TO:<%s>%s" % (rcpt, parameters))[0]),
              (250, 250), "DSN: %s for %s" % (parameters.strip() or "nothing said", subject))
    id_ = lib.id_of(c.data(TEXT % subject.encode()))
    c.close()
    server.wait_event(id_, "done")
    server.wait_empty()
    return [m.decode() for m in lib.messages_in(MAIL + "/box.test/ann")
            if b"multipart/report" in m and b"Subject: " + subject.encode() + b"\n" in m]


got = send_dsn("success", "joe@box.test", " NOTIFY=SUCCESS ORCPT=rfc822;joe+2Bx@box.test")
tap.ok(len(got) == 1 and all(w in got[0] for w in ("Action: delivered", "Original-Envelope-Id: QQ+7", "Return-Path: <>",
                                                   "Original-Recipient: rfc822; joe+x@box.test", "text/rfc822-headers")),
       "a report of success where it was asked for", str(got))
tap.equal(send_dsn("silent", "joe@box.test", ""), [], "none where it was not")
got = send_dsn("failed", "nobody@there.test", "")
tap.ok(len(got) == 1 and "Action: failed" in got[0] and "Status: 5.1.1" in got[0], "a report of failure", str(got))
tap.equal(send_dsn("never", "nobody@there.test", " NOTIFY=NEVER"), [], "none with NOTIFY=NEVER")
tap.equal(send_dsn("only success", "nobody@there.test", " NOTIFY=SUCCESS"), [], "nor where only success was to be told")


def decoded(text):
    """What a reader sees of the message's body, and how it came."""
    m = email.message_from_bytes(text)
    return m.get_payload(decode=True), m["Content-Transfer-Encoding"]


def old(subject):
    return [text for s, r, text in hops[2508].taken if b"Subject: " + subject in text]


TYPED = (b"From: a@x.test\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\n"
         b"Content-Transfer-Encoding: %s\r\n\r\n")
UMLAUTS = "mit freundlichen Gr\u00fc\u00dfen = 1.\r\n.\r\n".encode() * 3
for name, body, parameters in ((b"8-bit", UMLAUTS, " BODY=8BITMIME"), (b"late 8-bit", b"plain text\r\n" * 20000 + UMLAUTS, "")):
    send(name.decode(), ["x@y.old.test"], parameters=parameters, text=TYPED % (b"%s", b"text/plain; charset=utf-8", b"8bit") + body,
         **OURS)
    got = old(name)
    tap.ok(len(got) == 1 and got[0].isascii(), "%s for a host without 8BITMIME" % name.decode(), lib.brief(got))
    tap.equal(got and decoded(got[0]), (body, "quoted-printable"), "is quoted-printable and says the same")
    send(name.decode(), ["x@there.test"], parameters=parameters, text=TYPED % (b"%s", b"text/plain; charset=utf-8", b"8bit") + body,
         **OURS)
    got = [text for s, r, text in hops[2504].taken if b"Subject: " + name + b"\r" in text]
    tap.equal(got and decoded(got[0]), (body, "8bit"), "and untouched for one with it")
END = b"\n\r\n.\r\n\0\r"
c = lib.Smtp(25, "192.0.2.1", "192.0.2.7")
for name, body, how in ((b"small binary", bytes(range(256)) + END, "base64"), (b"binary", bytes(range(256)) * 900 + END, "base64"),
                        (b"just lines", b"one\r\ntwo\r\n" * 20000, "binary")):
    tap.equal(c.envelope("a@x.test", ["self@box.test", "x@y.old.test"], " BODY=BINARYMIME"), None, "BINARYMIME: " + name.decode())
    octets = TYPED % (name, b"application/octet-stream", b"binary") + body
    tap.equal(c.bdat([octets[:100], octets[100:70000], octets[70000:]])[0], 250, "in chunks")
    server.wait_empty()
    got = [m for m in lib.messages_in(MAIL + "/box.test/self") if b"Subject: " + name + b"\n" in m]
    lines = body.replace(b"\r\n", b"\n") if how == "binary" else body
    tap.equal(got and decoded(got[0]), (lines, how), "arrives in a Maildir as " + how)
    got = old(name)
    tap.equal(got and decoded(got[0])[0], body, "and octet for octet at a host without it")
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
