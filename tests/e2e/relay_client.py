#!/usr/bin/env python3
"""`waxwing relay`, the null client: what a machine's programs hand in reaches the one host, over TLS and with a login, or
waits and says why. The host is a second Waxwing, with users."""
import array
import os
import pwd
import re
import signal
import smtplib
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

tap = lib.Tap()
lib.inside(["nsd", "openssl", "setpriv"])
WHERE = lib.folder()
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY.pw_uid), "--regid", str(NOBODY.pw_gid), "--clear-groups"]
PASSWORD = "correct horse battery"
MEMORY_MAX_KIB = 15 * 1000 * 1000 // 1024  # with what is used of libc, libcrypto and the like


# ---- the host -----------------------------------------------------------------------------------------------------------

def openssl(*args):
    subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=WHERE)


def make_certificates():
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-days", "30", "-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", "-new", *ec, "-subj", "/CN=host", "-keyout", "host.key", "-out", "host.csr")
    lib.file_of(WHERE + "/host.ext", "subjectAltName=DNS:mail.isp.example")
    openssl("x509", "-req", "-in", "host.csr", "-extfile", "host.ext", "-days", "30", "-out", "host.crt",
            "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")


def start_host():
    """A provider: me@isp.example may log in, at 465 and 587, and send as who he likes; all mail ends in Maildirs."""
    where = WHERE + "/host"
    os.makedirs(where, exist_ok=True)
    return lib.start(where, """hostname "mail.isp.example"
postmaster "me@isp.example"
resolver { "127.0.0.53" }
relay_from {}
tls { cert = "%(w)s/host.crt", key = "%(w)s/host.key" }
listen { port = 465, address = "192.0.2.1", submission = true }
listen { port = 587, address = "192.0.2.1", submission = true }
senders { ["me@isp.example"] = "*" }
domain "isp.example" { users = passwd "%(w)s/users", deliver = maildir "%(w)s/host/mail/%%d/%%u", user = "_wwmail" }
domain "*" %(any)s
""" % {"w": WHERE, "any": lib.maildir_lua(where)})


def taken(address, count=1):
    """What the host has for an address, once there are so many of it."""
    user, _, domain = address.partition("@")
    folder = os.path.join(WHERE, "host", "mail", domain, user)
    return lib.wait_until(lambda: len(lib.messages_in(folder)) >= count and lib.messages_in(folder), "mail for " + address)


def field(octets, name):
    found = re.search(rb"(?im)^%s:[ \t]*(.*(?:\n[ \t].*)*)" % name.encode(), octets.partition(b"\n\n")[0])
    return found[1].decode() if found else None


# ---- the machine --------------------------------------------------------------------------------------------------------

class Machine:
    """A user with a home, and his `waxwing relay`."""

    def __init__(self, name, prefix=AS_NOBODY):
        self.home = os.path.join(WHERE, name)
        self.prefix = list(prefix)
        self.state = os.path.join(self.home, ".local/state/waxwing/relay")
        self.env = {"HOME": self.home, "PATH": os.environ["PATH"], "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"]}
        os.mkdir(self.home, 0o700)
        if prefix:
            os.chown(self.home, NOBODY.pw_uid, NOBODY.pw_gid)

    def file(self, name, text, mode=0o600):
        path = lib.file_of(os.path.join(self.home, name), text)
        os.chmod(path, mode)
        if self.prefix:
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        return path

    def start(self, *args, env=None):
        server = lib.Server(args, os.path.join(self.state, "control"), self.prefix, "relay", dict(self.env, **(env or {})))
        return server.wait_ready()

    def run(self, *args, text=None, env=None):
        return subprocess.run(self.prefix + [lib.WAXWING] + list(args), input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", env=dict(self.env, **(env or {})),
                              timeout=lib.DEADLINE_S)

    def sendmail(self, *args, text="Subject: hello\n\nhello\n"):
        return self.run("sendmail", *args, text=text)

    def queue(self, *args):
        done = self.run("queue", "--json", *args)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return lib.rows_of(done.stdout)

    def wait_reason(self, pattern):
        """A row that waits, and says this; else what there is."""
        def found():
            return [r for r in self.queue("list") if re.search(pattern, str(r))]
        try:
            return lib.wait_until(found, pattern)
        except TimeoutError:
            tap.say(self.queue("list"))
            return None


def environment(pid):
    with open("/proc/%d/environ" % pid, "rb") as f:
        return f.read()


def listeners(uid):
    """The TCP ports that processes of this user listen at."""
    found = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path) as f:
            rows = [line.split() for line in f.readlines()[1:]]
        found += [int(r[1].rpartition(":")[2], 16) for r in rows if r[3] == "0A" and int(r[7]) == uid]
    return found


def memory_kib(pids):
    """What these processes hold, each page counted once: the sum of their PSS if nothing else ran on the machine."""
    frames = set()
    for pid in pids:
        with open("/proc/%d/maps" % pid) as f:
            ranges = [[int(x, 16) // 4096 for x in line.split()[0].split("-")] for line in f if "[v" not in line]
        with open("/proc/%d/pagemap" % pid, "rb", 0) as f:
            for first, end in ranges:
                entries = array.array("Q", os.pread(f.fileno(), 8 * (end - first), 8 * first))
                frames.update(e & ((1 << 55) - 1) for e in entries if e >> 63)
    return 4 * len(frames)


def pss_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"(?m)^Pss: *(\d+)", f.read())[1])


def check_memory(server):
    if lib.SANITIZED:
        tap.skip("memory", "sanitizers take some of their own")
        return
    found = server.pids()
    totals = [memory_kib(found.values())]

    def is_small():
        totals.append(memory_kib(found.values()))
        return totals[-1] <= MEMORY_MAX_KIB

    try:
        lib.wait_until(is_small, "memory", 100)  # what was needed for the message is given back within a minute
    except TimeoutError:
        pass
    total = totals[-1]
    tap.say("idle, with a message that waits: %d KiB; by PSS, with what runs here beside it: %d KiB" % (
        total, sum(pss_kib(p) for p in found.values())))
    tap.ok(0 < total <= MEMORY_MAX_KIB, "it takes no more than %d KiB" % MEMORY_MAX_KIB,
           str({k: memory_kib([v]) for k, v in found.items()}))


# ---- the parts ----------------------------------------------------------------------------------------------------------

def wrong_usage():
    m = Machine("usage")
    good = m.file("password", PASSWORD + "\n")
    bad = m.file("open", PASSWORD + "\n", 0o644)
    url = "smtps://me@mail.isp.example"
    for args, env, code, words, name in (
            ([], {}, 64, "Usage", "no host"),
            (["mail.isp.example"], {}, 64, "smtps://", "a host without a scheme"),
            ([url], {}, 64, "--password-file", "a user without a password"),
            (["smtps://me:secret@mail.isp.example"], {}, 64, "everybody", "a password among the arguments"),
            ([url, "--password-file", m.home + "/none"], {}, 66, "none", "no such file of the password"),
            ([url, "--password-file", bad], {}, 78, "chmod", "a password that everybody can read"),
            (["--password-file", good, "smtps://mail.isp.example"], {}, 64, "whose", "a password of nobody"),
            ([url, "--tls", "may"], {"WAXWING_PASSWORD": "x"}, 78, "verify", "a login that might go in the clear"),
            ([url, "--listen", "0.0.0.0:2500"], {"WAXWING_PASSWORD": "x"}, 64, "loopback", "a port for others"),
            ([url, "--to", "root"], {"WAXWING_PASSWORD": "x"}, 64, "address", "--to no address"),
            ([url, "--to", "a@b.example", "--to", "c@d.example"], {"WAXWING_PASSWORD": "x"}, 64, "twice", "--to twice"),
            ([url, "--hostname", "box"], {"WAXWING_PASSWORD": "x"}, 64, "--hostname", "half a hostname"),
            ([url, "--dir", m.home + "/" + "d" * 120], {"WAXWING_PASSWORD": "x"}, 64, "too long", "a long path")):
        done = m.run("relay", *args, env=env)
        tap.ok(done.returncode == code and words in done.stderr, "%s: %d" % (name, code), str(done))
    homeless = subprocess.run(m.prefix + [lib.WAXWING, "relay", "smtp://mail.isp.example"], env={}, stderr=subprocess.PIPE)
    tap.ok(homeless.returncode == 64 and b"--dir" in homeless.stderr, "a user without a home says where: 64", str(homeless))
    done = m.sendmail("root")
    tap.ok(done.returncode == 75 and "waxwing relay" in done.stderr, "sendmail while nothing runs: 75", str(done))


def all_of_it(host):
    """As root of a small machine would have it: cron's mail and the like, over TLS, as somebody."""
    m = Machine("machine")
    server = m.start("--ca", WHERE + "/ca.crt", "--hostname", "box.home.example", "--from", "me@isp.example", "--to",
                     "root=admin@example.org", "--domain", "example.net", "smtps://me@isp.example@mail.isp.example",
                     env={"WAXWING_PASSWORD": PASSWORD})
    tap.equal(listeners(NOBODY.pw_uid), [], "nothing listens on the network")
    found = server.pids()
    tap.equal(sorted(role for role, _ in found), ["admin", "lookup", "queue", "relay", "smtpd", "supervisor"],
              "the processes that it takes")
    tap.ok(all(os.stat("/proc/%d" % p).st_uid in (0, NOBODY.pw_uid) and re.search(r"(?m)^Uid:\s+%d\s" % NOBODY.pw_uid,
               open("/proc/%d/status" % p).read()) for p in found.values()), "none of them is root")
    tap.ok(not any(PASSWORD.encode() in environment(p) for p in found.values()), "no environment holds the password")
    done = m.sendmail("-F", "Cron Daemon", "root", "www-data@localhost", "ann@example.com",
                      text="From: root (Cron Daemon)\nTo: root\nSubject: cron\n\noutput\n")
    tap.equal((done.returncode, done.stderr), (0, ""), "sendmail")
    mail = taken("admin@example.org")[0]
    tap.equal(field(mail, "Return-Path"), "<me@isp.example>", "the sender is the one that was said")
    tap.equal((field(mail, "From"), field(mail, "To")), ("me@isp.example (Cron Daemon)", "root"), "From says so, To stays")
    taken("www-data@example.net")
    taken("ann@example.com")
    tap.ok("ESMTPSA" in field(mail, "Received") and "box.home.example" in field(mail, "Received"), "TLS, and a login",
           field(mail, "Received"))
    m.sendmail("-f", "shop@example.com", "ann@example.com", text="From: Shop <shop@shop.example>\nSubject: shop\n\nx\n")
    mail = taken("ann@example.com", 2)
    tap.equal(sorted((field(x, "Return-Path"), field(x, "From")) for x in mail)[0],
              ("<me@isp.example>", "Shop <shop@shop.example>"), "a From of an application's own stays")
    id_ = re.search(r"accepted id=(%s)" % lib.IDS, server.wait_log(r"\baccepted id="))[1]
    server.wait_log(r"\bdelivered id=" + id_)
    life = m.run("why", id_)
    tap.ok(life.returncode == 0 and "TLSv1.3" in life.stdout and "admin@example.org" in life.stdout, "why: by TLS 1.3", life.stdout)
    tap.equal((m.run("status").returncode, m.queue("list")), (0, []), "the commands find it")
    done = m.run("relay", "smtps://mail.isp.example")
    tap.ok(done.returncode == 69 and "another program" in done.stderr, "a second one there: 69", str(done))
    tap.equal(server.stop(), 0, "SIGTERM ends it: 0")
    tap.equal(m.sendmail("root").returncode, 75, "then sendmail says 75")
    modes = [oct(os.stat(p).st_mode & 0o077) for p in (m.state, os.path.dirname(m.state))]
    tap.equal(modes, ["0o0", "0o0"], "nobody else may enter its folder")


def waits_and_says_why():
    m = Machine("waits")
    wrong = m.file("password", "not the right one\n")
    args = ["--ca", WHERE + "/ca.crt", "--hostname", "box.home.example", "--password-file", wrong]
    server = m.start(*args, "smtp://me@isp.example@mail.isp.example")
    tap.equal(m.sendmail("ann@late.example").returncode, 0, "with a wrong password sendmail takes mail")
    row = m.wait_reason(r"password do not fit")
    tap.ok(row and ":587 as me@isp.example" in row[0]["site"], "it waits, with the host's word on the login, at the port of submission", str(row))
    tap.equal(server.stop(), 0, "it ends while mail waits")
    server = m.start(*args, "smtp://me@isp.example@mail.isp.example")
    tap.ok(len(m.queue("list")) == 1, "a restart keeps the queue")
    m.file("password", PASSWORD + "\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"\breload.done\b")
    m.queue("retry", "state=deferred")
    mail = taken("ann@late.example")[0]
    tap.ok("ESMTPSA" in field(mail, "Received"), "SIGHUP reads the new one, and it goes, by STARTTLS", field(mail, "Received"))
    server.stop()


def who_is_it(host):
    m = Machine("trust")
    url, env = "smtps://me@isp.example@mail.isp.example", {"WAXWING_PASSWORD": PASSWORD}
    server = m.start("--hostname", "box.home.example", url, env=env)
    m.sendmail("ann@trust.example")
    tap.ok(m.wait_reason(r"certificate|issuer"), "a certificate of nobody we know: it waits and says so")
    server.stop()
    server = m.start("--ca", WHERE + "/ca.crt", "smtps://me@isp.example@other.isp.example", env=env)
    m.queue("retry", "state=deferred")
    tap.ok(m.wait_reason(r"other\.isp\.example"), "one of another name, likewise")
    server.stop()
    server = m.start("--tls", "encrypt", url, env=env)
    m.queue("retry", "state=deferred")
    tap.ok(taken("ann@trust.example"), "--tls encrypt takes who answers")
    server.stop()
    server = m.start("--tls", "encrypt", "smtps://me@isp.example@mailhost", env=env)
    m.sendmail("ann@hosts.example")
    tap.ok(taken("ann@hosts.example"), "a name of /etc/hosts is found")
    server.stop()


def check_tells():
    """--check goes as far as it can, and says where it ends."""
    m = Machine("check")
    right, wrong = m.file("right", PASSWORD + "\n"), m.file("wrong", "not the right one\n")
    known = ["--ca", WHERE + "/ca.crt"]
    for args, url, code, words, name in (
            (known + ["--password-file", right], "smtps://me@isp.example@mail.isp.example", 0,
             r"TLS +TLSv1.3 .* verified\nlogin +me@isp.example\nresult ", "all works"),
            (known + ["--password-file", right], "smtp://me@isp.example@mail.isp.example", 0,
             r"port 587\n(.*\n)*TLS +TLSv1.3 .* verified\nlogin ", "by STARTTLS"),
            (known + ["--password-file", wrong], "smtps://me@isp.example@mail.isp.example", 77,
             r"verified\nlogin +failed at AUTH with 535", "a wrong password"),
            (["--password-file", right], "smtps://me@isp.example@mail.isp.example", 69, r"TLS .*(certificate|issuer)",
             "a certificate of nobody we know"),
            (known + ["--password-file", right], "smtps://me@isp.example@other.isp.example", 69, r"TLS .*mismatch",
             "one of another name"),
            (["--tls", "encrypt", "--password-file", right], "smtps://me@isp.example@other.isp.example", 0,
             r"not verified\nlogin ", "with anybody"),
            ([], "smtp://mail.isp.example:2", 69, r"connection +192\.0\.2\.1:2: .*refused", "nobody at the port"),
            ([], "smtp://none.isp.example", 69, r"host +none\.isp\.example, port 25: ", "no such name")):
        done = m.run("relay", "--check", *args, url)
        tap.ok(done.returncode == code and re.search(words, done.stdout), "--check, %s: %d" % (name, code), str(done))
    tap.equal(os.path.exists(m.state), False, "it keeps nothing")


def comes_and_goes(host):
    """The host is down, then there."""
    m = Machine("comes")
    host.stop()
    server = m.start("--ca", WHERE + "/ca.crt", "smtps://me@isp.example@mail.isp.example", env={"WAXWING_PASSWORD": PASSWORD})
    tap.equal(m.sendmail("-oi", "ann@down.example").returncode, 0, "while the host is down mail is taken")
    tap.ok(m.wait_reason(r"refused"), "and waits")
    check_memory(server)
    host = start_host()
    m.queue("retry", "state=deferred")
    tap.ok(taken("ann@down.example"), "it goes when the host is back")
    server.stop()
    return host


def speaks_smtp():
    m = Machine("smtp")
    port = lib.free_port()
    server = m.start("--ca", WHERE + "/ca.crt", "--listen", "127.0.0.1:%d" % port, "--to", "admin@local.example",
                     "smtps://me@isp.example@mail.isp.example", env={"WAXWING_PASSWORD": PASSWORD})
    with smtplib.SMTP("127.0.0.1", port, timeout=lib.DEADLINE_S) as c:
        tap.equal(c.sendmail("app@example.com", ["root", "ann@smtp.example"], "Subject: app\r\n\r\nx\r\n"), {},
                  "--listen: a program that speaks SMTP, to a name alone too")
    mail = taken("ann@smtp.example")[0]
    tap.ok(field(mail, "From") == "app@example.com" and field(mail, "Date"), "its message gets what it lacks", str(mail))
    taken("admin@local.example")
    try:
        with socket.create_connection(("192.0.2.1", port), 5):
            reached = True
    except OSError:
        reached = False
    tap.ok(not reached, "at another address nothing answers")
    server.stop()


def of_the_machine():
    """Started by root it is everybody's, and its processes are users of their own."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/var/spool"], check=True)
    m = Machine("root", prefix=())
    secret = m.file("password", PASSWORD + "\n")
    server = lib.Server(["--ca", WHERE + "/ca.crt", "--password-file", secret, "--to", "root=admin@root.example",
                         "smtps://me@isp.example@mail.isp.example"], "/run/waxwing/control", (), "relay", m.env).wait_ready()
    user = Machine("user")
    tap.equal(user.sendmail("root").returncode, 0, "sendmail of another user finds root's")
    tap.ok("uid %d" % NOBODY.pw_uid in re.search(r"from localhost \(uid \d+\)", taken("admin@root.example")[0].decode())[0],
           "and it is said who that was")
    uids = {role: os.stat("/proc/%d" % pid).st_uid for (role, _), pid in server.pids().items()}
    status = {role: re.search(r"(?m)^Uid:\s+(\d+)", open("/proc/%d/status" % pid).read())[1] for (role, _), pid in server.pids().items()}
    tap.ok(status.pop("supervisor") == "0" and "0" not in status.values() and len(set(status.values())) == len(status),
           "each process is a user of its own", str((uids, status)))
    tap.equal(server.stop(), 0, "it ends")


def local_is_there_where_mail_ends():
    """A configuration that gets a mailbox by a reload gets the process that writes it, and loses it again."""
    where = WHERE + "/reload"
    os.mkdir(where)
    path = where + "/waxwing.lua"
    lines = 'hostname "box.home.example"\npostmaster "a@box.home.example"\nresolver { "127.0.0.53" }\nlisten { port = 2525, address = "127.0.0.1" }\n'
    mailbox = 'domain "box.home.example" %s\n' % lib.maildir_lua(where)
    server = lib.start(where, lines)
    tap.ok(("local", 0) not in server.pids(), "without mailboxes there is no process for them")
    for text, is_there in ((lines + mailbox, True), (lines, False), (lines + mailbox, True)):
        mark = server.mark()
        lib.file_of(path, lib.paths_lua(where) + text)
        server.process.send_signal(signal.SIGHUP)
        server.wait_log(r"\breload.done\b", mark)
        lib.wait_until(lambda: (("local", 0) in server.pids()) == is_there, "local is there: %s" % is_there)
    answer = lib.send_one(2525, "a@b.example", ["joe@box.home.example"], b"Subject: x\r\n\r\nx\r\n")
    tap.ok(answer[0] == 250 and server.wait_event(lib.id_of(answer), "delivered"), "what it is there for works", str(answer))
    server.stop()


make_certificates()
lib.Dns(WHERE, {"isp.example.": "mail A 192.0.2.1\nother A 192.0.2.1"})
lib.file_of(WHERE + "/resolv.conf", "nameserver 127.0.0.53\n")
subprocess.run(["mount", "--bind", WHERE + "/resolv.conf", "/etc/resolv.conf"], check=True)
lib.file_of(WHERE + "/hosts", "127.0.0.1 localhost\n192.0.2.1 mailhost\n")
subprocess.run(["mount", "--bind", WHERE + "/hosts", "/etc/hosts"], check=True)
made = lib.run("user", "--file", WHERE + "/users", "--stdin", "add", "me", input=PASSWORD + "\n")
if made.returncode != 0:
    raise RuntimeError(made.stderr)
wrong_usage()
provider = start_host()
all_of_it(provider)
waits_and_says_why()
who_is_it(provider)
check_tells()
provider = comes_and_goes(provider)
speaks_smtp()
of_the_machine()
provider.stop()
local_is_there_where_mail_ends()
tap.end()
