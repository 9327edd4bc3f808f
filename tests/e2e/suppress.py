#!/usr/bin/env python3
"""What refusals are about, and addresses that lists send no mail to: learnt, kept over a kill, taken back."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside([])
where = lib.folder()
lib.file_of(os.path.join(where, "aliases"), "club: ann@far.test, gone@far.test, dead@far.test, full@far.test\nowner-club: joe\n")
server = lib.start(where, """hostname "mx.wax.test"
postmaster "joe@box.test"
resolver { "127.0.0.53" }
relay_from { "192.0.2.7" }
submit(false)
retry { first = "1h", longest = "1h", jitter = 0 }
reports { suppress = true, suppress_keep = "7d" }
listen { port = 25 }
route { to = "*", via = "smtp://127.0.0.1:2501" }
domain "box.test" %s
""" % lib.maildir_lua(where, '{ "joe" }', ', aliases = file "aliases"'))
MAIL = lib.mail_folder(where)


hop = lib.Hop(2501, [], {"gone": b"550 5.1.1 no such user", "dead": b"550 The account has been disabled",
                         "full": b"554 5.2.2 mailbox full", "grey": b"451 4.7.1 Greylisted, come back in 3600 seconds",
                         "rule": b"550 no"})
TEXT = b"From: a@x.test\r\nSubject: news\r\n\r\nx\r\n"


def users_asked():
    """Who was asked for, by user; reports do not count."""
    return [rcpt.partition("@")[0].lower() for sender, rcpt in hop.asked if sender]


def send(to, waits=True):
    """The id, who was asked for because of it."""
    before = len(users_asked())
    id_ = lib.id_of(lib.send_one(25, "a@x.test", [to], TEXT, source="192.0.2.7", host="192.0.2.1"))
    if waits:
        server.wait_empty()
    return id_, sorted(users_asked()[before:])


def listed():
    return {r["address"]: r for r in server.queue("suppressed")}


def life(id_, event):
    """Rows of the message and of what came of it."""
    return [r for r in server.why(id_) if r["event"] == event]


def reports():
    return len(lib.messages_in(MAIL + "/box.test/joe"))


# ---- classes ------------------------------------------------------------------------------------------------------------

id_, _ = send("grey@far.test", waits=False)
row = server.wait_event(id_, "deferred")
tap.equal(row.get("class"), "greylisted", "a deferral is shown with its class")
tap.equal([r["id"] for r in server.queue("list", "class=greylisted")], [id_], "and `queue list` chooses by it")
tap.equal(server.queue("list", "class=mailbox-full"), [], "another class is another")
tap.equal(server.queue("show", id_)[0]["recipients"][0].get("class"), "greylisted", "`queue show` has it")
text = lib.run("why", "--control", server.control, id_).stdout
tap.ok("greylisted: They want" in text, "`why` explains it", text)
done = lib.run("queue", "--control", server.control, "list", "class=slow")
tap.ok(done.returncode == 65 and "docs/codes.md" in done.stderr, "a class that is none", str(done))
server.queue("drop", id_)

# ---- learnt -------------------------------------------------------------------------------------------------------------

id_, asked = send("club@box.test")
tap.equal(asked, ["ann", "dead", "full", "gone"], "at first each member is tried")
tap.equal(sorted(r["class"] for r in life(id_, "failed")), ["mailbox-disabled", "mailbox-full", "unknown-user"], "what became of them")
lib.wait_until(lambda: len(listed()) == 2, "two addresses")
tap.equal(sorted(listed()), ["dead@far.test", "gone@far.test"], "unknown and closed ones are kept in mind, full ones are not")
tap.ok("550 5.1.1 no such user" in listed()["gone@far.test"]["why"] and listed()["gone@far.test"]["reason"] == "refused", "with the reason", str(listed()))
lib.wait_until(lambda: reports() == 1, "a report for the owner")
id_, asked = send("club@box.test")
tap.equal(asked, ["ann", "full"], "then they are not tried")
tap.equal(sorted(r["address"] for r in life(id_, "suppressed")), ["dead@far.test", "gone@far.test"], "which the journal says")
tap.ok(re.search(r"refused on \d{4}-\d\d-\d\d: .* said 550 5.1.1 no such user", str(life(id_, "suppressed"))), "and why", str(server.why(id_)))
lib.wait_until(lambda: reports() == 2, "a report about the full one")
tap.equal(sum(b"gone@far.test" in m for m in lib.messages_in(MAIL + "/box.test/joe")), 1, "the owner hears of it once")
tap.equal((send("rule@far.test")[1], "rule@far.test" in listed()), (["rule"], False), "a bare 550 teaches nothing")

# ---- kept ---------------------------------------------------------------------------------------------------------------

server.kill_all()
server = lib.start(where, open(os.path.join(where, "waxwing.lua")).read().replace(lib.paths_lua(where), ""))
tap.equal(sorted(listed()), ["dead@far.test", "gone@far.test"], "kill -9: the list is there")
tap.equal(server.queue("stats")[0]["waiting"], 0, "and is no mail")
tap.equal(send("club@box.test")[1], ["ann", "full"], "and counts")
tap.equal(send("gone@far.test")[1], ["gone"], "mail that is not a list's is tried")

# ---- taken back ---------------------------------------------------------------------------------------------------------

hop.refuses.pop("gone")
send("Gone@far.test")
tap.equal(sorted(listed()), ["dead@far.test"], "a server that takes mail for it ends it")
tap.equal(send("club@box.test")[1], ["ann", "full", "gone"], "so it is tried again")
tap.equal(server.queue("unsuppress", "dead@far.test"), [{"changed": 1, "addresses": 0}], "unsuppress")
server.kill_all()
server = lib.start(where, open(os.path.join(where, "waxwing.lua")).read().replace(lib.paths_lua(where), ""))
tap.equal(listed(), {}, "kill -9: it is not back")
tap.equal(send("club@box.test")[1], ["ann", "dead", "full", "gone"], "all are tried")
lib.wait_until(lambda: "dead@far.test" in listed(), "the refusal teaches it again")
tap.equal(server.queue("suppress", "ann@far.test", "--why", "asked by phone")[0]["changed"], 1, "suppress")
text = lib.run("queue", "--control", server.control, "suppressed", "ann@*").stdout
tap.ok(re.search(r"^ann@far.test  operator  since .* until .*\n    asked by phone\n1 address\n$", text), "suppressed", text)
tap.equal(send("club@box.test")[1], ["full", "gone"], "an operator's word counts too")
tap.equal(server.queue("unsuppress", "all")[0], {"changed": 2, "addresses": 0}, "unsuppress all")
for args in (["suppress", "all"], ["suppress"], ["unsuppress"], ["suppressed", "a@b", "c@d"], ["unsuppress", "a@b", "--why", "x"]):
    tap.equal(lib.run("queue", "--control", server.control, *args).returncode, 64, "queue " + " ".join(args))
done = lib.run("queue", "--control", server.control, "suppress", "@")
tap.ok(done.returncode == 65 and "not an address" in done.stderr, "what is no address", str(done))
tap.equal(server.stop(), 0, "SIGTERM")
tap.end()
