#!/usr/bin/env python3
"""The demonstration and every subcommand, as a person at a shell meets them. Needs neither root nor namespaces."""
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
if os.geteuid() == 0:
    lib.inside()


def helps():
    for command in ("serve", "check", "send", "queue", "why", "user", "dns", "status", "dev", "relay", "sendmail"):
        done = lib.run(command, "--help")
        tap.ok(done.returncode == 0 and done.stdout.startswith("Usage: waxwing " + command) and not done.stderr,
               "%s --help" % command, done.stderr + done.stdout)
        done = lib.run(command, "--no-such-option")
        tap.ok(done.returncode == 64 and "Usage:" in done.stderr and not done.stdout,
               "%s refuses an unknown option with exit code 64" % command, str(done))
    tap.equal(lib.run("--help").returncode, 0, "--help")
    tap.equal(lib.run("--version").returncode, 0, "--version")
    tap.equal(lib.run().returncode, 64, "no command is an error of usage")
    done = lib.run("queu")
    tap.ok(done.returncode == 64 and "did you mean 'queue'" in done.stderr, "a misspelt command is guessed", done.stderr)
    done = lib.run("--role", "smtpd")
    tap.ok(done.returncode == 64 and done.stderr, "a role does not start by hand", str(done))


def manual():
    """The manual knows each command, option and exit code."""
    with open(lib.SOURCE + "/man/waxwing.8") as f:
        page = f.read()
    commands = re.findall(r"(?m)^  (\w+) ", lib.run("--help").stdout)
    options = {o for c in commands for o in re.findall(r"--(\w+)", lib.run(c, "--help").stdout)} - {"help"}
    with open(lib.SOURCE + "/src/prog/prog.h") as f:
        codes = re.findall(r"(?m)^ +EXIT_\w+ = (\d+)", f.read())
    tap.ok(len(commands) == 11 and len(options) >= 10 and len(codes) == 11, "what the manual has to hold", str((commands, options, codes)))
    actions = re.findall(r"(?m)^  ([a-z]+) ", lib.run("queue", "--help").stdout.partition("FILTER is")[0])
    tap.equal(len(actions), 13, "what `queue` can do")
    missing = [c for c in commands + actions if not re.search(r"\n\.It Cm %s( (Op )?Ar \w+)?\n" % c, page)] + [o for o in sorted(options) if "Fl Fl " + o not in page]
    missing += [c for c in codes if "\n.It %s\n" % c not in page]
    tap.equal(missing, [], "the manual holds it")
    with open(lib.SOURCE + "/README.md") as f:
        table = f.read().partition("## Commands")[2].partition("##")[0]
    tap.equal([c for c in commands + actions + ["mailq", "newaliases"] if not re.search(r"`(waxwing )?%s\b" % c, table) and
               not "`waxwing queue %s`" % c in table], [], "and so does the README")


def checks(where):
    good = lib.file_of(where + "/good.lua", 'hostname "mx.example.org"\nlisten { port = 2525 }\n')
    bad = lib.file_of(where + "/bad.lua", 'hostname "mx.example.org"\nlisten { prot = 2525 }\n')
    done = lib.run("check", good)
    tap.equal(done.returncode, 0, "check: a good file")
    done = lib.run("check", bad)
    tap.ok(done.returncode == 78 and "bad.lua:2" in done.stderr and "port" in done.stderr,
           "check: a bad file: 78, with line and the right spelling", str(done))
    done = lib.run("check", "--json", bad)
    tap.ok(lib.rows_of(done.stdout)[0]["ok"] is False and lib.rows_of(done.stdout)[0]["errors"], "check --json", str(done))
    done = lib.run("check", where + "/none.lua")
    tap.ok(done.returncode == 66 and "none.lua" in done.stderr, "check: a file that is not there: 66", str(done))
    for path, word in ((where + "/none.lua", "not found"), (where, "no ordinary file")):
        done = lib.run("check", "--json", path)
        row = lib.rows_of(done.stdout)[0]
        tap.ok(done.returncode == 66 and row["ok"] is False and word in row["errors"][0], "check --json: %s: 66" % word,
               str(done))
    done = lib.run("check", lib.file_of(where + "/deep.lua", "local t = " + "{" * 300 + "}" * 300))
    tap.ok(done.returncode == 78 and "within each other" in done.stderr, "check: much too deep", str(done))
    done = lib.run("check", lib.file_of(where + "/unready.lua", 'hostname "mx.example.org"\nlisten { port = 2525,\n'
                                        '  greylist = true }\n'))
    tap.ok(done.returncode == 78 and done.stderr.endswith("unready.lua:3: 'greylist' in listen is not in this version of Waxwing\n"),
           "check: a key that is not in this version", str(done))
    done = lib.run("serve", "--config", bad)
    tap.ok(done.returncode == 78 and "bad.lua:2" in done.stderr, "serve refuses a bad file with 78", str(done))
    done = lib.run("queue", "--control", where + "/nothing", "list")
    tap.ok(done.returncode == 69 and done.stderr, "queue without a server: 69", str(done))
    done = lib.run("why", "a\nb")
    tap.ok(done.returncode == 64 and done.stderr, "why of what is no id: 64, and says so", str(done))
    done = lib.run("why", "--control", where + "/nothing", "0123456789ABC")
    tap.ok(done.returncode == 69 and done.stderr, "why without a server: 69", str(done))
    done = lib.run("send", "--server", "127.0.0.1:1", "--to", "a@localhost", "text")
    tap.ok(done.returncode == 69 and done.stderr, "send without a server: 69", str(done))
    done = lib.run("send", "--to", "not an address", "text")
    tap.equal(done.returncode, 64, "send to what is no address: 64")


EVIL = "\x1b]0;owned\x07 \x9b31m \x7f \u202e \u2066 \u2028 end \0 more"


def fake(where, rows, wanted=None):
    """A control socket that answers once with these rows, as bytes of JSON; the octets that went through."""
    path = where + "/fake"
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def answer():
        client, _ = listener.accept()
        with client, client.makefile("rb") as f:
            f.readline()
            client.sendall(rows)
            if wanted is not None:
                wanted.set()

    threading.Thread(target=answer, daemon=True).start()
    return path


def poison(where):
    """What a terminal obeys never comes out of a command, whatever a process that was taken over may say."""
    row = {k: EVIL for k in ("id", "state", "sender", "reason", "next", "time", "event", "address", "host", "text", "other",
                             "role", "name", EVIL.replace("\0", ""))}
    row["recipients"] = [EVIL, {"address": EVIL}]
    # raw: as a server would that does not escape what JSON lets pass
    end = {"end": True, "ok": False, "error": EVIL}
    lines = "".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in (row, end)).encode()
    for command in (["queue", "list"], ["queue", "show", "0000000000001"], ["queue", "stats"], ["why", "0000000000001"], ["status"],
                    ["queue", "--json", "list"], ["why", "--json", "0000000000001"]):
        done = subprocess.run([lib.WAXWING] + command + ["--control", fake(where, lines)], capture_output=True,
                              timeout=lib.DEADLINE_S)
        text = done.stdout.decode() + done.stderr.decode()
        bad = [c for c in text if c != "\n" and (c < " " or "\x7f" <= c < "\xa0" or c in "\u202e\u2066\u2028")]
        tap.ok(done.returncode == 65 and not bad and "end" in text, "%s: nothing that a terminal obeys" % " ".join(command),
               repr(done))
        if "--json" in command:
            tap.equal(json.loads(done.stdout), row, "and the same text for programs")


def slow_reader(where):
    """A long list for a reader that takes its time: the server is rid of its answer all the same."""
    wanted = threading.Event()
    row = b'{"id":"0000000000001","reason":"%s"}\n' % (b"x" * 1000)
    path = fake(where, row * 20000 + b'{"end":true,"ok":true,"error":""}\n', wanted)
    p = subprocess.Popen([lib.WAXWING, "queue", "--json", "--control", path, "list"], stdout=subprocess.PIPE)
    tap.ok(wanted.wait(lib.DEADLINE_S), "a long answer is taken before a line of it is read")
    tap.equal(p.stdout.read().count(b"\n"), 20000, "and is complete")
    tap.equal(p.wait(), 0, "then it ends well")


def demo(where):
    port = lib.free_port()
    server = lib.start_demo(where, port)
    at = "127.0.0.1:%d" % port
    done = lib.run("send", "--server", at, "--from", "you@localhost", "--to", "friend@localhost", "--subject", "First",
                   "A line.\n.A line with a dot")
    tap.ok(done.returncode == 0 and "queued as" in done.stdout, "send prints the server's answer", str(done))
    id_ = lib.id_of((250, done.stdout))
    server.wait_event(id_, "done")
    rows = server.why(id_)
    events = [r["event"] for r in rows]
    # who took it and who routes it are two processes, so their first words may come in either order
    tap.ok("accepted" in events[:3] and events[-2:] == ["delivered", "done"],
           "why --json tells the life from accepted to done", str(rows))
    text = lib.run("why", "--control", server.control, id_).stdout
    tap.ok("accepted from" in text and "delivered to" in text, "why tells it in words", text)
    got = lib.messages_in(where + "/mail/friend")
    tap.equal(len(got), 1, "one message lies in the Maildir")
    tap.ok(b"\nSubject: First\n" in got[0] and got[0].endswith(b"\n\nA line.\n.A line with a dot\n") and
           id_.encode() in got[0], "the file holds what was sent, and the id", repr(got[0]))
    done = lib.run("queue", "--control", server.control, "list")
    tap.ok(done.returncode == 0 and done.stdout == "0 messages\n", "queue list is empty", str(done))
    done = lib.run("queue", "--control", server.control, "stats")
    tap.equal(done.returncode, 0, "queue stats")
    done = lib.run("why", "--control", server.control, "0000000000000")
    tap.ok(done.returncode in (65, 69), "why of an unknown id", str(done))
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(server.control)
        asker.sendall(b"counters\nwhy 0000000000000\nno-such\n")
        asker.shutdown(socket.SHUT_WR)
        with asker.makefile("rb") as f:
            ends = [r["ok"] for r in lib.rows_of(f.read().decode()) if r.get("end")]
    tap.equal(ends, [True, False, False], "each of several requests on the control socket gets its own end")
    done = lib.run("send", "--json", "--server", at, "--to", "a@other.example", "text")
    rows = lib.rows_of(done.stdout)
    tap.ok(done.returncode == 69 and rows[0]["outcome"] == "refused" and rows[0]["code"] == 550,
           "send of mail for another place is refused: 69", str(done))
    second(where, server)
    since = server.mark()
    tap.equal(server.stop(), 0, "SIGTERM ends it with 0")
    tap.ok(any("drain" in line for line in server.lines[since:]), "and it said so", server.log())


def second(where, first):
    """A second server on the same spool, with another port and control socket."""
    lua = ('hostname "mx.example.org"\nspool "%s/spool"\njournal "%s/journal2"\ncontrol "%s/control2"\n'
           'listen { port = %d, address = "127.0.0.1" }\n' % (where, where, where, lib.free_port()))
    path = lib.file_of(where + "/second.lua", lua)
    done = lib.run("serve", "--config", path)
    tap.ok(done.returncode == 69 and "another server uses this spool" in done.stderr, "a second server on the spool ends", str(done))
    tap.ok("spool" in done.stderr, "and says that it is about the spool", done.stderr)
    tap.ok("another" in done.stderr or "in use" in done.stderr or "lock" in done.stderr, "and that another has it",
           done.stderr)
    done = lib.run("send", "--to", "x@localhost", "--server", "127.0.0.1:%s" % first_port(first), "still there")
    tap.equal(done.returncode, 0, "the first goes on")


def first_port(server):
    return server.wait_log(r"listening at=").split("at=")[1].split()[0].strip('"').rpartition(":")[2]


def queue_commands(where):
    """Mail that waits because its next hop refuses connections."""
    port, nowhere = lib.free_port(), lib.free_port()
    lua = ('hostname "mx.example.org"\nrelay_from { "127.0.0.1" }\nlisten { port = %d, address = "127.0.0.1" }\n'
           'retry { first = "1h" }\nroute { to = "*", via = "smtp://127.0.0.1:%d" }\n' % (port, nowhere))
    server = lib.start(where, lua)

    def state(id_):
        rows = [r for r in server.queue("list") if r["id"] == id_]
        return rows[0]["state"] if rows else None

    def deferrals(id_):
        return len([r for r in server.why(id_) if r["event"] == "deferred"])

    def send(i):
        return lib.id_of(lib.send_one(port, "ann@example.org", ["joe@d%d.example" % i], b"Subject: x\r\n\r\nx\r\n"))

    ids = [send(0)]
    server.wait_event(ids[0], "deferred")
    lib.wait_until(lambda: state(ids[0]) == "deferred", "the end of the attempt")
    before = deferrals(ids[0])
    tap.equal(server.queue("retry", ids[0]), [{"matched": 1, "done": 1, "busy": 0}], "retry finds the one")
    lib.wait_until(lambda: deferrals(ids[0]) > before, "another attempt")
    tap.ok(True, "retry makes an attempt now")
    ids += [send(1), send(2)]
    # the next hop is known to be down, so these may wait without an attempt of their own
    lib.wait_until(lambda: [state(i) for i in ids] == ["deferred"] * 3, "three that wait")
    rows = server.queue("list")
    tap.equal(sorted(r["id"] for r in rows), sorted(ids), "queue list --json has all that wait")
    tap.ok(all("refused" in r["reason"] and r["next"] for r in rows), "with reason and time", str(rows))
    tap.equal(len(server.queue("list", "--max", "2")), 2, "queue list --max")
    done = lib.run("queue", "--control", server.control, "list", "--max", "2")
    tap.ok("2 messages shown, there may be more" in done.stdout, "which says that it may not be all", done.stdout)
    for many in ("0", "-1", "x", "100001"):
        tap.equal(lib.run("queue", "--control", server.control, "list", "--max", many).returncode, 64, "--max " + many)
    if os.geteuid() == 0:
        done = lib.run("queue", "--control", server.control, "list", user="nobody", group="nogroup", extra_groups=[])
        tap.ok(done.returncode == 77 and "permission" in done.stderr, "queue list by another user: 77", str(done))
    tap.equal([r["id"] for r in server.queue("list", "domain=d1.example")], [ids[1]], "a filter by domain")
    tap.equal(len(server.queue("list", "sender=ann@example.org", "state=deferred")), 3, "two filters")
    tap.equal(server.queue("list", "age>1h"), [], "a filter by age")
    shown = server.queue("show", ids[0])
    tap.ok("d0.example" in str(shown) and ids[0] in str(shown), "queue show", str(shown))
    text = lib.run("queue", "--control", server.control, "show", ids[0])
    tap.ok(text.returncode == 0 and "joe@d0.example" in text.stdout, "queue show in words", str(text))
    done = lib.run("queue", "--control", server.control, "show", "0000000000000")
    tap.equal(done.returncode, 65, "queue show of an unknown id: 65")
    done = lib.run("queue", "--control", server.control, "list", "colour=red")
    tap.equal(done.returncode, 65, "a filter that makes no sense: 65")
    done = lib.run("queue", "--control", server.control, "drop")
    tap.equal(done.returncode, 64, "drop of nothing in particular: 64")
    server.queue("hold", ids[0])
    lib.wait_until(lambda: state(ids[0]) == "held", "hold")
    tap.ok(True, "hold")
    server.queue("release", ids[0])
    lib.wait_until(lambda: state(ids[0]) not in ("held", None), "release")
    tap.ok(True, "release")

    server.queue("drop", ids[1])
    lib.wait_until(lambda: state(ids[1]) is None, "drop")
    tap.equal(len(server.queue("list")), 2, "drop takes the one")
    server.queue("drop", "all")
    server.wait_empty()
    tap.ok(True, "drop all takes the others")
    tap.equal(server.stop(), 0, "and ends well")


def suspension(where):
    """Mail that an operator lets nobody attempt: taken, kept over a restart, delivered when he says so."""
    port = lib.free_port()
    lua = 'hostname "mx.example.org"\npostmaster "joe@go.example"\nlisten { port = %d, address = "127.0.0.1" }\n' % port
    lua += "".join('domain "%s.example" %s\n' % (d, lib.maildir_lua(where)) for d in ("go", "stay"))
    server = lib.start(where, lua)

    def say(*args):
        return lib.run("queue", "--control", server.control, *args)

    def row(id_):
        return (server.queue("list", id_) or [{}])[0]

    for args, code in ((["suspend"], 64), (["suspend", "all"], 65), (["suspend", "state=held"], 65), (["suspended", "x"], 64),
                       (["suspend", "colour=red"], 65)):
        done = say(*args)
        tap.ok(done.returncode == code and done.stderr, "queue %s: %d" % (" ".join(args), code), str(done))
    tap.equal(say("suspended").stdout, "nothing is suspended\n", "at first nothing is")
    tap.equal(server.queue("suspend", "domain=stay.example"), [{"changed": 1, "rules": 1}], "queue suspend")
    tap.equal(server.queue("suspended"), [{"filter": "domain=stay.example"}], "queue suspended")
    ids = {d: lib.id_of(lib.send_one(port, "ann@b.example", ["joe@%s.example" % d], b"Subject: x\r\n\r\nx\r\n"))
           for d in ("stay", "go")}
    server.wait_event(ids["go"], "delivered")
    lib.wait_until(lambda: row(ids["stay"]).get("suspended") == 1, "the mark")
    tap.ok(row(ids["stay"])["attempts"] == 0 and not {"attempt", "delivered", "deferred"} & {r["event"] for r in server.why(ids["stay"])},
           "mail for it is taken and not attempted, that for others is delivered", str(server.why(ids["stay"])))
    server.queue("retry", "all")
    lib.wait_until(lambda: row(ids["stay"]).get("suspended") == 1, "the mark again")
    tap.equal(row(ids["stay"])["attempts"], 0, "nor does a retry attempt it")
    tap.ok("suspended" in say("list").stdout, "the list says why it waits", say("list").stdout)
    tap.equal(server.stop(), 0, "the server ends")
    server = lib.start(where, lua)
    tap.equal(say("suspended").stdout, "domain=stay.example\n", "a restart forgets nothing")
    ids["go"] = lib.id_of(lib.send_one(port, "ann@b.example", ["joe@go.example"], b"Subject: x\r\n\r\nx\r\n"))
    server.wait_event(ids["go"], "delivered")
    lib.wait_until(lambda: row(ids["stay"]).get("suspended") == 1, "the mark after the restart")
    tap.equal(row(ids["stay"])["attempts"], 0, "and attempts nothing")
    tap.equal(server.queue("resume", "domain=go.example"), [{"changed": 0, "rules": 1}], "resume of what is not suspended")
    tap.equal(server.queue("resume", "domain=stay.example"), [{"changed": 1, "rules": 0}], "queue resume")
    server.wait_event(ids["stay"], "delivered")
    tap.equal(len(lib.messages_in(where + "/mail/stay.example/joe")), 1, "and it is delivered, once")
    server.queue("suspend", "sender=a@b.example")
    server.queue("suspend", "kind=bounce", "rcpt=*@x.example")
    tap.equal(server.queue("resume"), [{"changed": 2, "rules": 0}], "queue resume ends all of it")
    done = say("list", "reason~denied")
    tap.equal(done.returncode, 0, "a filter of 13 characters is no id")
    tap.equal(server.stop(), 0, "and ends well")


def accounts(where):
    """users = system: each account's mail lies in its home and belongs to it; an alias that names itself keeps a copy."""
    if os.geteuid() != 0:
        tap.skip("accounts of the machine", "needs root")
        return
    uid, home = 54321, where + "/home/ww-anna"
    os.makedirs(home, 0o755)
    os.chown(home, uid, uid)
    with open("/etc/passwd") as f:
        passwd = lib.file_of(where + "/passwd", f.read() + "ww-anna:x:%d:%d::%s/:/bin/sh\n" % (uid, uid, home))
    subprocess.run(["mount", "--bind", passwd, "/etc/passwd"], check=True)  # in our own namespace
    try:
        port = lib.free_port()
        server = lib.start(where, (
            'hostname "mx.example.org"\npostmaster "ww-anna@acc.example"\nlisten { port = %d, address = "127.0.0.1" }\n'
            'domain "acc.example" { users = system, deliver = maildir "%%h/Maildir",\n'
            '  aliases = { ["ww-anna"] = { "WW-Anna@also.example", "archive" }, archive = "ww-anna+kept" } }\n'
            'domain "also.example" { same_as = "acc.example" }\n') % port)
        client = lib.Smtp(port)
        tap.equal(client.envelope("a@b.example", ["root@acc.example"])[0], 550, "root is no user")
        client.close()
        id_ = lib.id_of(lib.send_one(port, "a@b.example", ["WW-anna@also.example"], b"Subject: x\r\n\r\nx\r\n"))
        server.wait_event(id_, "done")
        server.wait_empty()
        to = sorted(m.partition(b"Delivered-To: ")[2].partition(b"\n")[0].decode() for m in lib.messages_in(home + "/Maildir"))
        tap.equal(to, ["ww-anna+kept@acc.example", "ww-anna@acc.example"], "an account's mail, and that of its detail")
        owners = {os.stat(os.path.join(p, f)).st_uid for p, ds, fs in os.walk(home) for f in ds + fs}
        tap.equal(owners, {uid}, "it belongs to the account")
        tap.equal(server.stop(), 0, "and it ends well")
    finally:
        subprocess.run(["umount", "/etc/passwd"], check=True)


def crowd(where):
    """More owners of Maildirs at a time than the local role keeps processes: the others wait for a place, not for the
    next attempt. And more octets for one of them than its process takes at once."""
    n, port = (8 if lib.SANITIZED else 80), lib.free_port()
    user = ', user = "_wwmail"' if os.geteuid() == 0 else ""
    lua = ('hostname "mx.example.org"\npostmaster "joe@d0.example"\nrelay_from {}\n'
           'listen { port = %d, address = "127.0.0.1" }\n' % port)
    mail = lib.mail_folder(where)
    for i in range(n):
        lua += 'domain "d%d.example" { users = any, deliver = maildir "%s/d%d/%%u"%s }\n' % (i, mail, i, user)
        os.mkdir(mail + "/d%d" % i, 0o700)
        shutil.chown(mail + "/d%d" % i, *(["_wwmail"] * 2 if os.geteuid() == 0 else [os.geteuid()]))
    server = lib.start(where, lua)
    id_ = lib.id_of(lib.send_one(port, "a@b.example", ["joe@d%d.example" % i for i in range(n)], b"Subject: x\r\n\r\nx\r\n"))
    server.wait_empty()
    words = [r["event"] for r in server.why(id_)]
    tap.equal((words.count("delivered"), words.count("deferred")), (n, 0),
              "%d owners of Maildirs at once: none has to wait for another attempt" % n)
    piped = b"Subject: x\r\n\r\n" + (b"y" * 900 + b"\r\n") * 120
    id_ = lib.id_of(lib.send_one(port, "a@b.example", ["ann@d%d.example" % i for i in range(n)], piped))
    server.wait_empty()
    words = [r["event"] for r in server.why(id_)]
    tap.equal((words.count("delivered"), words.count("deferred")), (n, 0), "nor with a message that comes by a pipe")
    tap.equal({lib.without_trace(m) for i in range(n) for m in lib.messages_in(mail + "/d%d/ann" % i)},
              {piped.replace(b"\r\n", b"\n")}, "and each has it whole")
    client = lib.Smtp(port)
    big = b"Subject: x\r\n\r\n" + b"x" * 900 + b"\r\n"
    ids = []
    for _ in range(10):
        answer = client.send("a@b.example", ["u%d@d1.example" % i for i in range(40)], big * 66)
        ids.append(lib.id_of(answer))
    client.quit()
    server.wait_empty()
    tap.equal([i for i in ids if any(r["event"] == "deferred" for r in server.why(i))], [],
              "400 deliveries of 60K to one owner: none has to wait for another attempt")
    tap.equal(server.stop(), 0, "and it ends well")


def mailboxes(where):
    """Maildirs that can't be written: the reason is told, nothing is lost, and mending the folder is enough."""
    port, mail = lib.free_port(), lib.mail_folder(where)
    lua = 'hostname "mx.example.org"\npostmaster "joe@ok.example"\nrelay_from {}\nlisten { port = %d, address = "127.0.0.1" }\n' % port
    user = ', user = "_wwmail"' if os.geteuid() == 0 else ""
    for name, path in (("ok", mail + "/%d/%u/.hidden"), ("none", where + "/none/%u"), ("link", mail + "/%d/%u"),
                       ("file", mail + "/file/%u")):
        lua += 'domain "%s.example" { users = any, deliver = maildir "%s"%s }\n' % (name, path, user)
    os.symlink("/tmp", mail + "/link.example")
    lib.file_of(mail + "/file", "")
    server = lib.start(where, lua)
    done = lib.run("check", where + "/waxwing.lua")
    tap.ok(done.returncode == 0 and done.stderr.count("would wait") == 2 and where + "/none" in done.stderr,
           "check warns of a folder that is missing", str(done))
    tap.ok(any("would wait" in line for line in server.lines), "and so does the start", server.log())
    ids = {n: lib.id_of(lib.send_one(port, "a@b.example", ["joe@%s.example" % n], b"Subject: x\r\n\r\nx\r\n"))
           for n in ("ok", "none", "link", "file")}
    server.wait_event(ids["ok"], "delivered")
    tap.equal(len(lib.messages_in(mail + "/ok.example/joe/.hidden")), 1, "a Maildir whose name begins with a dot")
    for name, word in (("none", "missing"), ("link", "link"), ("file", "no folder")):
        text = server.wait_event(ids[name], "deferred").get("text", "")
        tap.ok(word in text, "%s: the reason is told" % name, text)
    tap.ok(not [line for line in server.lines if "signal" in line], "no process crashed", server.log())
    os.mkdir(where + "/none", 0o700)
    if os.geteuid() == 0:
        shutil.chown(where + "/none", "_wwmail", "_wwmail")
    lib.wait_until(lambda: [r for r in server.queue("list", ids["none"]) if r["state"] == "deferred"], "the end of the attempt")
    server.queue("retry", ids["none"])
    server.wait_event(ids["none"], "delivered")
    tap.equal(len(lib.messages_in(where + "/none/joe")), 1, "the folder was made, and a retry delivers")
    tap.equal(server.stop(), 0, "and it ends well")


def reload(where):
    port = lib.free_port()
    base = 'hostname "mx.example.org"\nrelay_from {}\nlisten { port = %d, address = "127.0.0.1" }\n' % port
    one = base + 'domain "one.example" %s\n' % lib.maildir_lua(where)
    server = lib.start(where, one)
    path = where + "/waxwing.lua"

    def verdict(domain):
        client = lib.Smtp(port)
        try:
            return (client.envelope("a@b.example", ["joe@" + domain]) or (250,))[0]
        finally:
            client.close()

    def hup(lua):
        since = server.mark()
        lib.file_of(path, lib.paths_lua(where) + lua)
        server.process.send_signal(signal.SIGHUP)
        return server.wait_log(r"reload\.(done|refused)", since)

    tap.equal((verdict("one.example"), verdict("two.example")), (250, 550), "before the reload: one domain")
    old = lib.Smtp(port)
    tap.ok("reload.done" in hup(one + 'domain "two.example" %s\n' % lib.maildir_lua(where)), "SIGHUP reads it again")
    lib.wait_until(lambda: verdict("two.example") == 250, "the new domain")
    tap.equal(verdict("one.example"), 250, "after it: both domains")
    tap.equal(old.ask("NOOP")[0], 250, "a session from before goes on")
    old.close()
    tap.ok("reload.refused" in hup("hostname 7\n"), "a bad file is refused")
    tap.ok(any(re.match(r'error supervisor config.error text="/.*waxwing.lua:4: ', line) for line in server.lines),
           "and its log says where it is bad", server.log())
    for key in ("spool", "journal", "control"):
        moved = lib.paths_lua(where).replace('%s "' % key, '%s "/else' % key)
        since = server.mark()
        lib.file_of(path, moved + one)
        server.process.send_signal(signal.SIGHUP)
        line = server.wait_log(r"reload\.(done|refused)", since)
        tap.ok("refused" in line and key in line, "another %s is refused while it runs" % key, line)
    tap.equal((verdict("one.example"), verdict("two.example")), (250, 250), "and the old one stays")
    tap.ok("reload.done" in hup(one), "a good one is taken again")
    lib.wait_until(lambda: verdict("two.example") == 550, "the domain is gone")
    tap.ok(True, "the domain that was taken out is gone")
    pids = server.pids()
    client = lib.Smtp(port)
    client.envelope("a@b.example", ["joe@one.example"])
    client.ask("DATA")
    server.process.send_signal(signal.SIGTERM)
    server.wait_log("drain")
    client.write(b"Subject: under way\r\n\r\nwhen SIGTERM came\r\n.\r\n")
    answer = client.reply()
    # which of the two depends on who was faster; what counts is that the client knows
    tap.ok(answer[0] in (250, 421), "a client in its message gets an answer after SIGTERM", repr(answer))
    client.close()
    tap.equal(server.process.wait(lib.DEADLINE_S), 0, "then it ends with 0")
    lib.wait_until(lambda: not any(lib.is_alive(p) for p in pids.values()), "the end of the roles")
    tap.ok(True, "and no role is left")
    server = lib.start(where, one)
    server.wait_empty()
    tap.equal(len(lib.messages_in(where + "/mail/one.example/joe")), int(answer[0] == 250),
              "what was taken is delivered, if only by the next start, and what was not is not")
    server.stop()


def logs(where):
    """The mail log, and its level and form changed in the running processes."""
    port = lib.free_port()
    base = ('hostname "mx.example.org"\nrelay_from {}\nlisten { port = %d, address = "127.0.0.1" }\n'
            'domain "one.example" %s\npostmaster "joe@one.example"\n' % (port, lib.maildir_lua(where)))
    server = lib.start(where, base)

    def send():
        id_ = lib.id_of(lib.send_one(port, "ann@b.example", ["joe@one.example"], b"Subject: x\r\n\r\nx\r\n"))
        server.wait_event(id_, "done")
        return id_

    def hup(level):
        since = server.mark()
        lib.file_of(where + "/waxwing.lua", lib.paths_lua(where) + base + 'log { %s }\n' % level)
        server.process.send_signal(signal.SIGHUP)
        server.wait_log("reload.done", since)

    id_ = send()
    server.wait_log("info admin accepted id=%s address=ann@b.example host=127.0.0.1:[0-9]+ size=17" % id_)
    server.wait_log("info admin delivered id=%s address=joe@one.example" % id_)
    tap.ok(not any("debug" in line for line in server.lines), "the mail log says who sent and who got", server.log())
    hup('level = "debug"')
    # SIGHUP is through with the supervisor first; each role hears of it in its own time
    lib.wait_until(lambda: send() and any("debug admin routed" in line for line in server.lines), "a line of level debug")
    tap.ok(True, "a reload changes the level of running processes")
    hup('format = "json"')
    lib.wait_until(lambda: send() and any(line.startswith('{"level":"info","role":"admin"') for line in server.lines),
                   "a line of JSON")
    lib.rows_of([line for line in server.lines if line.startswith("{")][-1])
    tap.ok(True, "and their form")
    tap.equal(server.stop(), 0, "and it ends well")


def ends(where):
    """Signals of a terminal go to all that runs there; who says it twice will not wait; nothing is typed in."""
    port = lib.free_port()
    lua = ('hostname "mx.example.org"\nlisten { port = %d, address = "127.0.0.1" }\n'
           'domain "one.example" %s\npostmaster "joe@one.example"\n' % (port, lib.maildir_lua(where)))
    server = lib.start(where, lua)
    pids = server.pids()
    client = lib.Smtp(port)
    client.envelope("a@b.example", ["joe@one.example"])
    client.ask("DATA")
    os.killpg(server.process.pid, signal.SIGINT)
    server.wait_log("drain.begun")
    # a smtpd without a session may be done with its work by now
    tap.ok(lib.is_alive(pids[("queue", 0)]) and any(lib.is_alive(pids[("smtpd", i)]) for i in (0, 1)), "Ctrl-C kills no role")
    client.write(b"Subject: under way\r\n\r\nx\r\n.\r\n")
    tap.equal(client.reply()[0], 250, "and a message under way is taken")
    client.close()
    tap.equal(server.process.wait(lib.DEADLINE_S), 0, "then it ends")
    server = lib.start(where, lua)
    pids = server.pids()
    client = lib.Smtp(port)
    client.envelope("a@b.example", ["joe@one.example"])
    client.ask("DATA")
    os.killpg(server.process.pid, signal.SIGINT)
    server.wait_log("drain.begun")
    os.killpg(server.process.pid, signal.SIGINT)
    server.wait_log("drain.cut")
    tap.equal(server.process.wait(lib.DEADLINE_S), 0, "a second Ctrl-C ends it at once")
    client.close()
    lib.wait_until(lambda: not any(lib.is_alive(p) for p in pids.values()), "the end of the roles")
    done = lib.run("check", where + "/waxwing.lua", close_fds=True, preexec_fn=lambda: os.close(0))
    tap.equal(done.returncode, 0, "without a standard input")


def places(where):
    """Folders: made where they are missing, never given away by a link that another made, named when they are shut."""
    lua = ('hostname "mx.example.org"\nlisten { port = %d, address = "127.0.0.1" }\njournal "%s/journal"\ncontrol "%s/control"\n'
           % (lib.free_port(), where, where))
    lib.file_of(where + "/file", "")
    done = lib.run("serve", "--config", lib.file_of(where + "/a.lua", lua + 'spool "%s/file/spool"\n' % where))
    tap.ok(done.returncode == 78 and "/file" in done.stderr and "folder" in done.stderr, "a file where a folder is needed",
           str(done))
    if os.geteuid() != 0:
        return
    nobody = pwd.getpwnam("nobody")
    os.makedirs(where + "/theirs")
    os.makedirs(where + "/victim/spool")
    os.symlink(where + "/victim", where + "/theirs/link")
    os.lchown(where + "/theirs/link", nobody.pw_uid, nobody.pw_gid)
    for spool in ("/theirs/link", "/theirs/link/spool"):
        done = lib.run("serve", "--config", lib.file_of(where + "/b.lua", lua + 'spool "%s%s"\n' % (where, spool)))
        tap.ok(done.returncode == 78 and "theirs/link" in done.stderr, "a link that another user made is not followed", str(done))
    tap.equal([os.stat(where + p).st_uid for p in ("/victim", "/victim/spool")], [0, 0], "and nothing is given away")
    os.makedirs(where + "/hers")
    os.chown(where + "/hers", nobody.pw_uid, nobody.pw_gid)
    done = lib.run("serve", "--config", lib.file_of(where + "/c.lua", lua + 'spool "%s/hers"\n' % where))
    tap.ok(done.returncode == 78 and "belongs to user" in done.stderr and os.stat(where + "/hers").st_uid == nobody.pw_uid,
           "nor is the folder of another user", str(done))
    os.makedirs(where + "/shut", 0o700)
    done = lib.run("serve", "--demo", where + "/shut/run", "--port", str(lib.free_port()))
    tap.ok(done.returncode == 78 and "/shut (owner 0, mode 0700)" in done.stderr,
           "a folder that the processes can't enter is named", str(done))
    tap.equal(os.stat(where + "/shut").st_mode & 0o777, 0o700, "and stays shut")


for part in (lambda w: helps(), lambda w: manual(), checks, poison, slow_reader, demo, queue_commands, suspension, accounts, crowd, mailboxes, logs, reload, ends, places):
    try:
        part(lib.folder())
    except Exception as e:  # one part's trouble is a failure, not the end
        tap.ok(False, "%s goes to its end" % getattr(part, "__name__", "?"), "%s: %s" % (type(e).__name__, e))
        lib.kill_servers()
tap.end()
