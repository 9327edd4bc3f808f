#!/usr/bin/env python3
"""Mail from the programs of others: libraries, clients of people, and mail servers that relay through Waxwing."""
import base64
import email
import email.policy
import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

HOST, POSTFIX_AT, EXIM_AT = "192.0.2.1", "198.51.100.5", "198.51.100.6"
NODE_MODULES = os.path.join(peers.UNPACKED, "nodemailer", "node_modules")
tap = lib.Tap()
lib.inside()
for address in (POSTFIX_AT, EXIM_AT):
    subprocess.run(["ip", "addr", "add", address + "/24", "dev", "lo"], check=True)
where = lib.folder()
server = lib.start(where, """
hostname "mx.wax.test"
postmaster "joe@box.test"
relay_from { "127.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24" }
resolver { "127.0.0.53" }
limits { sessions_per_client = 0 }
listen { port = 25, address = "%s" }
listen { port = 587, address = "%s", submission = true }
domain "box.test" %s
domain "any.test" %s
""" % (HOST, HOST, lib.maildir_lua(where, '{ "joe" }'), lib.maildir_lua(where)))
MAIL = lib.mail_folder(where)


class Tape:
    """Stands before a port of the server and writes down what clients say, by connection and as it comes. (At most
    KEEP octets of each: the rest passes unwritten.)"""
    KEEP = 1 << 20

    def __init__(self, to_port):
        self.to_port, self.visits = to_port, []
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client = self.listener.accept()[0]
            there = socket.create_connection((HOST, self.to_port))
            pieces = []
            self.visits.append(pieces)
            for ends in ((client, there, pieces), (there, client, None)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, target, pieces):
        size = 0
        try:
            while octets := source.recv(1 << 18):
                if pieces is not None and size < self.KEEP:
                    pieces.append(octets)
                    size += len(octets)
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, target):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the other thread was here before

    def pieces(self):
        return [p for visit in self.visits for p in visit]

    def text(self):
        return b"\n".join(b"".join(visit) for visit in self.visits)

    def said(self, pattern):
        """All matches at a line's begin."""
        return [m.decode("utf-8", "replace") for m in re.findall(b"(?mi)^" + pattern, self.text())]

    def is_pipelined(self):
        return any(re.search(rb"(?s)^MAIL .*\nRCPT ", p) for p in self.pieces())


# ---- what is sent -------------------------------------------------------------------------------------------------------

class Case:
    """One message: .octets has CRLF and no line that only a certain program would write so."""

    def __init__(self, program, name, body, user=None, sender="a@client.test", refused=(), cte="7bit", dsn=None):
        self.name, self.sender, self.dsn = name, sender, dsn
        self.users = [(user or "%s." % program + name).replace(" ", ".").lower()]
        if refused:
            self.users.append(self.users[0] + ".too")
        self.rcpts = [u + "@any.test" for u in self.users]
        self.rcpts[1:1] = refused
        self.body = body
        self.octets = ("Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <%s@client.test>\r\nFrom: <%s>\r\nTo: <%s>\r\n"
                       "Subject: %s by %s\r\n\tin two lines\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                       "Content-Transfer-Encoding: %s\r\n\r\n" % (self.name.replace(" ", "."), sender, self.rcpts[0], name, program,
                                                                  cte)).encode() + body
        self.is_utf8 = any(not a.isascii() for a in [sender] + self.rcpts)


UMLAUTS = "mit freundlichen Gr\u00fc\u00dfen, \u043c\u0438\u0440 \u4e16\u754c\r\n".encode()
LINE = b"0123456789 the quick brown fox jumps over the lazy dog .\r\n"
NOBODY = "nobody@box.test"


def cases(program):
    yield Case(program, "plain", b"Hello.\r\n\r\nFrom me\r\n>From you\r\n")
    yield Case(program, "8-bit", UMLAUTS * 3, cte="8bit")
    yield Case(program, "utf8", UMLAUTS, program + ".\u0438\u0432\u0430\u043d", "j\u00f6rg@any.test", cte="8bit")
    yield Case(program, "dots", b".\r\n..\r\n...\r\n.a\r\n. \r\na.\r\n\r\n.\r\n.b\r\n")
    yield Case(program, "20 MiB", LINE * ((20 << 20) // len(LINE)))
    yield Case(program, "one refused", b"For two of three.\r\n", refused=[NOBODY], sender=program + ".back@any.test")
    yield Case(program, "DSN", b"Tell me.\r\n", sender=program + ".told@any.test", dsn="Q+%s=1" % program)


def maildir(user):
    return os.path.join(MAIL, "any.test", user)


def the_message(user, deadline_s=60):
    return lib.wait_until(lambda: lib.messages_in(maildir(user)), "mail for " + user, deadline_s)[0]


def arrives(case, title):
    """Octet for octet, for each user."""
    for user in case.users:
        try:
            got = lib.without_trace(the_message(user))
        except TimeoutError as e:
            tap.ok(False, title + " arrives", "%s\n%s" % (e, server.log()))
            continue
        tap.ok(got == case.octets.replace(b"\r\n", b"\n"), "%s arrives octet for octet at %s" % (title, user),
               "got  %s\nwant %s" % (lib.brief(got), lib.brief(case.octets)))


def report(user, deadline_s=60):
    """The delivery status part of the first report, as text, and all of it."""
    whole = the_message(user, deadline_s)
    m = email.message_from_bytes(whole, policy=email.policy.default)
    status = [p for p in m.walk() if p.get_content_type() in ("message/delivery-status", "message/global-delivery-status")]
    return "\n".join(str(x) for p in status for x in p.get_payload()), whole.decode("utf-8", "replace")


def check_dsn(case, title, envid=True):
    user = case.sender.partition("@")[0]
    status = report(user)[0]
    want = ["Action: delivered", "Final-Recipient: rfc822; " + case.rcpts[0], "Reporting-MTA: dns; mx.wax.test"]
    want += ["Original-Envelope-Id: " + case.dsn] if envid else []
    tap.ok(all(w in status for w in want), title + ": success is reported as asked", status)


def run_all(program, send, tape, allows_refused=True, can=lambda case: True, dsn_envid=True):
    """send(case): None when it went well, else what was refused: {recipient: code} or a text. allows_refused: does it
    send to the others?"""
    for case in cases(program):
        title = "%s: %s" % (program, case.name)
        if not can(case):
            continue
        got = send(case)
        if case.name != "one refused":
            if tap.ok(not got, title + " is sent", str(got)):
                arrives(case, title)
        elif allows_refused:
            tap.ok(got in (None, {NOBODY: 550}), title, str(got))
            arrives(case, title)
        else:
            tap.ok(got and "550" in str(got), title + ": it hears of it", str(got))
            server.wait_empty()
            tap.ok(not any(os.path.exists(maildir(u)) for u in case.users), title + ": and sends to nobody")
        if case.name == "DSN":
            check_dsn(case, title, dsn_envid)
    sizes = tape.said(rb"MAIL FROM:.* SIZE=(\d+)")
    tap.say("%s: EHLO/HELO %s; SIZE %s; %s" % (program, sorted(set(tape.said(rb"(?:EHLO|HELO|LHLO) [^\r]*"))), bool(sizes),
                                              "pipelined" if tape.is_pipelined() else "one by one"))


def tool(args, octets=b"", env=None):
    """What went wrong, or None."""
    done = subprocess.run(args, input=octets, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.DEADLINE_S, env=env)
    return None if done.returncode == 0 else "exit code %d: %s" % (done.returncode, done.stdout.decode("utf-8", "replace")[-1500:])


def unix(octets):
    return octets.replace(b"\r\n", b"\n")


# ---- libraries and programs that send --------------------------------------------------------------------------------

def msmtp():
    tape = Tape(587)

    def send(case):
        args = ["msmtp", "--file=/dev/null", "--host=" + HOST, "--port=%d" % tape.port, "--domain=client.example.org", "--auth=off",
                "--tls=off", "--from=" + case.sender, "--set-from-header=off", "--set-date-header=off"]
        if case.dsn:
            args += ["--dsn-notify=success,failure", "--dsn-return=headers"]
        return tool(args + ["--"] + case.rcpts, unix(case.octets))

    # this version may know no SMTPUTF8, and says so to nobody
    run_all("msmtp", send, tape, allows_refused=False, dsn_envid=False, can=lambda case: not case.is_utf8)
    got = send(next(c for c in cases("msmtp") if c.is_utf8))
    tap.ok(not got or " 553 " in got or ": 553 " in got, "msmtp: addresses outside ASCII go with SMTPUTF8 or are refused", str(got))
    tap.ok(tape.said(rb"MAIL FROM:.* RET=HDRS") and tape.said(rb"RCPT TO:.* NOTIFY=SUCCESS,FAILURE"), "msmtp asks for reports",
           str(tape.said(rb"(?:MAIL|RCPT)[^\r]*")))


NODE = """
const nodemailer = require('nodemailer')
const spec = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const transport = nodemailer.createTransport(Object.assign(
  {host: spec.host, port: spec.port, secure: false, ignoreTLS: true, name: 'client.example.org'}, spec.transport))
const jobs = spec.jobs.map(j => j.raw ? Object.assign(j, {raw: Buffer.from(j.raw, 'base64')}) : j)
Promise.all(jobs.map(j => transport.sendMail(j).then(
  i => ({accepted: i.accepted, rejected: i.rejected, codes: (i.rejectedErrors || []).map(e => e.responseCode)}),
  e => ({error: String(e)})))).then(a => { console.log(JSON.stringify(a)); transport.close() })
"""


def node(port, jobs, transport=None):
    spec = json.dumps({"host": HOST, "port": port, "jobs": jobs, "transport": transport or {}})
    done = subprocess.run(["node", "-e", NODE], input=spec.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, NODE_PATH=NODE_MODULES), timeout=lib.DEADLINE_S)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode()[-1500:])
    return json.loads(done.stdout)


def nodemailer():
    if not os.path.isdir(os.path.join(NODE_MODULES, "nodemailer")) or peers.missing("node"):
        tap.skip("nodemailer", "needs node and " + NODE_MODULES + "/nodemailer (packaging/setup.sh with WAXWING_PEERS=yes)")
        return
    tape = Tape(587)

    def send(case):
        job = {"envelope": {"from": case.sender, "to": case.rcpts, "size": len(case.octets), "use8BitMime": True},
               "raw": base64.b64encode(case.octets).decode()}
        if case.dsn:
            job["envelope"]["dsn"] = job["dsn"] = {"id": case.dsn, "return": "headers", "notify": ["success", "failure"],
                                                   "recipient": case.rcpts[0]}
        got = node(tape.port, [job])[0]
        if "error" in got:
            return got["error"]
        return dict(zip(got["rejected"], got["codes"])) or None

    run_all("nodemailer", send, tape)
    # a pool: few connections, many messages on each
    jobs = [{"from": "A <a@client.test>", "to": "pool%d@any.test" % i, "subject": "pool %d" % i, "text": "."} for i in range(30)]
    before = len(tape.visits)
    got = node(tape.port, jobs, {"pool": True, "maxConnections": 3, "maxMessages": 100})
    tap.ok(all(g.get("accepted") for g in got), "nodemailer: a pool sends 30 messages", str([g for g in got if "error" in g]))
    tap.ok(1 <= len(tape.visits) - before <= 3, "over at most 3 connections", str(len(tape.visits) - before))
    tap.equal([len(lib.wait_until(lambda: lib.messages_in(maildir("pool%d" % i)), "pool %d" % i)) for i in range(30)], [1] * 30,
              "and each arrives once")
    # composed by it: nested parts, encoded words, an attachment
    name, text = "Gr\u00fc\u00dfe \u4e16\u754c.bin", ".\nmit Gr\u00fc\u00dfen\n"
    job = {"from": "J\u00f6rg <a@client.test>", "to": "\u4e16\u754c <node.composed@any.test>", "subject": " ".join(["Gr\u00fc\u00dfe"] * 20),
           "text": text, "html": "<p>\u00fc</p>",
           "attachments": [{"filename": name, "content": base64.b64encode(bytes(range(256))).decode(), "encoding": "base64"}]}
    tap.ok("accepted" in node(tape.port, [job])[0], "nodemailer: composes a message")
    m = email.message_from_bytes(the_message("node.composed"), policy=email.policy.default)
    parts = {p.get_content_type(): p for p in m.walk()}
    attached = parts.get("application/octet-stream")
    tap.ok(m["Subject"] == job["subject"] and attached is not None and attached.get_filename() == name and
           attached.get_content() == bytes(range(256)) and parts["text/plain"].get_content() == text and not m.defects,
           "which arrives as it was", lambda: str(m)[:2000])


PERL = r"""
use Net::SMTP; use strict;
my ($host, $port, $from, $envid, @rcpts) = @ARGV;
local $/; my $text = <STDIN>;
my $s = Net::SMTP->new(Host => $host, Port => $port, Hello => 'client.example.org', Timeout => 60) or die "no server: $@";
my @dsn = $envid ne '' ? (Envelope => $envid, Return => 'HDRS') : ();
$s->mail($from, Bits => 8, Size => length $text, @dsn) or die $s->code . " " . $s->message;
my @good = $s->to(@rcpts, {SkipBad => 1, $envid ne '' ? (Notify => ['SUCCESS', 'FAILURE'], ORcpt => "rfc822;$rcpts[0]") : ()});
@good or die $s->code . " " . $s->message;
$s->data($text) or die $s->code . " " . $s->message;
$s->quit;
print scalar @good, "\n";
exit(@good < @rcpts ? 3 : 0);
"""


def net_smtp():
    if peers.missing("perl") or subprocess.run(["perl", "-MNet::SMTP", "-e", "1"], stderr=subprocess.DEVNULL).returncode != 0:
        tap.skip("Net::SMTP", "needs perl with Net::SMTP")
        return
    tape = Tape(587)

    def send(case):
        got = tool(["perl", "-e", PERL, HOST, str(tape.port), case.sender, case.dsn or ""] + case.rcpts, case.octets)
        return {NOBODY: 550} if got and got.startswith("exit code 3: 2\n") else got

    # it knows no SMTPUTF8, and says so to nobody
    run_all("perl", send, tape, can=lambda case: not case.is_utf8)
    got = send(next(c for c in cases("perl") if c.is_utf8))
    tap.ok(got and re.search(r"55\d", got), "perl: addresses outside ASCII without SMTPUTF8 are refused", str(got))


def by_smtplib():
    """What smtplib makes of a message by itself: the parameters too."""
    tape = Tape(587)

    def send(case):
        m = email.message_from_bytes(case.octets, policy=email.policy.SMTP.clone(utf8=case.is_utf8, mangle_from_=False))
        with smtplib.SMTP(HOST, tape.port, "client.example.org", timeout=60) as smtp:
            if case.dsn:
                refused = smtp.send_message(m, case.sender, case.rcpts, ["RET=HDRS", "ENVID=" + smtp_xtext(case.dsn)],
                                            ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;" + case.rcpts[0]])
            elif case.name in ("plain", "20 MiB"):  # it would write ">From"; and parse 20 MiB
                refused = smtp.sendmail(case.sender, case.rcpts, case.octets, ["BODY=8BITMIME"])
            else:
                refused = smtp.send_message(m, case.sender, case.rcpts)
        return {r: code for r, (code, _) in refused.items()} or None

    run_all("smtplib", send, tape)
    tap.ok(tape.said(rb"MAIL FROM:<j\xc3\xb6rg@any.test> [^\r]*SMTPUTF8"), "smtplib: send_message asks for SMTPUTF8",
           str(tape.said(rb"MAIL[^\r]*")))


def smtp_xtext(text):
    return re.sub(r"[^!-*,-<>-~]", lambda m: "+%02X" % ord(m[0]), text)


def curl():
    tape = Tape(587)
    path = os.path.join(where, "curl.eml")

    def send(case, more=()):
        with open(path, "wb") as f:
            f.write(case.octets)
        args = ["curl", "-sS", "--max-time", "60", "smtp://%s:%d/client.example.org" % (HOST, tape.port), "--mail-from", case.sender,
                "--upload-file", path]
        return tool(args + [x for r in case.rcpts for x in ("--mail-rcpt", r)] + list(more))

    run_all("curl", lambda case: send(case, ["--mail-rcpt-allowfails"]), tape, can=lambda case: case.dsn is None)
    got = send(Case("curl", "all or none", b"x\r\n", refused=[NOBODY]))
    tap.ok(got and "550" in got, "curl: without --mail-rcpt-allowfails it hears the refusal", str(got))
    tap.ok(tape.said(rb"MAIL FROM:<j\xc3\xb6rg@any.test>[^\r]* SMTPUTF8") and tape.said(rb"MAIL FROM:[^\r]* SIZE=\d"),
           "curl says SIZE, and SMTPUTF8 where it must", str(tape.said(rb"MAIL[^\r]*")))


# ---- what people read and write mail with -----------------------------------------------------------------------------

def parsed(user):
    m = email.message_from_bytes(the_message(user), policy=email.policy.default)
    return m, {p.get_content_type(): p for p in m.walk()}


def mutt():
    tape = Tape(587)
    rc = lib.file_of(os.path.join(where, "muttrc"), "\n".join((
        'set smtp_url="smtp://%s:%d/"' % (HOST, tape.port), "set ssl_starttls=yes", "set ssl_force_tls=no", "set copy=no",
        'set from="%s"' % "mutt.told@any.test", "set use_from=yes", "set use_envelope_from=yes", "set use_8bitmime=yes",
        'set hostname="client.example.org"', "set charset=utf-8", "set send_charset=utf-8", 'set dsn_notify="success,failure"',
        'set dsn_return="hdrs"', "set allow_8bit=yes", "")))
    env = dict(os.environ, HOME=where, LC_ALL="C.UTF-8", TMPDIR=where)
    attached = os.path.join(where, "attached.bin")
    with open(attached, "wb") as f:
        f.write(bytes(range(256)) * 4000)

    def send(subject, rcpts, text, more=()):
        return tool(["mutt", "-n", "-F", rc, "-s", subject] + list(more) + ["--"] + rcpts, text, env)

    text = b".\n..\n" + unix(UMLAUTS) + b".\n"
    tap.ok(not (got := send("Gr\u00fc\u00dfe", ["mutt.one@any.test", "mutt.two@any.test"], text)), "mutt sends", str(got))
    for user in ("mutt.one", "mutt.two"):
        m, parts = parsed(user)
        tap.ok(m["Subject"] == "Gr\u00fc\u00dfe" and parts["text/plain"].get_content() == text.decode() and not m.defects,
               "and %s has it" % user, lambda: str(m))
    status = lib.wait_until(lambda: lib.messages_in(maildir("mutt.told")), "a report")[0]
    tap.ok(b"Action: delivered" in status, "mutt: success is reported as asked", status.decode("utf-8", "replace"))
    tap.ok(not (got := send("attached", ["mutt.three@any.test"], b"see below\n", ["-a", attached])), "mutt sends an attachment", str(got))
    m, parts = parsed("mutt.three")
    tap.ok(parts.get("application/octet-stream") is not None and
           parts["application/octet-stream"].get_content() == bytes(range(256)) * 4000, "which arrives", lambda: str(m)[:1000])
    got = send("refused", ["mutt.four@any.test", NOBODY], b"x\n")
    tap.ok(got and not os.path.exists(maildir("mutt.four")), "mutt: of a refused recipient it hears, and sends to nobody", str(got))
    got = send("utf8", ["mutt.\u0438\u0432\u0430\u043d@any.test"], b"x\n")
    tap.ok(not got, "mutt: a recipient outside ASCII", str(got))
    if not got:
        tap.equal(parsed("mutt.\u0438\u0432\u0430\u043d")[0]["Subject"], "utf8", "has it")


def s_nail():
    tape = Tape(587)
    env = dict(os.environ, HOME=where, LC_ALL="C.UTF-8", TMPDIR=where)

    def send(subject, rcpts, text):
        return tool(["s-nail", "-:/", "-Sv15-compat", "-Smta=smtp://%s:%d" % (HOST, tape.port), "-Ssmtp-auth=none", "-Shostname=client.example.org", "-Sfrom=nail@any.test", "-SDEAD=/dev/null", "-Ssave=no",
                     "-Sttycharset=utf-8", "-Ssendcharsets=utf-8", "-Smime-encoding=8b", "-Ssendwait", "-s", subject] + rcpts, text, env)

    text = b".\n..\n" + unix(UMLAUTS) + b"end\n"
    tap.ok(not (got := send("Gr\u00fc\u00dfe", ["nail.one@any.test", "nail.two@any.test"], text)), "s-nail sends", str(got))
    m, parts = parsed("nail.two")
    tap.ok(m["Subject"] == "Gr\u00fc\u00dfe" and parts["text/plain"].get_content() == text.decode() and not m.defects,
           "and it arrives", lambda: str(m))
    got = send("refused", ["nail.three@any.test", NOBODY], b"x\n")
    tap.ok(got and not os.path.exists(maildir("nail.three")), "s-nail: of a refused recipient it hears, and sends to nobody", str(got))


BARE_MESSAGE = b"From: a@client.test\r\nTo: x@any.test\r\nSubject: no date, no id\r\n\r\n.\r\nx\r\n"
# how clients of people greet and ask, as their makers wrote them
HABITS = {
    "Thunderbird": ["EHLO [192.168.1.10]", "MAIL FROM:<a@client.test> BODY=8BITMIME SIZE=%d" % len(BARE_MESSAGE), "RCPT TO:<{}>"],
    "Apple Mail": ["EHLO smtpclient.apple", "MAIL FROM:<a@client.test> SIZE=%d" % len(BARE_MESSAGE), "RCPT TO:<{}>"],
    "a client with IPv6": ["EHLO [IPv6:2001:db8::15]", "NOOP", "MAIL FROM:<a@client.test>", "RCPT TO:<{}>"],
    "Outlook": ["EHLO DESKTOP4711", "RSET", "MAIL FROM: <a@client.test>", "RCPT TO: <{}>"],
    "a scanner": ["HELO scan_2nd_floor", "MAIL FROM:<a@client.test>", "RCPT TO:<{}>"],
    "a device in capitals and none": ["helo localhost", "mail from:<a@client.test>", "rcpt to:<{}>"],
}


def submission():
    for n, (name, commands) in enumerate(HABITS.items()):
        user = "habit%d" % n
        client = lib.Smtp(587, HOST, hello=None)
        codes = [client.ask(line.format(user + "@any.test"))[0] for line in commands]
        tap.equal(codes, [250] * len(codes), "as %s does: %s" % (name, "; ".join(commands)[:90]))
        answer = client.data(BARE_MESSAGE)
        client.quit()
        if tap.equal(answer[0], 250, "its message is taken"):
            rest, n = re.subn(rb"(?m)^(Date|Message-ID): .*\n", b"", lib.without_trace(the_message(user)))
            tap.equal((rest, n), (unix(BARE_MESSAGE), 2), "and arrives as it was, with a date and an id")
    client = lib.Smtp(587, HOST)
    tap.ok("AUTH" not in client.capabilities and client.ask("AUTH PLAIN AGEAYg==")[0] in (502, 503, 504),
           "who logs in where there are no logins is told", client.capabilities)
    tap.equal(client.send("a@client.test", ["after.auth@any.test"], BARE_MESSAGE)[0], 250, "and may send all the same")
    client.quit()


# ---- mail servers that relay through us -----------------------------------------------------------------------------

def through(peer_name, tape, address, port=25):
    """All cases through a mail server, which tells the sender itself whom we refused."""
    def send(case):
        client = lib.Smtp(port, address)
        has = client.capabilities
        need = [("8BITMIME", " BODY=8BITMIME")] + ([("SMTPUTF8", " SMTPUTF8")] if case.is_utf8 else [])
        for word, _ in need:
            if word not in has:
                return "%s does not offer %s" % (peer_name, word)
        parameters, of_rcpt = "".join(p for _, p in need) + " SIZE=%d" % len(case.octets), ""
        if case.dsn:
            parameters += " RET=HDRS ENVID=" + smtp_xtext(case.dsn)
            of_rcpt = " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;" + smtp_xtext(case.rcpts[0])
        lines = ["MAIL FROM:<%s>%s" % (case.sender, parameters)] + ["RCPT TO:<%s>%s" % (r, of_rcpt) for r in case.rcpts]
        answers = [client.ask(line) for line in lines] + [client.data(case.octets)]
        client.quit()
        bad = [a for a in answers if a[0] != 250]
        return str(bad) if bad else None

    run_all(peer_name, send, tape)
    try:
        status, whole = report(peer_name + ".back")
        tap.ok(NOBODY in status and "550" in status and "Action: failed" in status and ".too@any.test" not in status,
               peer_name + ": tells its sender of the one whom we refused, in our words", whole)
    except TimeoutError as e:
        tap.ok(False, peer_name + ": a report about the refused one", str(e))
    mail = tape.said(rb"MAIL FROM:[^\r]*")
    tap.ok(any("SMTPUTF8" in x for x in mail), peer_name + " uses SMTPUTF8", str(mail))
    tap.ok(any("SIZE=" in x for x in mail), peer_name + " uses SIZE", str(mail))
    if peer_name != "exim":  # which never says so, and sends 8-bit mail all the same
        tap.ok(any("BODY=8BITMIME" in x for x in mail), peer_name + " uses 8BITMIME", str(mail))
    tap.ok(any("RET=HDRS" in x and "ENVID=Q" in x for x in mail) and
           any("NOTIFY=SUCCESS,FAILURE" in x and "ORCPT=rfc822;" in x for x in tape.said(rb"RCPT TO:[^\r]*")),
           peer_name + " passes what DSN says", str(mail + tape.said(rb"RCPT TO:[^\r]*")))
    tap.ok(tape.is_pipelined(), peer_name + " pipelines", str(mail))


def postfix():
    tape = Tape(25)
    peer = peers.Postfix(where, POSTFIX_AT, ["pf.test"], {
        "relayhost": "[%s]:%d" % (HOST, tape.port), "mynetworks": "127.0.0.0/8 192.0.2.0/24 198.51.100.0/24",
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination", "default_destination_concurrency_limit": "20"})
    try:
        through("postfix", tape, POSTFIX_AT)
        # many at once: connections are used again and none is lost
        users = ["postfix.many%d" % i for i in range(40)]
        client = lib.Smtp(25, POSTFIX_AT)
        codes = [client.send("a@client.test", [u + "@any.test"], b"Subject: many\r\n\r\nx\r\n")[0] for u in users]
        client.quit()
        tap.equal(codes, [250] * 40, "postfix takes 40 messages")
        tap.equal([len(lib.wait_until(lambda: lib.messages_in(maildir(u)), u)) for u in users], [1] * 40, "each arrives once")
    except Exception:
        tap.say(peer.log())
        raise
    finally:
        peer.stop()


class EximRelay(peers.Exim):
    """Gives all mail of clients here to the server at HOST:PORT, by CHUNKING and PRDR where that is offered."""
    relay_port = 0

    def command(self, address, domains):
        started = super().command(address, domains)
        with open(os.path.join(self.where, "conf")) as f:
            conf = f.read()
        for old, new in (("begin acl\nrcpt:\n", "prdr_enable = true\nhosts_connection_nolog = *\nqueue_only = false\n"
                          "begin acl\nrcpt:\n  accept hosts = 198.51.100.0/24 : 192.0.2.0/24\n"
                          "    control = dkim_disable_verify\n"),
                         ("begin routers\n", "begin routers\nout:\n  driver = manualroute\n  domains = ! +ours\n"
                          "  route_list = * %s::%d\n  self = send\n  transport = relay\n  no_more\n" % (HOST, self.relay_port)),
                         ("begin transports\n", "begin transports\nrelay:\n  driver = smtp\n  hosts_avoid_tls = *\n"
                          "  hosts_try_prdr = *\n  hosts_try_chunking = *\n  interface = %s\n" % address)):
            if conf.count(old) != 1:
                raise RuntimeError("Exim's configuration has no " + old)
            conf = conf.replace(old, new)
        self.file("conf", conf)
        return started


def exim():
    why = EximRelay.missing()
    if why:
        tap.skip("exim", "needs " + why)
        return
    tape = Tape(25)
    EximRelay.relay_port = tape.port
    peer = EximRelay(where, EXIM_AT, ["exim.test"])
    try:
        through("exim", tape, EXIM_AT)
        tap.ok(tape.said(rb"BDAT \d+(?: LAST)?\r") and not tape.said(rb"DATA\r"), "exim sends by BDAT",
               str(tape.said(rb"(?:BDAT|DATA)[^\r]*")[:20]))
        tap.ok(tape.said(rb"MAIL FROM:[^\r]* PRDR"), "exim asks for a reply for each recipient (PRDR)",
               str(tape.said(rb"MAIL FROM:[^\r]*")))
    except Exception:
        tap.say(peer.log())
        raise
    finally:
        peer.stop()


for part, needs in ((msmtp, "msmtp"), (nodemailer, None), (net_smtp, None), (by_smtplib, None), (curl, "curl"), (mutt, "mutt"),
                    (s_nail, "s-nail"), (submission, None), (postfix, "postfix"), (exim, None)):
    if needs and shutil.which(needs) is None:
        tap.skip(part.__name__, "needs " + needs)
        continue
    try:
        part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s" % (type(e).__name__, e, server.log()))
server.wait_empty()
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()
