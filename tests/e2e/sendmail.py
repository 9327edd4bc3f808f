#!/usr/bin/env python3
"""sendmail, mailq and newaliases as the programs of a machine call them: what they say by exit code, and what arrives."""
import os
import re
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
WHERE = lib.folder()
SUBMIT = os.path.join(WHERE, "submit")
ENV = dict(os.environ, WAXWING_SUBMIT=SUBMIT, WAXWING_CONTROL=os.path.join(WHERE, "control"))


def sendmail(args, text=b"", name="sendmail", env=None):
    done = subprocess.run([os.path.join(WHERE, name)] + args, input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=env or ENV, timeout=lib.DEADLINE_S)
    done.out, done.err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    return done


def arrived(user, count=1):
    folder = os.path.join(WHERE, "mail", "example.org", user)
    return lib.wait_until(lambda: len(lib.messages_in(folder)) >= count and lib.messages_in(folder), "mail for " + user)


def header(message, name):
    head = message.partition(b"\n\n")[0].decode("utf-8", "replace")
    return re.findall(r"(?im)^%s: *(.*(?:\n[ \t].*)*)" % name, head)


def body(message):
    return message.partition(b"\n\n")[2]


class Mock:
    """A server of one connection that answers each command by a table: {first word: reply}."""

    def __init__(self, replies, extensions=("8BITMIME", "SMTPUTF8", "DSN", "SIZE 1000000")):
        self.path = os.path.join(WHERE, "mock")
        self.env = dict(ENV, WAXWING_SUBMIT=self.path)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.replies = {"EHLO": "250-mail.example.org\r\n" + "".join("250-%s\r\n" % e for e in extensions) + "250 HELP",
                        "DATA": "354 go on", "QUIT": "221 bye", ".": "250 2.0.0 taken"}
        self.replies.update(replies)
        self.lines, self.data = [], b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(1)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def reply(self, line):
        return self.replies.get(line, self.replies.get(line.split(" ")[0], "250 2.0.0 ok")).encode() + b"\r\n"

    def run(self):
        try:
            c = self.socket.accept()[0]
        except OSError:
            return  # nobody came
        f = c.makefile("rb")
        try:
            c.sendall(self.replies.get("", "220 mail.example.org ESMTP").encode() + b"\r\n")
            for raw in f:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                self.lines.append(line)
                c.sendall(self.reply(line))
                if line == "DATA" and self.replies["DATA"].startswith("354"):
                    pieces = []
                    while not pieces or pieces[-1] not in (b".\r\n", b""):
                        pieces.append(f.readline())
                    self.data = b"".join(pieces[:-1])
                    c.sendall(self.reply("."))
        except OSError:
            pass
        c.close()

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes who still waits for a client; close() does not
        self.thread.join(lib.DEADLINE_S)
        if self.thread.is_alive():
            raise TimeoutError("the mock server still talks: %s" % self.lines)
        self.socket.close()
        return self


def against(args, text, replies=None, **kw):
    mock = Mock(replies or {}, **kw)
    done = sendmail(args, text, env=mock.env)
    mock.end()
    return done, mock


def envelopes():
    """What is said to the server."""
    done, m = against(["-f", "me@example.org", "-N", "success,delay", "-R", "hdrs", "-V", "id+1", "a@example.org",
                       "-B", "x"], b"Subject: x\n\nhello\n")
    tap.ok(done.returncode == 64 and not m.lines, "what stands behind the first address is no option", done.err)
    done, m = against(["-fme@example.org", "-N", "success,delay", "-R", "hdrs", "-V", "id+1", "A <a@example.org>, b@example.org",
                       "a@example.org"], b"Subject: x\n\nhello\n")
    tap.equal(done.returncode, 0, "taken: exit code 0")
    mail = [x for x in m.lines if x.startswith("MAIL")]
    tap.ok(len(mail) == 1 and mail[0].startswith("MAIL FROM:<me@example.org> SIZE=") and
           mail[0].endswith(" BODY=7BIT RET=HDRS ENVID=id+2B1"), "MAIL with all that was asked for", mail)
    tap.equal([x for x in m.lines if x.startswith("RCPT")],
              ["RCPT TO:<%s@example.org> NOTIFY=SUCCESS,DELAY" % x for x in "ab"], "each recipient once, with its NOTIFY")
    tap.equal(int(re.search(r"SIZE=(\d+)", mail[0])[1]), len(m.data), "SIZE is the size")
    done, m = against(["-f", "<>", "-N", "never", "a@example.org"], b"Subject: x\n\nhello\n", extensions=())
    tap.equal([x for x in m.lines if x[:4] in ("MAIL", "RCPT")], ["MAIL FROM:<>", "RCPT TO:<a@example.org>"],
              "nothing is asked of a server that can't")
    done, m = against(["-f", "me@example.org", "j\u00f6rg@example.org"], "Subject: \u00fc\n\n\u00e4\n".encode())
    tap.ok(any(x.endswith(" BODY=8BITMIME SMTPUTF8") for x in m.lines), "SMTPUTF8 and 8BITMIME when needed", m.lines)
    done, m = against(["root"], b"x\n")
    domain = open("/etc/mailname").read().strip() if os.path.exists("/etc/mailname") else "mail.example.org"
    tap.ok("RCPT TO:<root@%s>" % domain in m.lines, "a name alone is completed", m.lines)
    login = subprocess.run(["id", "-un"], stdout=subprocess.PIPE, text=True).stdout.strip()
    tap.ok(any(x.startswith("MAIL FROM:<%s@%s>" % (login, domain)) for x in m.lines), "the sender is who you are", m.lines)


def refusals():
    """Never a silent loss."""
    text = b"Subject: x\n\nhello\n"
    rows = [
        ({"": "421 4.3.2 full"}, 75, "a full server"),
        ({"MAIL": "451 4.3.0 no"}, 75, "a sender refused for now"),
        ({"MAIL": "550 5.7.1 no"}, 77, "a sender refused"),
        ({"MAIL": "552 5.3.4 too big"}, 65, "a message that is too big"),
        ({"RCPT TO:<b@example.org>": "450 4.2.0 later"}, 75, "one recipient refused for now"),
        ({"RCPT": "550 5.1.1 nobody"}, 67, "all recipients refused"),
        ({"DATA": "451 4.3.0 no"}, 75, "DATA refused for now"),
        ({".": "451 4.3.0 disk full"}, 75, "the message refused for now"),
        ({".": "554 5.6.0 bad"}, 65, "the message refused"),
        ({".": "nonsense"}, 75, "an answer that is none"),
    ]
    for replies, code, name in rows:
        done, m = against(["-f", "me@example.org", "a@example.org", "b@example.org"], text, replies)
        tap.ok(done.returncode == code and done.err and not done.out, "%s: exit code %d, and it is said" % (name, code),
               (done.returncode, done.err))
        if "later" in str(replies) or "nobody" in str(replies):
            tap.ok("b@example.org" in done.err and "DATA" not in m.lines, "  the recipient is named, nothing is sent", done.err)
    done, m = against(["-f", "me@example.org", "a@example.org", "b@example.org"], text,
                      {"RCPT TO:<a@example.org>": "550 5.1.1 nobody"})
    tap.ok(done.returncode == 67 and "a@example.org" in done.err and "b@example.org" not in done.err and m.data,
           "one refused for good is named, the other gets it", (done.returncode, done.err))
    env = dict(ENV, WAXWING_SUBMIT=WHERE + "/nowhere")
    done = sendmail(["a@example.org"], text, env=env)
    tap.ok(done.returncode == 75 and "nowhere" in done.err, "no server: exit code 75", (done.returncode, done.err))


def inputs():
    """Line ends, dots and headers."""
    rows = [
        ([], b"A: b\n\none\n.\ntwo\n", b"one\r\n", "a dot alone ends it"),
        ([], b"A: b\r\n\r\none\r\n.\r\ntwo\r\n", b"one\r\n", "also with CRLF"),
        (["-i"], b"A: b\n\none\n.\n.x\n..\ntwo\n", b"one\r\n..\r\n..x\r\n...\r\ntwo\r\n", "not with -i"),
        (["-oi"], b"A: b\n\n.\n", b"..\r\n", "nor with -oi"),
        ([], b"A: b\n\n.x\n. \n", b"..x\r\n.. \r\n", "a dot and more is text"),
        ([], b"A: b\n\nno end", b"no end\r\n", "a last line without end"),
        ([], b"A: b\n\na\rb\r\r\n", b"a b \r\n", "a CR that ends no line is a space"),
        ([], b"no header\nmore\n", b"no header\r\nmore\r\n", "a text without header"),
        ([], b"\nA: b\n", b"A: b\r\n", "an empty header"),
        ([], b"From me Mon Jan  1 10:00:00 2026\nA: b\n\nx\n", b"x\r\n", "the line of a mailbox file is taken off"),
        ([], b"", b"", "nothing at all"),
    ]
    for args, text, want, name in rows:
        done, m = against(args + ["-f", "me@example.org", "a@example.org"], text)
        tap.equal((done.returncode, m.data.partition(b"\r\n\r\n")[2]), (0, want), name)
    big = b"Subject: big\n\n" + b"".join(b"%07d.\n" % i for i in range(400000))
    done, m = against(["-f", "me@example.org", "a@example.org"], big)
    tap.ok(done.returncode == 0 and m.data.partition(b"\r\n\r\n")[2] == big.partition(b"\n\n")[2].replace(b"\n", b"\r\n"),
           "3.6 MB, octet for octet", (done.returncode, done.err, len(m.data)))
    done, m = against(["-f", "me@example.org", "a@example.org"], b"A: " + b"x" * 200000 + b"\n\n")
    tap.ok(done.returncode == 65 and not m.lines and "header" in done.err, "a header without end is refused", done.err)


def headers():
    text = (b"To: Anna <a@example.org>,\n (comment) \"B, b\" <b@example.org>\nCc: Team: c@example.org;\n"
            b"Bcc: secret@example.org\nReturn-Path: <x@y>\nSubject: hi\n\nhello\n")
    done, m = against(["-t", "-i", "-f", "me@example.org", "-F", "M\u00e9 \"X\"", "e@example.org"], text)
    tap.equal([x[9:].split(">")[0] for x in m.lines if x.startswith("RCPT")],
              [x + "@example.org" for x in ("e", "a", "b", "c", "secret")], "-t: To, Cc and Bcc beside the command line")
    tap.ok(b"secret" not in m.data and b"Return-Path" not in m.data and b"\r\nSubject: hi\r\n" in m.data,
           "Bcc and Return-Path are taken off", m.data)
    head = m.data.partition(b"\r\n\r\n")[0].decode()
    tap.ok(re.search(r"(?m)^From: =\?utf-8\?q\?M=C3=A9=20=22X=22\?= <me@example.org>\r$", head) and
           re.search(r"(?m)^Date: \w{3}, ", head) and re.search(r"(?m)^Message-ID: <\w{32}@mail.example.org>\r$", head),
           "From, Date and Message-ID are added", head)
    whole = b"From: x@example.org\nDate: Tue, 24 Nov 2026 01:02:03 +0000\nMessage-ID: <1@x>\nTo: a@example.org\n\n"
    done, m = against(["-t", "-f", "me@example.org"], whole)
    tap.equal(m.data, whole.replace(b"\n", b"\r\n"), "not where they are")
    done, m = against(["-t", "-f", "me@example.org"], b"Resent-To: r@example.org\n" + whole)
    tap.equal([x[9:].split(">")[0] for x in m.lines if x.startswith("RCPT")], ["r@example.org"], "Resent-To alone counts")
    tap.equal(len(re.findall(rb"(?m)^Resent-(?:From|Date|Message-ID): ", m.data)), 3, "and its fields are added")
    for text, name in ((b"Subject: x\n\n", "no recipient"), (b"To: joe doe\n\n", "an address that is none")):
        done, m = against(["-t"], text)
        tap.ok(done.returncode in (64, 65) and not m.lines and done.err, "-t with %s sends nothing" % name, done.err)
    many = b"To: " + b",\n ".join(b"u%d@example.org" % i for i in range(1001)) + b"\n\n"
    done, m = against(["-t"], many)
    tap.ok(done.returncode == 65 and "1000" in done.err and not m.lines, "more recipients than a message may have", done.err)


def slow_writer():
    """Who writes slowly keeps no server waiting: it is asked when the message is whole."""
    m = Mock({})
    p = subprocess.Popen([os.path.join(WHERE, "sendmail"), "-f", "me@example.org", "a@example.org"], stdin=subprocess.PIPE,
                         env=m.env)
    for piece in (b"Subj", b"ect: x\n", b"\nhel", b"lo\r", b"\n.", b"\n"):
        p.stdin.write(piece)
        p.stdin.flush()
    silent = list(m.lines)
    p.stdin.close()
    tap.ok(p.wait(lib.DEADLINE_S) == 0 and m.end().data.endswith(b"\r\n\r\nhello\r\n"), "a message in pieces", m.data)
    tap.ok(silent in ([], m.lines), "nothing is said before it is whole", silent)


def pass_through():
    """-bs: what the server says comes out, whatever the client does meanwhile."""
    n = 100000
    done, m = against(["-bs"], b"NOOP\r\n" * n + b"QUIT\r\n", {"NOOP": "250 2.0.0 " + "x" * 60})
    tap.ok(done.returncode == 0 and done.out.count("\r\n") == n + 2 and done.out.endswith("221 bye\r\n"),
           "-bs: commands that are sent ahead and their many replies", (done.returncode, len(done.out), done.out[-80:]))
    listener = socket.socket(socket.AF_UNIX)
    path = os.path.join(WHERE, "closes")
    listener.bind(path)
    listener.listen(1)
    p = subprocess.Popen([os.path.join(WHERE, "sendmail"), "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         env=dict(ENV, WAXWING_SUBMIT=path))
    server = listener.accept()[0]
    server.sendall(b"220 hello\r\n")
    tap.equal(p.stdout.readline(), b"220 hello\r\n", "-bs: the greeting")
    p.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, p.pid, os.WSTOPPED)
    server.sendall(b"421 4.3.2 bye\r\n")
    server.close()
    p.stdin.write(b"NOOP\r\n")
    p.stdin.flush()
    p.send_signal(signal.SIGCONT)
    tap.equal((p.stdout.read(), p.wait(lib.DEADLINE_S)), (b"421 4.3.2 bye\r\n", 0),
              "-bs: the last words of a server that closed while the client talks")
    p.stdin.close()


def real_server():
    lua = ('hostname "mail.example.org"\nresolver "system"\nlisten { address = "unix:%s" }\ndomain "example.org" %s\n'
           % (SUBMIT, lib.maildir_lua(WHERE)))
    server = lib.start(WHERE, lua)
    done = sendmail(["-v", "-f", "me@example.org", "anna@example.org"], b"Subject: one\n\nhello\n.x\n")
    tap.ok(done.returncode == 0 and re.search("queued as " + lib.IDS, done.out), "the server takes it", done.err + done.out)
    got = arrived("anna")[0]
    tap.equal((header(got, "Subject"), body(got)), (["one"], b"hello\n.x\n"), "it arrives")
    done = sendmail(["-bv", "anna@example.org", "x@elsewhere.example"])
    tap.ok("anna@example.org: deliverable" in done.out, "-bv", done.out + done.err)
    done = sendmail(["-bs"], b"EHLO x\r\nMAIL FROM:<me@example.org>\r\nQUIT\r\n")
    tap.ok(done.returncode == 0 and done.out.startswith("220 ") and "\r\n221 " in done.out, "-bs", done.out)
    for name, args in (("mailq", []), ("sendmail", ["-bp"])):
        done = sendmail(args, name=name)
        tap.equal((done.returncode, done.out), (0, "Mail queue is empty\n"), "%s %s: nothing waits" % (name, args))
    for args in (["-q"], ["-qRexample.org"]):
        tap.equal(sendmail(args).returncode, 0, "sendmail " + args[0])
    since = server.mark()
    done = sendmail([], name="newaliases")
    tap.ok(done.returncode == 0 and server.wait_log(r"reload\.done", since), "newaliases reads the configuration again", done.err)
    p = subprocess.Popen([os.path.join(WHERE, "sendmail"), "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV)
    tap.ok(p.stdout.readline().startswith(b"220 "), "-bs: a session that says nothing")
    tap.equal(server.stop(), 0, "the server ends")
    tap.ok(p.stdout.read().startswith(b"421 ") and p.wait(lib.DEADLINE_S) == 0, "and told the session so")
    p.stdin.close()
    done = sendmail(["anna@example.org"], b"x\n")
    tap.equal(done.returncode, 75, "and then the exit code is 75")
    tap.equal(sendmail([], name="mailq").returncode, 69, "that of mailq 69")


def options():
    for args in (["-bd"], ["-bx"], ["-N", "sometimes", "a@b"], ["-N", "never,delay", "a@b"], ["-R", "x", "a@b"], [],
                 ["-f", "a@b, c@d", "a@b"], ["-B", "9BIT", "a@b"], ["-V", "", "a@b"], ["-qX"]):
        done = sendmail(args, b"x\n")
        tap.ok(done.returncode == 64 and done.err, "%s is an error of usage" % args, (done.returncode, done.err))
    done, m = against(["-oem", "-odq", "-G", "-U", "-n", "-L", "tag", "-O", "x=y", "-Am", "-oi", "-f", "me@example.org", "--",
                       "a@example.org"], b"x\n")
    tap.equal((done.returncode, len(m.data) > 0), (0, True), "options of other servers mean nothing")


for link in ("sendmail", "mailq", "newaliases"):
    os.symlink(lib.WAXWING, os.path.join(WHERE, link))
options()
envelopes()
refusals()
inputs()
headers()
slow_writer()
pass_through()
real_server()
tap.end()
