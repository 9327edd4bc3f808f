"""What the end-to-end tests share: TAP, namespaces, a running Waxwing, a private DNS, mail in and out.

Each test program is run as `foo.py WAXWING [sanitized]`. Inside inside() it has namespaces of its own for network,
mounts and processes: ports and addresses are free, mounts vanish, and every process it started ends with it.
"""
import atexit
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
WAXWING = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "waxwing"
SANITIZED = "sanitized" in sys.argv[2:]
DEADLINE_S = 60
IDS = "[0-9A-Z]{13}"
SYSTEM_USERS = ("_wwsmtpd", "_wwlookup", "_wwqueue", "_wwrelay", "_wwadmin", "_wwkeys", "_wwauth", "_wwtables", "_wwagent", "_wwacme", "_wwhttp",
                "_wwhttps", "_wwmail")

os.environ["PATH"] += ":/usr/sbin:/sbin"
# a process that ends leaves its memory to the kernel: that is no leak; what matters aborts the role, and tests see that
os.environ["ASAN_OPTIONS"] = "detect_leaks=0:abort_on_error=1"


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, why=None):
        """why: what is printed when it is not good; may be a function."""
        self.count += 1
        print("%sok %d - %s" % ("" if good else "not ", self.count, name), flush=True)
        if not good:
            self.failed += 1
            text = why() if callable(why) else why
            if text is not None:
                self.say(text)
        return good

    def equal(self, got, want, name):
        return self.ok(got == want, name, "got  %s\nwant %s" % (brief(got), brief(want)))

    def skip(self, name, reason):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, name, reason), flush=True)

    def say(self, text):
        for line in str(text).splitlines():
            print("# " + line, flush=True)

    def end(self):
        print("1..%d" % self.count, flush=True)
        sys.exit(1 if self.failed else 0)


def brief(value):
    text = repr(value)
    return text if len(text) < 600 else "%s ... %s (%d)" % (text[:280], text[-280:], len(text))


def skip_all(reason):
    print("1..0 # SKIP " + reason)
    sys.exit(0)


def wait_until(is_so, what, deadline_s=DEADLINE_S):
    """Asks again and again until is_so() gives something true, and gives that; an error when the deadline passes."""
    end = time.monotonic() + deadline_s
    while True:
        got = is_so()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError("not within %d s: %s" % (deadline_s, what))
        time.sleep(0.02)


# ---- the place ----------------------------------------------------------------------------------------------------------

def inside(tools=()):
    """Goes on in namespaces of its own as root, or skips the whole program, visibly."""
    if os.environ.get("WAXWING_E2E_INSIDE") != "yes":
        if os.geteuid() != 0:
            skip_all("needs root")
        for user in SYSTEM_USERS:
            try:
                pwd.getpwnam(user)
            except KeyError:
                skip_all("needs the system users (packaging/users.sh)")
        for tool in ("unshare", "ip") + tuple(tools):
            if shutil.which(tool) is None:
                skip_all("needs " + tool)
        unshare = ["unshare", "-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc"]
        if subprocess.run(unshare + ["true"], stderr=subprocess.DEVNULL).returncode != 0:
            skip_all("may not make namespaces")
        os.environ["WAXWING_E2E_INSIDE"] = "yes"
        os.execvp(unshare[0], unshare + [sys.executable, "-uB"] + sys.argv)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ("192.0.2.1/24", "198.51.100.1/24", "2001:db8::1/64"):
        subprocess.run(["ip", "addr", "add", address, "dev", "lo"] + (["nodad"] if ":" in address else []), check=True)


def folder():
    """A folder of this test's own that everybody may enter; gone at the end."""
    path = tempfile.mkdtemp(prefix="waxwing-e2e-")
    os.chmod(path, 0o755)
    atexit.register(remove, path)
    return path


def remove(path):
    kill_servers()
    shutil.rmtree(path, True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def file_of(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


# ---- the server ---------------------------------------------------------------------------------------------------------

def run(*args, **kw):
    """A subcommand of waxwing: .returncode, .stdout, .stderr."""
    kw.setdefault("timeout", DEADLINE_S)
    return subprocess.run([WAXWING] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", **kw)


SERVERS = []


@atexit.register
def kill_servers():
    """Ends what a test that failed left running, so that the next has its ports."""
    while SERVERS:
        SERVERS.pop().kill_all()


class Server:
    """One `waxwing serve`, or another command that serves. Its log is read as it is written; see wait_log()."""

    def __init__(self, args, control, prefix=(), command="serve", env=None):
        self.control = control
        self.lines, self.news, self.is_at_end = [], threading.Condition(), False
        self.process = subprocess.Popen(list(prefix) + [WAXWING, command] + list(args), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, env=env)
        threading.Thread(target=self._read, daemon=True).start()
        SERVERS.append(self)

    def _read(self):
        for raw in self.process.stderr:
            with self.news:
                self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.is_at_end = True
            self.news.notify_all()

    def wait_log(self, pattern, since=0, deadline_s=DEADLINE_S):
        """The first line from the since-th on that matches; an error when it ends without one."""
        end, at = time.monotonic() + deadline_s, since
        with self.news:
            while True:
                for line in self.lines[at:]:
                    if re.search(pattern, line):
                        return line
                at = len(self.lines)
                left = end - time.monotonic()
                if self.is_at_end or left <= 0:
                    raise TimeoutError("no %r in the log:\n%s" % (pattern, "\n".join(self.lines[-30:])))
                self.news.wait(left)

    def wait_ready(self, since=0):
        self.wait_log(r"\bsupervisor ready\b", since)
        return self

    def mark(self):
        return len(self.lines)

    def log(self):
        return "\n".join(self.lines[-40:])

    def pids(self):
        """{(role, index): pid} of its processes; the supervisor's role is "supervisor"."""
        found = {}
        if self.process.poll() is not None:
            return found
        found[("supervisor", 0)] = self.process.pid
        for pid, args in children(self.process.pid):
            if "--role" in args:
                index = args[args.index("--index") + 1] if "--index" in args else "0"
                found[(args[args.index("--role") + 1], int(index))] = pid
        return found

    def pid(self, role, index=0):
        return wait_until(lambda: self.pids().get((role, index)), "a process of role " + role)

    def tree(self):
        """All its processes, deliverers too."""
        out, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            out.append(pid)
            todo += [c for c, _ in children(pid)]
        return out

    def kill_all(self):
        """kill -9 for each; the supervisor first, so that it starts nothing again."""
        if self.process.poll() is not None:
            return
        os.kill(self.process.pid, signal.SIGSTOP)
        pids = self.tree()
        for pid in pids:
            signal_to(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(is_alive(p) for p in pids), "the end of all processes")

    def stop(self):
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    # what the commands say

    def queue(self, *args):
        """The rows of `waxwing queue --json ...`."""
        done = run("queue", "--json", "--control", self.control, *args)
        if done.returncode != 0:
            raise RuntimeError("queue %s: %d %s" % (" ".join(args), done.returncode, done.stderr))
        return rows_of(done.stdout)

    def why(self, id_):
        done = run("why", "--json", "--control", self.control, id_)
        return rows_of(done.stdout) if done.returncode == 0 else []

    def wait_event(self, id_, event, deadline_s=DEADLINE_S):
        """The first row of the message's life with this event."""
        try:
            return wait_until(lambda: [r for r in self.why(id_) if r.get("event") == event], event, deadline_s)[0]
        except TimeoutError as e:
            raise TimeoutError("%s: %s; its life: %s" % (id_, e, self.why(id_))) from None

    def wait_empty(self, deadline_s=DEADLINE_S):
        """The totals are of one moment; a list is read bit by bit, and what becomes something else may escape it."""
        def is_empty():
            totals = self.queue("stats")[0]
            return totals["waiting"] + totals["active"] + totals["held"] == 0
        wait_until(is_empty, "an empty queue", deadline_s)


def rows_of(text):
    rows = []
    for line in text.splitlines():
        value = json.loads(line)
        rows += value if isinstance(value, list) else [value]
    return rows


def children(parent):
    """(pid, arguments) of each child that is alive."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                after = f.read().rpartition(")")[2].split()
            if int(after[1]) == parent and after[0] != "Z":
                with open("/proc/%s/cmdline" % pid) as f:
                    out.append((int(pid), f.read().split("\0")))
        except OSError:
            pass
    return out


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def found_in(pid, secrets, chunk=1 << 20):
    """Which of the secrets, {what: octets}, are in the memory of the process."""
    found = set()
    overlap = max(len(s) for s in secrets.values())
    with open("/proc/%d/maps" % pid, encoding="ascii") as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if "r" not in rights or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            before = b""
            while start < end:
                try:
                    mem.seek(start)
                    octets = mem.read(min(chunk, end - start))
                except (OSError, ValueError):
                    octets = b""
                if not octets:
                    start, before = start + 4096, b""
                    continue
                whole = before + octets
                found.update(what for what, secret in secrets.items() if secret in whole)
                start, before = start + len(octets), whole[-overlap:]
    return found


def signal_to(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def start_demo(where, port):
    return Server(["--demo", where, "--port", str(port)], os.path.join(where, "control")).wait_ready()


def paths_lua(where):
    return 'spool "%s/spool"\njournal "%s/journal"\ncontrol "%s/control"\n' % (where, where, where)


def start(where, lua):
    """lua: the configuration but for the paths, which are below `where`; so are the Maildirs: see mail_folder()."""
    path = file_of(os.path.join(where, "waxwing.lua"), paths_lua(where) + lua)
    mail_folder(where)
    return Server(["--config", path], os.path.join(where, "control")).wait_ready()


def mail_folder(where):
    path = os.path.join(where, "mail")
    if not os.path.isdir(path):
        os.mkdir(path, 0o700)
        if os.geteuid() == 0:
            user = pwd.getpwnam("_wwmail")
            os.chown(path, user.pw_uid, user.pw_gid)
    return path


def maildir_lua(where, users="any", extra=""):
    """The members of a domain that delivers to WHERE/mail/DOMAIN/USER."""
    user = ', user = "_wwmail"' if os.geteuid() == 0 else ""
    return '{ users = %s, deliver = maildir "%s/mail/%%d/%%u"%s%s }' % (users, where, user, extra)


# ---- mail ---------------------------------------------------------------------------------------------------------------

class Smtp:
    """A client that does as it is told. Replies are (code, text of all lines)."""

    def __init__(self, port, host="127.0.0.1", source=None, hello="client.example.org", timeout_s=DEADLINE_S):
        self.socket = socket.create_connection((host, port), timeout_s, (source, 0) if source else None)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()
        if hello:
            self.capabilities = self.ask("EHLO " + hello)[1]

    def reply(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("the connection ended within a reply: %r" % (lines + [line]))
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            lines.append(text[4:])
            if text[3:4] != "-":
                return int(text[:3]), "\n".join(lines)

    def write(self, octets):
        self.socket.sendall(octets)

    def ask(self, line):
        self.write(line.encode("utf-8") + b"\r\n")
        return self.reply()

    def envelope(self, sender, rcpts, parameters=""):
        """The first reply that is not 250, or None."""
        for line in ["MAIL FROM:<%s>%s" % (sender, parameters)] + ["RCPT TO:<%s>" % r for r in rcpts]:
            answer = self.ask(line)
            if answer[0] != 250:
                return answer
        return None

    def data(self, message):
        """message: octets with CRLF; the dots are this function's work."""
        answer = self.ask("DATA")
        if answer[0] != 354:
            return answer
        self.write(re.sub(rb"(?m)^\.", b"..", message) + (b"" if message.endswith(b"\r\n") or not message else b"\r\n") +
                   b".\r\n")
        return self.reply()

    def bdat(self, chunks):
        for i, chunk in enumerate(chunks):
            self.write(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if i == len(chunks) - 1 else b"") + chunk)
            answer = self.reply()
            if answer[0] != 250:
                break
        return answer

    def send(self, sender, rcpts, message, parameters=""):
        return self.envelope(sender, rcpts, parameters) or self.data(message)

    def close(self):
        self.file.close()
        self.socket.close()

    def quit(self):
        self.ask("QUIT")
        self.close()


def send_one(port, sender, rcpts, message, parameters="", **kw):
    """The answer to the message, over a connection of its own."""
    client = Smtp(port, **kw)
    try:
        return client.send(sender, rcpts, message, parameters)
    finally:
        client.close()


def id_of(answer):
    m = re.search(r"queued as (%s)" % IDS, answer[1])
    if answer[0] != 250 or not m:
        raise RuntimeError("not taken: %r" % (answer,))
    return m[1]


def messages_in(maildir):
    """The octets of each message in new and cur."""
    out = []
    for part in ("new", "cur"):
        path = os.path.join(maildir, part)
        for name in os.listdir(path) if os.path.isdir(path) else ():
            with open(os.path.join(path, name), "rb") as f:
                out.append(f.read())
    return out


def all_messages(mail):
    """The octets of each message in every Maildir below the folder."""
    out = []
    for path, folders, _ in os.walk(mail):
        if "new" in folders:
            out += messages_in(path)
    return out


def without_trace(octets):
    """A delivered message but for what the servers put on top: the fields of the header up to the last Received."""
    header, gap, body = octets.partition(b"\n\n")
    fields = re.split(rb"\n(?![ \t])", header)
    while fields and re.match(rb"(?i)(received|return-path|delivered-to|x-original-to):", fields[0]):
        fields.pop(0)
    return b"\n".join(fields) + gap + body


# ---- a next hop -----------------------------------------------------------------------------------------------------------

class Hop:
    """A server at a port that takes all mail, but for recipients in `refuses`: {local part up to its first dot, in lower case:
    reply to RCPT}, and messages to those in `refuses_body`: likewise. Keeps what it took as (sender, recipients by name,
    message), and whom it was asked for as (sender, recipient)."""

    def __init__(self, port, offers=(b"8BITMIME",), refuses=(), refuses_body=(), host="127.0.0.1"):
        self.taken, self.asked = [], []
        self.offers, self.refuses, self.refuses_body = list(offers), dict(refuses), dict(refuses_body)
        self.listener = socket.create_server((host, port))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    @staticmethod
    def _user(address):
        return address.rpartition("@")[0].partition(".")[0].lower()

    def _rcpt(self, line, sender, rcpts):
        rcpt = re.search(rb"<(.*?)>", line)[1].decode("utf-8", "replace")
        self.asked.append((sender, rcpt))
        if self._user(rcpt) in self.refuses:
            return self.refuses[self._user(rcpt)]
        rcpts.append(rcpt)
        return b"250 2.1.5 ok"

    def _message(self, lines, sender, rcpts):
        text = b"".join(iter(lines.readline, b".\r\n"))
        for rcpt in rcpts:
            if self._user(rcpt) in self.refuses_body:
                return self.refuses_body[self._user(rcpt)]
        self.taken.append((sender, sorted(rcpts), re.sub(rb"(?m)^\.", b"", text)))
        return b"250 2.0.0 taken"

    def _serve(self, s):
        lines, sender, rcpts = s.makefile("rb"), None, []
        s.sendall(b"220 hop.test ESMTP\r\n")
        for line in lines:
            verb, answer = line[:4].upper(), b"250 2.0.0 ok"
            if verb == b"EHLO":
                answer = b"".join(b"250-%s\r\n" % x for x in [b"hop.test"] + self.offers) + b"250 HELP"
            elif verb == b"MAIL":
                sender, rcpts = re.search(rb"<(.*?)>", line)[1].decode("utf-8", "replace"), []
            elif verb == b"RCPT":
                answer = self._rcpt(line, sender, rcpts)
            elif verb == b"DATA":
                s.sendall(b"354 go\r\n")
                answer = self._message(lines, sender, rcpts)
            elif verb == b"QUIT":
                answer = b"221 bye"
            elif verb not in (b"RSET", b"NOOP"):
                answer = b"500 no"
            s.sendall(answer + b"\r\n")
            if verb == b"QUIT":
                break
        s.close()


# ---- name servers -------------------------------------------------------------------------------------------------------

class Dns:
    """nsd on an address of the namespace with these zones: {name: lines of records}. ready: {name: file of a zone}."""

    def __init__(self, where, zones, address="127.0.0.53", ready=()):
        self.where = os.path.join(where, "dns")
        self.socket = "%02X%02X%02X%02X:0035" % tuple(reversed([int(x) for x in address.split(".")]))
        os.makedirs(self.where, exist_ok=True)
        conf = ('server:\n ip-address: %s\n username: ""\n chroot: ""\n database: ""\n server-count: 1\n zonesdir: "%s"\n'
                ' zonelistfile: "%s/list"\n xfrdfile: "%s/xfrd"\n xfrdir: "%s"\n pidfile: ""\n rrl-ratelimit: 0\n'
                'remote-control:\n control-enable: no\n' % ((address,) + (self.where,) * 4))
        for name, records in zones.items():
            file_of(os.path.join(self.where, name + "zone"),
                    "$ORIGIN %s\n$TTL 60\n@ IN SOA ns.invalid. host.invalid. 1 3600 600 86400 1\n@ NS ns.invalid.\n%s\n"
                    % (name, records))
            conf += 'zone:\n name: "%s"\n zonefile: "%szone"\n' % (name, name)
        for name, path in dict(ready).items():
            conf += 'zone:\n name: "%s"\n zonefile: "%s"\n' % (name, path)
        self.process = subprocess.Popen(["nsd", "-d", "-c", file_of(os.path.join(self.where, "conf"), conf)],
                                        stdout=open(os.path.join(self.where, "log"), "w"), stderr=subprocess.STDOUT)
        atexit.register(self.stop)
        wait_until(self.is_there, "a name server")

    def is_there(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.where, "log")) as f:
                raise RuntimeError("nsd ended: " + f.read())
        with open("/proc/net/udp") as f:
            return self.socket in f.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
