#!/usr/bin/env python3
"""What becomes of the header of mail that users submit, as it lies in the mailbox, and of mail that is only passed on."""
import email.utils
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
if os.geteuid() == 0:
    lib.inside()
WHERE = lib.folder()
SUBMIT = os.path.join(WHERE, "submit")
RELAY, USERS, HIDDEN = (lib.free_port() for _ in range(3))
LUA = """hostname "mail.example.org"
resolver "system"
submit "%s"
listen { address = "127.0.0.1", port = %d }
listen { address = "127.0.0.1", port = %d, submission = true }
listen { address = "127.0.0.1", port = %d, submission = true, hide_client = true }
domain "example.org" %s
""" % (SUBMIT, RELAY, USERS, HIDDEN, lib.maildir_lua(WHERE))
server = lib.start(WHERE, LUA)
KEPT = b"Subject: %s\r\nTo: b@example.org\r\n"
SECRET = b"Bcc: secret@example.org,\r\n  other@example.org\r\nReturn-Path: <x@example.org>\r\n"
boxes = iter("box%d" % i for i in range(1000))


def arrived(box):
    folder = os.path.join(lib.mail_folder(WHERE), "example.org", box)
    return lib.wait_until(lambda: lib.messages_in(folder), "mail for " + box)[0]


def stored(message, port=USERS, sender="me@example.org", bdat=False, parameters=""):
    """The message as it lies in the mailbox, whole."""
    box = next(boxes)
    client = lib.Smtp(port)
    answer = client.envelope(sender, [box + "@example.org"], parameters)
    answer = answer or (client.bdat(bdat) if bdat else client.data(message))
    client.quit()
    lib.id_of(answer)
    return arrived(box)


def fields(message, name):
    head = message.partition(b"\n\n")[0]
    return re.findall(rb"(?im)^%s[ \t]*: *(.*(?:\n[ \t].*)*)" % name, head)


def lacks():
    text = KEPT % b"one" + SECRET + b"\r\nBcc: in the body\r\n"
    got = stored(text)
    tap.equal(fields(got, b"From"), [b"me@example.org"], "From is the sender")
    dates, ids = fields(got, b"Date"), fields(got, b"Message-ID")
    tap.ok(len(dates) == 1 and email.utils.parsedate_to_datetime(dates[0].decode()), "a Date", dates)
    queue_id = re.search(rb"(?m)\bid (%s)" % lib.IDS.encode(), fields(got, b"Received")[-1])[1]
    tap.ok(len(ids) == 1 and re.fullmatch(rb"<\d+\.%s@mail\.example\.org>" % queue_id, ids[0]), "a Message-ID", ids)
    tap.ok(b"secret" not in got and b"other@" not in got and b"x@example.org" not in got, "Bcc and Return-Path are gone", got)
    tap.ok(b"\nSubject: one\nTo: b@example.org\nFrom: " in got, "the rest is there, the new fields behind it", got)
    tap.equal(got.partition(b"\n\n")[2], b"Bcc: in the body\n", "the body is as it was")
    other = fields(stored(text), b"Message-ID")
    tap.ok(other and other != ids, "each message has an id of its own", (ids, other))


def has_all():
    whole = KEPT % b"two" + b"from: x@example.org\r\nDate :\r\n Tue, 24 Nov 2026 01:02:03 +0000\r\nMessage-id: <1@x>\r\n\r\nx\r\n"
    tap.equal(lib.without_trace(stored(whole)), whole.replace(b"\r\n", b"\n"), "where all is there nothing is added")
    resent = KEPT % b"again" + b"Resent-From: r@example.org\r\n\r\nx\r\n"
    tap.equal(lib.without_trace(stored(resent)), resent.replace(b"\r\n", b"\n"), "nor to what was sent again")
    got = stored(KEPT % b"report" + b"\r\n", sender="")
    tap.ok(not fields(got, b"From") and len(fields(got, b"Date")) == 1, "without a sender no From is made up", got)


def odd():
    got = stored(b"just text\r\nBcc: x\r\n")
    tap.equal(lib.without_trace(got).partition(b"\n\n")[2], b"just text\nBcc: x\n", "a message without header is all body")
    tap.equal(len(fields(got, b"Message-ID")), 1, "and gets a header")
    body = b"".join(b"%07d.\r\n" % i for i in range(200000))
    text = KEPT % b"big" + SECRET + b"\r\n" + body
    cuts = [0, 1, 30, 60, 61, 100, 70000, len(text)]
    got = stored(None, bdat=[text[a:b] for a, b in zip(cuts, cuts[1:])])
    tap.ok(got.partition(b"\n\n")[2] == body.replace(b"\r\n", b"\n") and b"secret" not in got, "1.8 MB in odd pieces",
           len(got))
    tap.equal(len(fields(got, b"Message-ID")), 1, "with its id")
    got = stored(b"Subject: x\r\n\r\n", sender="j\u00f6rg@example.org", parameters=" SMTPUTF8")
    tap.equal(fields(got, b"From"), ["j\u00f6rg@example.org".encode()], "a sender outside ASCII")


def relayed():
    text = KEPT % b"passed on" + b"Bcc: b@example.org\r\n\r\nx\r\n"
    tap.equal(lib.without_trace(stored(text, RELAY)), text.replace(b"\r\n", b"\n"), "what another server hands on stays as it is")


def local():
    box = next(boxes)
    talk = ("EHLO x\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<%s@example.org>\r\nDATA\r\n" % box).encode()
    done = subprocess.run([lib.WAXWING, "sendmail", "-bs"], stdout=subprocess.PIPE, timeout=lib.DEADLINE_S,
                          env=dict(os.environ, WAXWING_SUBMIT=SUBMIT),
                          input=talk + KEPT % b"local" + SECRET + b"\r\nx\r\n.\r\nQUIT\r\n")
    got = arrived(box) if done.returncode == 0 else done.stdout
    tap.ok(b"secret" not in got and len(fields(got, b"Message-ID")) == len(fields(got, b"From")) == 1, "by sendmail -bs too", got)


def hidden():
    trace = [fields(stored(KEPT % b"x" + b"\r\n", port), b"Received")[-1] for port in (USERS, HIDDEN)]
    tap.ok(b"127.0.0.1" in trace[0] and trace[0].startswith(b"from "), "Received says who the client is", trace[0])
    tap.ok(b"127.0.0.1" not in trace[1] and b"client" not in trace[1] and trace[1].startswith(b"by mail.example.org "),
           "with hide_client it does not", trace[1])


lacks()
has_all()
odd()
relayed()
local()
hidden()
tap.equal(server.stop(), 0, "the server ends")
tap.end()
