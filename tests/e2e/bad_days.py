#!/usr/bin/env python3
"""When the world fails: a full disk, a queue that does not answer, no DNS, a Maildir that can't be written, no memory."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["mount", "umount"])
BASE = ('hostname "mx.wax.test"\nrelay_from { "127.0.0.1" }\nresolver { "127.0.0.53" }\nlisten { port = 25 }\n'
        'retry { first = "1s", longest = "1s", jitter = 0 }\nlimits { sessions_per_client = 0 }\n')


def lua(where, extra=""):
    return BASE + extra + 'domain "one.test" %s\n' % lib.maildir_lua(where)


def nobody_died(server):
    tap.ok(not any("role.died" in line for line in server.lines), "nobody died of it", server.log())
    tap.equal(server.stop(), 0, "the server ends well")


def message(name, size=0):
    return b"Subject: " + name.encode() + b"\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72) + b"end\r\n"


def subjects(maildir):
    return sorted(re.search(rb"(?m)^Subject: (.*)$", m)[1].decode() for m in lib.messages_in(maildir))


def disk_full():
    """The spool is on a small file system. Mail waits for a domain whose MX is down, so it fills."""
    where = lib.folder()
    spool = os.path.join(where, "spool")
    os.mkdir(spool)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m,mode=700", "none", spool], check=True)
    subprocess.run(["chown", "_wwqueue:_wwqueue", spool], check=True)
    try:
        server = lib.start(where, lua(where, 'route { to = "*", via = "smtp://127.0.0.1:9" }\n'))
        client, codes, taken = lib.Smtp(25), [], []
        for i in range(60):
            answer = client.send("a@one.test", ["x@other.test"], message("waits %d" % i, 3 << 20))
            codes.append(answer[0])
            if answer[0] != 250:
                break
            taken.append(lib.id_of(answer))
        tap.ok(codes[-1] == 452 and len(taken) > 3, "when the disk is full: 452 (after %d messages)" % len(taken), repr(answer))
        tap.equal(client.ask("NOOP")[0], 250, "the session goes on")
        client.close()
        waiting = {r["id"] for r in server.queue("list")}
        tap.equal(sorted(set(taken) - waiting), [], "what was taken is in the queue")
        server.kill_all()
        server = lib.start(where, lua(where, 'route { to = "*", via = "smtp://127.0.0.1:9" }\n'))
        waiting = {r["id"] for r in server.queue("list")}
        tap.equal(sorted(set(taken) - waiting), [], "and is there after kill -9 and a start on the full disk")
        dropped = server.queue("drop", "id=" + taken[0])
        tap.ok(dropped[0].get("done") == 1, "one can be dropped although the disk is full", str(dropped))
        subprocess.run(["mount", "-o", "remount,size=300m", spool], check=True)

        def takes():
            return lib.send_one(25, "a@one.test", ["joe@one.test"], message("space again"))[0] == 250
        lib.wait_until(takes, "a 250 when there is space again")
        tap.ok(True, "when there is space again: 250, without a restart")
        lib.wait_until(lambda: "space again" in subjects(where + "/mail/one.test/joe"), "the delivery")
        tap.ok(True, "and it is delivered")
        waiting = {r["id"] for r in server.queue("list")}
        tap.equal(sorted(set(taken[1:]) - waiting), [], "the others still wait")
        nobody_died(server)
    finally:
        subprocess.run(["umount", "-l", spool], check=True)


def queue_stands_still():
    where = lib.folder()
    server = lib.start(where, lua(where))
    pid = server.pid("queue")
    os.kill(pid, signal.SIGSTOP)
    client = lib.Smtp(25, timeout_s=2)
    try:
        answer = client.send("a@one.test", ["joe@one.test"], message("stopped"))
        tap.ok(answer[0] // 100 == 4, "with the queue stopped nothing is acknowledged", repr(answer))
    except (TimeoutError, OSError):
        tap.ok(True, "with the queue stopped nothing is acknowledged")
        answer = None
    other = lib.Smtp(25)
    tap.equal(other.ask("NOOP")[0], 250, "other sessions are served")
    other.close()
    tap.equal(lib.messages_in(where + "/mail/one.test/joe"), [], "and nothing is delivered")
    os.kill(pid, signal.SIGCONT)
    if answer is None:
        client.socket.settimeout(lib.DEADLINE_S)
        # the reader gave up within a line at most: a new one goes on from the socket
        text = b""
        while not text.endswith(b"\r\n"):
            text += client.socket.recv(4096)
        tap.ok(text.startswith(b"250") or b"\r\n250" in text or text.startswith(b"354"), "when it goes on so does the session",
               repr(text))
    client.close()
    lib.id_of(lib.send_one(25, "a@one.test", ["joe@one.test"], message("after")))
    lib.wait_until(lambda: "after" in subjects(where + "/mail/one.test/joe"), "mail as before")
    tap.ok(True, "then mail flows as before")
    nobody_died(server)


def no_dns():
    where = lib.folder()
    server = lib.start(where, lua(where))
    id_ = lib.id_of(lib.send_one(25, "a@one.test", ["x@far.test"], message("far")))
    local = lib.id_of(lib.send_one(25, "a@one.test", ["joe@one.test"], message("near")))
    server.wait_event(local, "done")
    tap.ok(True, "without a name server local mail is delivered")
    lib.wait_until(lambda: [r for r in server.queue("list") if r["id"] == id_ and r.get("reason")], "a deferral", 90)
    row = [r for r in server.queue("list") if r["id"] == id_][0]
    tap.ok(row["reason"] and not [r for r in server.why(id_) if r["event"] == "failed"],
           "mail for elsewhere waits, with the reason: %s" % row["reason"], str(row))
    server.queue("drop", id_)
    nobody_died(server)


def unwritable():
    where = lib.folder()
    server = lib.start(where, lua(where))
    lib.id_of(lib.send_one(25, "a@one.test", ["joe@one.test"], message("first")))
    folder = where + "/mail/one.test/joe"
    lib.wait_until(lambda: "first" in subjects(folder), "the first message")
    server.wait_empty()
    new, held = folder + "/tmp", folder + "/tmp-held"
    os.rename(new, held)
    lib.file_of(new, "a file where a folder should be")
    id_ = lib.id_of(lib.send_one(25, "a@one.test", ["joe@one.test"], message("second")))
    row = server.wait_event(id_, "deferred")
    tap.ok(row.get("text"), "a Maildir that can't be written: deferred, with words: %s" % row.get("text"), str(row))
    shown = str(server.queue("show", id_))
    tap.ok(row["text"] in shown, "`queue show` tells the reason", shown)
    other = lib.id_of(lib.send_one(25, "a@one.test", ["ann@one.test"], message("other")))
    server.wait_event(other, "done")
    tap.ok(True, "another mailbox gets its mail meanwhile")
    os.unlink(new)
    os.rename(held, new)
    server.wait_event(id_, "done")
    tap.equal(subjects(folder), ["first", "second"], "when it can be written again the mail is delivered, once")
    nobody_died(server)


def little_memory():
    """The least memory that a configuration may give, and clients that send more than that at the same time."""
    where = lib.folder()
    server = lib.start(where, lua(where, 'limits { memory = "16M" }\n').replace("limits { sessions_per_client = 0 }\n", "")
                       .replace('memory = "16M"', 'memory = "16M", sessions_per_client = 0'))
    clients, big = [], message("big", 600 << 10)
    for i in range(60):  # each stays within its message
        c = lib.Smtp(25)
        answer = c.envelope("a@one.test", ["u%d@one.test" % i]) or c.ask("DATA")
        if answer[0] == 354:
            c.socket.settimeout(10)
            c.write(b"Subject: big\r\n\r\n")
            clients.append(c)
        else:
            tap.ok(answer[0] // 100 == 4, "a refusal for want of memory is temporary", repr(answer))
            c.close()
    answers = []
    for c in clients:
        c.write(big)
        c.write(b".\r\n")
    for c in clients:
        c.socket.settimeout(lib.DEADLINE_S)
        answers.append(c.reply()[0])
        c.close()
    tap.ok(set(answers) <= {250, 451, 452, 421}, "60 large messages at a time: taken or refused for now (%s)" %
           {a: answers.count(a) for a in set(answers)}, repr(answers))
    server.wait_empty()
    tap.equal(len(lib.all_messages(where + "/mail")), answers.count(250), "the taken ones are delivered")
    worst = 0
    for (role, _), pid in server.pids().items():
        with open("/proc/%d/status" % pid) as f:
            peak = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) // 1024
        worst = max(worst, peak)
        tap.ok(peak < 80, "%s stayed below 80 MB" % role, "%d MB" % peak)
    tap.say("the largest process reached %d MB with memory = 16M" % worst)
    lib.id_of(lib.send_one(25, "a@one.test", ["joe@one.test"], message("after")))
    tap.ok(True, "and goes on taking mail")
    nobody_died(server)


for part in (disk_full, queue_stands_still, no_dns, unwritable, little_memory):
    try:
        part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s" % (type(e).__name__, e))
        lib.kill_servers()
tap.end()
