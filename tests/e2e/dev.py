#!/usr/bin/env python3
"""`waxwing dev`: what applications send is taken, told, listed, and shown as it was sent; nothing leaves the machine."""
import email.message
import json
import os
import pwd
import re
import select
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
IS_ROOT = os.geteuid() == 0
if IS_ROOT:
    lib.inside()
ODD = re.compile("[^\n\t\x20-\x7e\xa0-\u200a\u2010-\u2027\u2030-\u2059\u2070-\uffff\U00010000-\U0010ffff]")


class Dev:
    """One `waxwing dev`; its output is read as it comes."""

    def __init__(self, where, port, *args, **kw):
        self.where, self.port, self.lines, self.news, self.is_at_end = where, port, [], threading.Condition(), False
        command = [lib.WAXWING, "dev", "--port", str(port)] + (["--dir", where] if where else []) + list(args)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True, **kw)
        threading.Thread(target=self._read, daemon=True).start()
        lib.SERVERS.append(self)

    def _read(self):
        for raw in self.process.stdout:
            with self.news:
                self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.is_at_end = True
            self.news.notify_all()

    def wait_line(self, pattern):
        end = time.monotonic() + lib.DEADLINE_S
        with self.news:
            while True:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                if self.is_at_end or not self.news.wait(end - time.monotonic()):
                    raise TimeoutError("no %r in:\n%s" % (pattern, "\n".join(self.lines)))

    def ready(self):
        self.wait_line("^Ctrl-C ends it")
        return self

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(lib.DEADLINE_S)

    def kill_all(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __call__(self, *args, **kw):
        return lib.run("dev", *(list(args) + (["--dir", self.where] if self.where else [])), **kw)

    def rows(self):
        done = self("list", "--json")
        if done.returncode != 0:
            raise RuntimeError(str(done))
        return lib.rows_of(done.stdout)

    def wait_rows(self, n):
        return lib.wait_until(lambda: (lambda r: r if len(r) == n else None)(self.rows()), "%d messages" % n)

    def octets(self, *args):
        return subprocess.run([lib.WAXWING, "dev"] + list(args) + ["--dir", self.where], stdout=subprocess.PIPE,
                              timeout=lib.DEADLINE_S).stdout

    def send(self, sender, rcpts, message, parameters=""):
        answer = lib.send_one(self.port, sender, rcpts, message, parameters)
        return lib.id_of(answer)


def multipart():
    m = email.message.EmailMessage()
    m["From"] = "Bj\u00f6rn <shop@example.com>"
    m["To"] = "J\u00fcrgen <joe@example.org>"
    m["Subject"] = "Gr\u00fc\u00dfe \u2013 order \u4f60\u597d, and a text that is long enough to be folded over several lines of it"
    m.set_content("Hallo,\nzweite Zeile mit \u00fc = \u20ac.\n")
    m.add_alternative("<p>H\u00e4llo</p>\n", subtype="html")
    m.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="B\u00fcld \u20ac.bin")
    return m


KINDS = [  # (sender, recipients, message, parameters, subject)
    ("a@app.example", ["joe@example.com"], b"Subject: plain\r\n\r\nA line.\r\n.dot\r\n..\r\n\r\n", "", "plain"),
    ("", ["postmaster@example.net"], b"Subject: no sender\r\nReceived: from elsewhere\r\n\r\n", "", "no sender"),
    ("a@app.example", ["\"quoted user\"@example.com", "x@[127.0.0.1]", "y@[IPv6:::1]", "joe+tag=a@sub.example.co.uk"],
     b"Subject: =?iso-8859-1?q?caf=E9?=\r\n\r\nodd addresses\r\n", "", "caf\u00e9"),
    ("a@app.example", ["eight@example.com"], b"Subject: 8 bit\r\nContent-Type: text/plain; charset=windows-1252\r\n"
     b"Content-Transfer-Encoding: 8bit\r\n\r\n5 \x80 \xe9\ttab\r\n", " BODY=8BITMIME", "8 bit"),
    ("\u00e9@\u00e9.example", ["\u00fc@m\u00fcnchen.example"], "Subject: utf-8 \u00fc\r\n\r\n\u00fc\r\n".encode(), " SMTPUTF8 BODY=8BITMIME",
     "utf-8 \u00fc"),
    ("a@app.example", ["user%d@domain%d.example" % (i, i % 7) for i in range(40)], b"Subject: many\r\n\r\nmany\r\n", "", "many"),
    ("a@app.example", ["raw@example.com"], b"no header, only text\r\n", "", ""),
    ("a@app.example", ["ja@example.com"], b"Subject: =?iso-2022-jp?b?GyRCRnxLXBsoQg==?=\r\n\r\n\r\n", "", "\u65e5\u672c"),
    ("a@app.example", ["big@example.com"], b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 4 * 20000 + b"\r\n", "", "big"),
    ("a@app.example", ["evil@example.com"], "Subject: =?utf-8?q?=1B]0;owned=07_=C2=9B31m_=E2=80=AE_=0A_end?=\r\n\r\n\x1b[2J \u202e end\r\n"
     .encode(), " BODY=8BITMIME", None),
]


def kinds(dev):
    ids = [dev.send(*k[:4]) for k in KINDS]
    m = multipart()
    with smtplib.SMTP("127.0.0.1", dev.port, timeout=lib.DEADLINE_S) as s:
        tap.equal(s.send_message(m, "bounce@example.com", ["joe@example.org"]), {}, "a library's client: all recipients taken")
    rows = lib.wait_until(lambda: (lambda r: r if len(r) == len(KINDS) + 1 and max(len(x["to"]) for x in r) == 40 else None)(dev.rows()),
                          "all messages")
    rows.reverse()
    tap.equal([r["number"] for r in rows], list(range(1, len(rows) + 1)), "list --json: numbers from 1, the newest first")
    by_id = {r["id"]: r for r in rows} # a large message may be written after the one behind it
    tap.equal(sorted(by_id)[:-1], sorted(ids), "the ids are those of the replies")
    for id_, (sender, rcpts, message, _, subject) in zip(ids, KINDS):
        row = by_id[id_]
        tap.ok(row["from"] == sender and sorted(row["to"]) == sorted(rcpts) and subject in (row["subject"], None),
               "%s: sender, recipients, subject" % subject, str(row))
        raw = dev.octets("show", str(row["number"]), "--raw")
        tap.ok(raw == message, "%s: --raw is octet for octet what was sent" % subject, repr((raw[:200], message[:200])))
        tap.equal(row["size"], len(message.replace(b"\r\n", b"\n")), "%s: size, as it is kept" % subject)
        if subject is not None:
            tap.ok(dev.wait_line("^      %s$" % re.escape(subject)), "%s: was told" % subject)
    return by_id[ids[3]]["id"], by_id[ids[-1]]["id"], max(by_id)


def shown(dev, eight, evil, last):
    text = dev("show", last).stdout
    tap.ok("Subject: Gr\u00fc\u00dfe \u2013 order \u4f60\u597d, and a" in text and "From: Bj\u00f6rn <shop@example.com>" in text and
           "zweite Zeile mit \u00fc = \u20ac." in text and "application/octet-stream, \"B\u00fcld \u20ac.bin\", 10240 octets" in text,
           "show: header, text and parts, decoded", text)
    rows = dev.rows()
    tap.equal(dev("show", next(str(r["number"]) for r in rows if r["id"] == last)).stdout, text, "show takes an id or a number")
    tap.ok(rows[0]["id"] in dev("show", "latest").stdout, "the latest is the first in the list")
    tap.equal(dev("show", last, "--text").stdout, "Hallo,\nzweite Zeile mit \u00fc = \u20ac.\n", "--text")
    tap.equal(dev("show", last, "--html").stdout, "<p>H\u00e4llo</p>\n", "--html")
    tap.equal(dev.octets("show", last, "--part", "2"), bytes(range(256)) * 40, "--part: the attachment's octets")
    headers = dev("show", last, "--headers").stdout
    tap.ok(re.search("(?m)^Subject: Gr\u00fc.*over several lines of it$", headers) and "\nMIME-Version: 1.0\n" in headers, "--headers", headers)
    row = json.loads(dev("show", last, "--json").stdout)
    tap.ok([p["part"] for p in row["parts"]] == ["1.1", "1.2", "2"] and row["parts"][2]["name"] == "B\u00fcld \u20ac.bin" and
           row["parts"][2]["size"] == 10240 and row["text"].startswith("Hallo,\n") and "H\u00e4llo" in row["html"] and
           {"name": "To", "value": "J\u00fcrgen <joe@example.org>"} in row["headers"] and row["from"] == "bounce@example.com",
           "show --json", str(row))
    tap.equal(dev("show", eight, "--text").stdout, "5 \u20ac \u00e9\ttab\n", "a text of another set comes as UTF-8")
    for command in (["list"], ["show", evil], ["list", "--json"], ["show", evil, "--json"], ["show", evil, "--text"]):
        out = dev(*command).stdout
        tap.ok(not ODD.search(out) and " end" in out, "%s: nothing that a terminal obeys" % " ".join(command),
               repr(ODD.findall(out)))
    for which in ("0", "99", "x", "0000000000ZZZ"):
        done = dev("show", which)
        tap.ok(done.returncode == 66 and which in done.stderr and not done.stdout, "show %s: there is none: 66" % which, str(done))
    done = dev("show", last, "--part", "7")
    tap.ok(done.returncode == 66 and "no part 7" in done.stderr, "a part that is not there: 66", str(done))
    tap.equal(dev("show", "1", "--html").returncode, 66, "no HTML: 66")


def usage(dev):
    for args in (["show"], ["show", "1", "2"], ["list", "1"], ["nothing"], ["--port", "0"], ["--port", "65536"], ["list", "--raw"],
                 ["show", "1", "--raw", "--json"], ["show", "1", "--raw", "--text"], ["clear", "--json"], ["list", "--port", "1"],
                 ["--json"], ["wait", "--after", "x"]):
        done = dev(*args)
        tap.ok(done.returncode == 64 and "Usage: waxwing dev" in done.stderr, "%s: 64" % " ".join(args), str(done))
    done = dev("--host", "localhost.example")
    tap.ok(done.returncode == 64 and "--host" in done.stderr, "a host that is no address: 64", str(done))


def second(dev, where):
    done = dev("--port", str(lib.free_port()))
    tap.ok(done.returncode == 69 and "runs in %s already" % dev.where in done.stderr and "127.0.0.1:%d" % dev.port in done.stderr and
           "process %d" % dev.process.pid in done.stderr and "--dir" in done.stderr, "a second one in the folder says who is there: 69",
           str(done))
    done = lib.run("dev", "--port", str(dev.port), "--dir", where + "/second")
    tap.ok(done.returncode == 69 and "127.0.0.1:%d is in use" % dev.port in done.stderr and "--port" in done.stderr,
           "a second one at the port: 69", str(done))
    lib.file_of(where + "/mine", "precious")
    done = lib.run("dev", "--port", str(lib.free_port()), "--dir", where)
    tap.ok(done.returncode in (69, 77) and "--dir" in done.stderr and os.path.exists(where + "/mine") and
           not os.path.exists(where + "/spool"), "a folder with other files is left alone", str(done))
    done = lib.run("dev", "list", "--dir", where + "/none")
    tap.ok(done.returncode == 66 and "waxwing dev" in done.stderr, "list without a folder: 66", str(done))


def waits(dev):
    n = len(dev.rows())
    done = dev("wait", "--to", "JOE@example.com", "--json")
    tap.ok(done.returncode == 0 and json.loads(done.stdout)["number"] == 1, "wait: what is there already counts", str(done))
    done = dev("wait", "--to", "nobody@example.com", "--timeout", "0")
    tap.ok(done.returncode == 75 and "no such message" in done.stderr, "wait in vain: 75", str(done))
    p = subprocess.Popen([lib.WAXWING, "dev", "wait", "--to", "later@new.example", "--after", str(n), "--json", "--timeout", "60",
                          "--dir", dev.where], stdout=subprocess.PIPE)
    dev.send("a@b.example", ["else@example.com"], b"Subject: not this\r\n\r\n")
    tap.equal(select.select([p.stdout], [], [], 0)[0], [], "another message does not end a wait")
    id_ = dev.send("a@b.example", ["other@example.com", "later@new.example"], b"Subject: this\r\n\r\n")
    row = json.loads(p.communicate(timeout=lib.DEADLINE_S)[0])
    tap.ok(p.returncode == 0 and row["id"] == id_ and row["number"] == n + 2, "wait ends when it is there", str(row))


def stays_here(dev):
    control = dev.where + "/control"

    def queue(*args):
        return lib.run("queue", "--json", "--control", control, *args)
    # a report that the sender asked for is mail for the sender, who is here as everybody is
    n = len(dev.rows())
    client = lib.Smtp(dev.port)
    client.ask("MAIL FROM:<reports@nowhere.example>")
    client.ask("RCPT TO:<joe@elsewhere.example> NOTIFY=SUCCESS")
    id_ = lib.id_of(client.data(b"Subject: tell me\r\n\r\n"))
    client.quit()
    rows = dev.wait_rows(n + 2)
    tap.ok(rows[1]["id"] == id_ and rows[0]["to"] == ["reports@nowhere.example"] and rows[0]["from"] == "", "a report comes back here",
           str(rows[:2]))
    lib.wait_until(lambda: lib.rows_of(queue("stats").stdout)[0]["waiting"] == 0, "an empty queue")
    life = lib.rows_of(lib.run("why", "--json", "--control", control, id_).stdout)
    tap.ok(any(r["event"] == "delivered" for r in life) and all(r["role"] != "relay" for r in life), "nothing was relayed", str(life))
    for address, code in (("joe", 550), ("a%b@example.com", 550), ("a/b@example.com", 550)):
        client = lib.Smtp(dev.port)
        tap.equal(client.envelope("a@b.example", [address])[0], code, "refused as everywhere: %s" % address)
        client.quit()


def sendmail(dev):
    n = len(dev.rows())
    done = lib.run("sendmail", "-t", env=dict(os.environ, WAXWING_SUBMIT=dev.where + "/submit"),
                   input="To: php@example.com\nSubject: from a program\n\ntext\n")
    row = dev.wait_rows(n + 1)[0]
    tap.ok(done.returncode == 0 and row["to"] == ["php@example.com"] and row["subject"] == "from a program", "sendmail hands mail to it",
           str((done, row)))


def again(dev):
    before = dev.rows()
    with socket.create_connection(("127.0.0.1", dev.port)) as idle:
        idle.recv(100)
        tap.equal(dev.stop(), 0, "Ctrl-C ends it well, with a client connected")
    tap.ok(not lib.children(dev.process.pid) and dev.rows() == before, "the mail is there without it")
    dev = Dev(dev.where, dev.port).ready()
    tap.equal(dev.rows(), before, "and at the next start, with its numbers")
    dev.send("a@b.example", ["new@example.com"], b"Subject: after\r\n\r\n")
    rows = dev.wait_rows(len(before) + 1)
    tap.ok(rows[0]["number"] == len(before) + 1 and rows[0]["id"] > before[0]["id"], "numbers and ids go on", str(rows[0]))
    dev.wait_line(r"^ +%d  .* to new@example.com" % (len(before) + 1))
    tap.equal(len([l for l in dev.lines if re.match(r" +\d+  2", l)]), 1, "what is old is not told again")
    done = dev("clear")
    tap.ok(done.returncode == 64 and "--yes" in done.stderr and len(dev.rows()) == len(rows), "clear wants --yes", str(done))
    done = dev("clear", "--yes")
    tap.ok(done.returncode == 0 and dev.rows() == [] and dev("list").stdout == "0 messages\n", "clear", str(done))
    dev.send("a@b.example", ["new@example.com"], b"Subject: first\r\n\r\n")
    tap.equal(dev.wait_rows(1)[0]["number"], 1, "numbers begin again")
    server = [p for p, _ in lib.children(dev.process.pid)]
    os.kill(dev.process.pid, signal.SIGKILL)
    lib.wait_until(lambda: not any(lib.is_alive(p) for p in server), "the server's end when it is left alone")
    tap.ok(len(server) == 1, "killed hard, it leaves no server behind", str(server))


def modes(dev):
    """Nobody else may read what an application sends."""
    open_ = []
    for path, folders, files in os.walk(dev.where):
        for name in [path] + [os.path.join(path, f) for f in files]:
            st = os.lstat(name)
            if st.st_mode & 0o077 and not name.endswith(("/submit", "/control")):
                open_.append((name, oct(st.st_mode)))
    tap.equal(open_, [], "the folder is its user's alone")


def owners(dev, name):
    user = pwd.getpwnam(name).pw_uid
    pids = [dev.process.pid] + [p for p, _ in lib.children(dev.process.pid)]
    pids += [p for q in pids[1:] for p, _ in lib.children(q)]
    uids = set()
    for pid in pids:
        with open("/proc/%d/status" % pid) as f:
            uids |= set(map(int, re.search(r"(?m)^Uid:\s+(.*)$", f.read())[1].split()))
    tap.ok(len(pids) > 6 and uids == {user}, "started by root, each of its processes is %s" % name, str((len(pids), uids)))
    tap.equal(os.stat(dev.where).st_uid, user, "and so is the folder")


def as_others(where):
    """Root without the system users, as in a container; a volume that is empty; a user with a home; one without a name."""
    passwd = "".join("%s:x:%d:%d::/nonexistent:/bin/false\n" % u for u in (("root", 0, 0), ("nobody", 65534, 65534)))
    subprocess.run(["mount", "--bind", lib.file_of(where + "/passwd", passwd), "/etc/passwd"], check=True)
    os.mkdir(where + "/volume")
    dev = Dev(where + "/volume", lib.free_port(), "--host", "0.0.0.0").ready()
    dev.send("a@b.example", ["joe@example.com"], b"Subject: volume\r\n\r\n")
    dev.wait_line("to joe@example.com")
    tap.equal(dev.wait_rows(1)[0]["subject"], "volume", "root without the system users")
    owners(dev, "nobody")
    tap.equal(dev.stop(signal.SIGTERM), 0, "SIGTERM ends it well")
    os.mkdir(where + "/full")
    lib.file_of(where + "/full/mine", "")
    done = lib.run("dev", "--dir", where + "/full", "--port", str(lib.free_port()))
    tap.ok(done.returncode == 77 and "not empty" in done.stderr and os.stat(where + "/full").st_uid == 0, "root's own folder is not given away",
           str(done))
    subprocess.run(["umount", "/etc/passwd"], check=True)
    home = where + "/home"
    os.mkdir(home)
    os.chown(home, 54321, 54321)
    user = {"user": 54321, "group": 54321, "extra_groups": [], "env": dict(os.environ, HOME=home, XDG_STATE_HOME="")}
    dev = Dev(None, lib.free_port(), **user).ready()
    dev.send("a@b.example", ["joe@example.com"], b"Subject: home\r\n\r\n")
    dev.wait_line("to joe@example.com")
    done = lib.run("dev", "list", **user)
    tap.ok(done.returncode == 0 and "home" in done.stdout, "a user without a name in the system: below his home", str(done))
    tap.equal(os.stat(home + "/.local/state/waxwing/dev").st_mode & 0o777, 0o700, "where nobody else may look")
    done = lib.run("dev", "list", "--dir", home + "/.local/state/waxwing/dev")
    tap.ok(done.returncode == 0 and "home" in done.stdout, "root may, as that user", str(done))
    done = lib.run("dev", "list", "--dir", where + "/place", **user)
    tap.equal(done.returncode, 77, "another user may not: 77")
    tap.equal(dev.stop(), 0, "it ends well")


def main():
    where = lib.folder()
    dns = None
    if IS_ROOT:
        dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dns.bind(("127.0.0.1", 53))
        dns.setblocking(False)
    dev = Dev(where + "/place", lib.free_port()).ready()
    tap.ok("127.0.0.1:%d" % dev.port in dev.lines[0] and any("waxwing dev list" in l for l in dev.lines), "it says where it is", str(dev.lines))
    tap.equal(dev("list").stdout, "0 messages\n", "nothing is there at first")
    shown(dev, *kinds(dev))
    usage(dev)
    second(dev, where)
    waits(dev)
    stays_here(dev)
    sendmail(dev)
    modes(dev)
    if IS_ROOT:
        owners(dev, "_wwmail")
    again(dev)
    if IS_ROOT:
        as_others(where)
        tap.equal(select.select([dns], [], [], 0)[0], [], "no name server was ever asked")
    else:
        tap.skip("root's side of it", "needs root")
    tap.end()


main()
