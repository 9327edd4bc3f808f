#!/usr/bin/env python3
"""List mail with a return path for each member: what comes back to it, and what comes of that."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside([])
where = lib.folder()
lib.file_of(os.path.join(where, "aliases"), "club: ann@far.test, bob@far.test, cat@far.test, joe\nowner-club: joe\n")
server = lib.start(where, """hostname "mx.wax.test"
postmaster "joe@box.test"
resolver { "127.0.0.53" }
relay_from { "192.0.2.7" }
submit(false)
retry { first = "1s", longest = "1s", jitter = 0 }
reports { suppress = true, verp = "bounce", arf = "fbl@box.test" }
listen { port = 25 }
route { to = "*", via = "smtp://127.0.0.1:2501" }
domain "box.test" %s
""" % lib.maildir_lua(where, '{ "joe", "fbl" }', ', aliases = file "aliases"'))
MAIL = lib.mail_folder(where)
JOE, FBL = MAIL + "/box.test/joe", MAIL + "/box.test/fbl"


hop = lib.Hop(2501)


def send(sender, to, message, **kw):
    """What the server answers; by a stranger unless a source is given."""
    return lib.send_one(25, sender, [to], message, host="192.0.2.1", **kw)


def list_mail():
    """{member of another domain: the return path that it got}."""
    hop.taken.clear()
    answer = send("a@x.test", "club@box.test", b"From: a@x.test\r\nSubject: news\r\n\r\nx\r\n", source="192.0.2.7")
    lib.id_of(answer)
    server.wait_empty()
    return {rcpt: sender for sender, rcpts, _ in hop.taken for rcpt in rcpts}


def listed():
    return {r["address"]: r["reason"] for r in server.queue("suppressed")}


def status_report(member, action, status, diagnostic):
    """As Postfix writes it."""
    return ("""Date: Wed, 25 Nov 2026 00:00:00 +0000 (UTC)
From: MAILER-DAEMON@far.test (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounce@box.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4F2D11A.1764028800/far.test"
Message-Id: <20261125000000.8D7F3@far.test>

This is a MIME-encapsulated message.

--4F2D11A.1764028800/far.test
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host far.test.

<%(member)s>: %(diagnostic)s

--4F2D11A.1764028800/far.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; far.test
X-Postfix-Queue-ID: 4F2D11A
X-Postfix-Sender: rfc822; bounce@box.test
Arrival-Date: Wed, 25 Nov 2026 00:00:00 +0000 (UTC)

Final-Recipient: rfc822; %(member)s
Original-Recipient: rfc822;%(member)s
Action: %(action)s
Status: %(status)s
Diagnostic-Code: x-unix; %(diagnostic)s

--4F2D11A.1764028800/far.test
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: a@x.test
Subject: news

--4F2D11A.1764028800/far.test--
""" % {"member": member, "action": action, "status": status, "diagnostic": diagnostic}).replace("\n", "\r\n").encode()


def complaint(path, kind="abuse"):
    """As mailbox providers write it (RFC 5965)."""
    return ("""From: <abusedesk@far.test>
Date: Wed, 25 Nov 2026 00:10:00 +0000
Subject: FW: news
To: <fbl@box.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report;
 boundary="part1"

--part1
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--part1
Content-Type: message/feedback-report

Feedback-Type: %s
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <%s>
Source-IP: 192.0.2.1

--part1
Content-Type: message/rfc822

From: a@x.test
Subject: news

x
--part1--
""" % (kind, path)).replace("\n", "\r\n").encode()


def settled(answer, event):
    """The row of this event in the life of the message that was taken, once nothing waits."""
    id_ = lib.id_of(answer)
    row = server.wait_event(id_, event)
    server.wait_empty()
    return row


# ---- out ----------------------------------------------------------------------------------------------------------------

paths = list_mail()
tap.equal(sorted(paths), ["ann@far.test", "bob@far.test", "cat@far.test"], "each member has the mail")
for member, path in sorted(paths.items()):
    tap.ok(re.fullmatch(r"bounce\+%s-\w{8}@box\.test" % member.replace("@", "=").replace(".", r"\."), path),
           "%s has a return path of his own" % member, path)
tap.equal(len(lib.messages_in(JOE)), 1, "the local member has it too")
tap.ok(re.search(rb"(?m)^Return-Path: <bounce\+joe=box\.test-\w{8}@box\.test>$", lib.messages_in(JOE)[0]), "from a path of his own",
       lib.messages_in(JOE)[0])

# ---- what is not believed -----------------------------------------------------------------------------------------------

ann, bob = paths["ann@far.test"], paths["bob@far.test"]
for name, to in (("another tag", re.sub(r"-\w{8}@", "-aaaaaaaa@", ann)), ("the tag of another member", ann.replace("ann=", "cat=")),
                 ("no tag", "bounce+ann=far.test@box.test")):
    tap.equal(send("", to, status_report("ann@far.test", "failed", "5.1.1", "unknown user"))[0], 550, name + " is refused")
tap.equal(listed(), {}, "and teaches nothing")

# ---- reports ------------------------------------------------------------------------------------------------------------

row = settled(send("", bob, status_report("bob@far.test", "delayed", "4.4.1", "connect to far.test: timed out")), "returned")
tap.equal((row["address"], listed()), ("bob@far.test", {}), "a delay is told and teaches nothing")
row = settled(send("", ann, status_report("ann@far.test", "failed", "5.1.1", "unknown user: \"ann\"")), "returned")
tap.equal((row["address"], row.get("class")), ("ann@far.test", "unknown-user"), "a failure is told")
tap.ok("unknown user" in row["text"], "with what the report says", str(row))
lib.wait_until(listed, "an address that gets no list mail")
tap.equal(listed(), {"ann@far.test": "bounced"}, "an unknown member gets no list mail any more")
tap.equal(len(lib.messages_in(JOE)), 1, "the owner is not bothered with either")
tap.equal(sorted(list_mail()), ["bob@far.test", "cat@far.test"], "nor does he")
before = len(lib.messages_in(JOE))
lib.id_of(send("ann@far.test", bob, b"From: ann@far.test\r\nSubject: I am away\r\n\r\nUntil Monday.\r\n"))
server.wait_empty()
tap.equal(len(lib.messages_in(JOE)), before + 1, "what is no report goes to the owner")

# ---- complaints ---------------------------------------------------------------------------------------------------------

settled(send("abusedesk@far.test", "fbl@box.test", complaint(re.sub(r"-\w{8}@", "-aaaaaaaa@", bob))), "delivered")
tap.equal(sorted(listed()), ["ann@far.test"], "a complaint that quotes no return path of ours teaches nothing")
row = settled(send("abusedesk@far.test", "fbl@box.test", complaint(bob)), "complained")
tap.equal(row["address"], "bob@far.test", "a complaint is told")
lib.wait_until(lambda: len(listed()) == 2, "another address that gets no list mail")
tap.equal(listed(), {"ann@far.test": "bounced", "bob@far.test": "complained"}, "and ends list mail for who complained")
tap.equal(len(lib.messages_in(FBL)), 2, "people get the complaints")
tap.equal(sorted(list_mail()), ["cat@far.test"], "the list goes to who is left")

# ---- kept ---------------------------------------------------------------------------------------------------------------

server.kill_all()
server = lib.start(where, open(os.path.join(where, "waxwing.lua")).read().replace(lib.paths_lua(where), ""))
tap.equal(list_mail(), {"cat@far.test": paths["cat@far.test"]}, "kill -9: return paths are as they were, the list too")
row = settled(send("", paths["cat@far.test"], status_report("cat@far.test", "failed", "5.1.1", "unknown user: \"cat\"")), "returned")
tap.equal(row["address"], "cat@far.test", "and those given before are known")
tap.equal(server.stop(), 0, "SIGTERM")
tap.end()
