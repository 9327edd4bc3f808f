#!/usr/bin/env python3
"""What becomes of each kind of message at each kind of server: Waxwing between a client and next hops that offer little or
much (RFC 6152, 3030, 6531, 1870, 3461)."""
import email
import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

# =     arrives, octet for octet
# ~     arrives converted, and decodes to the same octets; the journal says so, and of which signature it breaks
# 5.x.x comes back to its sender in a report with this status, and the server never sees a message
# d     arrives, and the report of success that was asked for is the next server's business (DSN)
# r     arrives, and we make the report of success
# .     is not sent: another column of this row is the same but for time
TABLE = """
                   full   text8  utf8   half   8bit   chunk  bin8   plain  nosize helo   small
plain              =      =      =      =      =      =      =      =      =      =      =
8-bit              =      =      =      =      =      =      =      ~      ~      ~      =
8-bit, no MIME     =      =      =      =      =      =      =      ~      ~      ~      =
8-bit, two parts   =      =      =      =      =      =      =      ~      ~      ~      =
8-bit, in rfc822   =      =      =      =      =      =      =      ~      ~      ~      =
binary             =      ~      ~      ~      ~      ~      =      ~      ~      ~      ~
binary, said only  =      =      =      =      =      =      =      =      =      =      =
UTF-8 address      =      =      =      5.6.7  5.6.7  5.6.7  5.6.7  5.6.7  5.6.7  5.6.7  =
UTF-8 header       =      =      =      5.6.7  5.6.7  5.6.7  5.6.7  5.6.7  5.6.7  5.6.7  =
UTF-8 domain       =      =      =      =      =      =      =      =      =      =      =
UTF-8, said only   =      =      =      =      =      =      =      =      =      =      =
8-bit header       =      =      =      =      =      =      =      5.6.3  5.6.3  5.6.3  =
20 MiB             =      .      .      .      .      .      .      =      .      =      5.3.4
20 MiB, 8-bit      =      .      .      .      =      .      .      ~      ~      .      5.3.4
signed, 7-bit      =      =      =      =      =      =      =      =      =      =      =
signed, 8-bit      =      =      =      =      =      =      =      5.6.3  5.6.3  5.6.3  =
signed, within     =      =      =      =      =      =      =      5.6.3  5.6.3  5.6.3  =
signed, binary     =      5.6.3  5.6.3  5.6.3  5.6.3  5.6.3  =      5.6.3  5.6.3  5.6.3  5.6.3
encrypted, 8-bit   =      =      =      =      =      =      =      5.6.3  5.6.3  5.6.3  =
DKIM, 8-bit        =      =      =      =      =      =      =      ~      ~      ~      =
DKIM, 7-bit        =      =      =      =      =      =      =      =      =      =      =
a long line        =      =      =      =      =      =      =      =      =      =      =
8-bit, long line   =      =      =      =      =      =      =      ~      ~      ~      =
report asked       d      d      r      r      d      r      r      d      r      r      d
"""
# what the servers of the columns offer; None: they know no EHLO
OFFERS = {
    "full": "PIPELINING|SIZE 60000000|8BITMIME|SMTPUTF8|CHUNKING|BINARYMIME|DSN",
    "text8": "PIPELINING|SIZE 60000000|8BITMIME|SMTPUTF8|CHUNKING|DSN",
    "utf8": "SIZE 60000000|8BITMIME|SMTPUTF8",
    "half": "8BITMIME|BINARYMIME|SIZE",  # BINARYMIME without CHUNKING can't be used (RFC 3030 3)
    "8bit": "SIZE 60000000|8BITMIME|DSN",
    "chunk": "PIPELINING|8BITMIME|CHUNKING",
    "bin8": "8BITMIME|CHUNKING|BINARYMIME",
    "plain": "PIPELINING|SIZE 60000000|DSN",
    "nosize": "",
    "helo": None,
    "small": "PIPELINING|SIZE 1000000|8BITMIME|SMTPUTF8|CHUNKING|DSN",
}
# the servers of others, and the column that each stands in; the last three are told to offer less than they could
OTHERS = {"Postfix": "text8", "Exim": "text8", "OpenSMTPD": "8bit", "sendmail": "8bit", "aiosmtpd": "utf8",
          "aiosmtpd by LMTP": "utf8", "Dovecot by LMTP": "chunk", "Postfix, 7-bit": "plain", "Exim, 7-bit": "plain",
          "Postfix, small": "small"}
LESS = {
    "Postfix, 7-bit": "smtpd_discard_ehlo_keywords = 8bitmime, smtputf8, chunking",
    "Exim, 7-bit": "accept_8bitmime = false\nsmtputf8_advertise_hosts =\nchunking_advertise_hosts =",
    "Postfix, small": "message_size_limit = 1000000",
}
BIG = ("20 MiB", "20 MiB, 8-bit")  # these to the servers of others: see receivers.py

COLUMNS = TABLE.split("\n")[1].split()
EXPECTED = {line[:19].rstrip(): dict(zip(COLUMNS, line[19:].split())) for line in TABLE.split("\n")[2:-1]}

tap = lib.Tap()
lib.inside(["nsd"])
where = lib.folder()


# ---- next hops ----------------------------------------------------------------------------------------------------------

class Hop:
    """A server at ADDRESS:25 that offers these words, refuses the use of others, and keeps what it got: .taken has {"mail",
    "rcpts", "by", "octets", "size"} for each message, .wrong what it would not have had to take."""

    def __init__(self, address, offers):
        self.knows_ehlo, self.offers = offers is not None, [w for w in (offers or "").split("|") if w]
        self.words = {w.split()[0] for w in self.offers}
        self.taken, self.wrong = [], []
        self.socket = socket.create_server((address, 25), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._visit, args=(self.socket.accept()[0],), daemon=True).start()

    def _visit(self, conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with conn, conn.makefile("rb", 1 << 16) as f:
                say(conn, "220 hop.test")
                mail = None
                for line in f:
                    mail = self._command(conn, f, line.rstrip(b"\r\n"), mail)
        except OSError:
            pass

    def _command(self, conn, f, line, mail):
        verb = line[:4].upper()
        if not line.isascii() and (b" SMTPUTF8" not in line if verb == b"MAIL" else not (mail and b" SMTPUTF8" in mail["mail"])):
            self.wrong.append("not ASCII: %r" % line)
        if verb == b"EHLO":
            words = ["hop.test"] + self.offers
            say(conn, *(["500 what"] if not self.knows_ehlo else
                        ["250%s%s" % ("-" if i + 1 < len(words) else " ", w) for i, w in enumerate(words)]))
        elif verb == b"MAIL":
            mail = {"mail": line, "rcpts": [], "by": None, "octets": []}
            self._check(line)
            say(conn, "250 ok")
        elif verb == b"RCPT":
            mail["rcpts"].append(line)
            self._check(line)
            say(conn, "250 ok")
        elif verb == b"DATA":
            say(conn, "354 go")
            mail.update(by="DATA", octets=[read_data(f)])
            self._keep(mail)
            say(conn, "250 taken")
        elif verb == b"BDAT":
            mail["by"] = "BDAT"
            if not {"CHUNKING", "BINARYMIME"} <= self.words:
                self.wrong.append("BDAT is not offered")
            n, last = int(line.split()[1]), line.upper().endswith(b" LAST")
            mail["octets"].append(f.read(n))
            if last:
                self._keep(mail)
            say(conn, "250 %d octets" % n)
        else:
            say(conn, "221 bye" if verb == b"QUIT" else "250 ok")
        return mail

    def _check(self, line):
        for word in re.findall(rb" ([A-Z0-9]+)(?==|$| )", line.partition(b">")[2]):
            need = {"SIZE": "SIZE", "SMTPUTF8": "SMTPUTF8", "NOTIFY": "DSN", "ORCPT": "DSN", "RET": "DSN", "ENVID": "DSN"}
            if word != b"BODY" and need.get(word.decode()) not in self.words:
                self.wrong.append("%r is not offered" % line)
        body = re.search(rb" BODY=(\S+)", line)
        if body and {b"8BITMIME": "8BITMIME", b"BINARYMIME": "BINARYMIME"}[body[1]] not in self.words:
            self.wrong.append("%r is not offered" % line)

    def _keep(self, mail):
        octets = mail["octets"] = b"".join(mail["octets"])
        found = re.search(rb" SIZE=(\d+)", mail["mail"])
        if found and int(found[1]) != len(octets):
            self.wrong.append("%r for %d octets" % (mail["mail"], len(octets)))
        if not octets.isascii() and b" BODY=8BITMIME" not in mail["mail"] and b" BODY=BINARYMIME" not in mail["mail"]:
            self.wrong.append("8-bit after %r" % mail["mail"])
        if (b"\0" in octets or bare_ends(octets)) and b" BODY=BINARYMIME" not in mail["mail"]:
            self.wrong.append("binary after %r" % mail["mail"])
        self.taken.append(mail)


def bare_ends(octets):
    return octets.count(b"\n") != octets.count(b"\r\n") or octets.count(b"\r") != octets.count(b"\r\n")


def say(conn, *lines):
    conn.sendall("".join(line + "\r\n" for line in lines).encode())


def read_data(f):
    out = []
    while True:
        line = f.readline()
        if line == b".\r\n" or not line:
            return b"".join(out)
        out.append(line[1:] if line.startswith(b".") else line)


# ---- messages -----------------------------------------------------------------------------------------------------------

TEXT8 = "Grüße aus Köln: füße, Ärger, viel Text dazwischen, der aus lauter Buchstaben des Alphabets besteht.\r\n.\r\n".encode()
CYRILLIC = "Привет, мир!\r\n".encode()
PLAIN = b"Hello, this is plain.\r\n.\r\n..two\r\n"
BINARY = bytes(range(256)) * 4 + b"\0\0\n\r\rtail without an end"
HEAD = b"From: Ann <ann@home.test>\r\nTo: Joe <joe@home.test>\r\nSubject: %s\r\nX-Folded: a\r\n\tb   c\r\n"
MIME = b"MIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n"
SIGNED = (b'multipart/signed; boundary="s"; micalg=pgp-sha256;\r\n protocol="application/pgp-signature"')
ENCRYPTED = b'multipart/encrypted; boundary="s";\r\n protocol="application/pgp-encrypted"'
DKIM = b"DKIM-Signature: v=1; a=rsa-sha256; d=home.test; s=s; h=from; bh=AAAA; b=AAAA\r\n"
T8, T7, OCTETS = (b"text/plain; charset=utf-8", b"8bit"), (b"text/plain", b"7bit"), (b"application/octet-stream", b"binary")


def leaf(kind, octets):
    return b"Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (kind + (octets,))


def multipart(boundary, *parts):
    return b"".join(b"--%s\r\n%s\r\n" % (boundary, p) for p in parts) + b"--%s--\r\n" % boundary


def lines_to(n, line):
    return line * (n // len(line)) + b"end of it\r\n"


MIXED = b"multipart/mixed; boundary=m"
SIGNATURE = b"Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n"
LONG = b"x" * 5000 + b"\r\n"
# name: (fields of the header, the message's body, octets of its leaves, parameters of MAIL)
MESSAGES = {
    "plain": (b"", b"\r\n" + PLAIN, [PLAIN], ""),
    "8-bit": (MIME % T8, TEXT8, [TEXT8], " BODY=8BITMIME"),
    "8-bit, no MIME": (b"", b"\r\n" + TEXT8, [TEXT8], " BODY=8BITMIME"),
    "8-bit, two parts": (MIME % (MIXED, b"8bit"), multipart(b"m", leaf(T8, TEXT8), leaf(T7, PLAIN), leaf(T8, CYRILLIC)),
                         [TEXT8, PLAIN, CYRILLIC], " BODY=8BITMIME"),
    "8-bit, in rfc822": (MIME % (b"message/rfc822", b"8bit"), b"Subject: inner\r\n" + MIME % T8 + TEXT8, [TEXT8],
                         " BODY=8BITMIME"),
    "binary": (MIME % (MIXED, b"binary"), multipart(b"m", leaf(T8, TEXT8), leaf(OCTETS, BINARY)), [TEXT8, BINARY],
               " BODY=BINARYMIME"),
    "binary, said only": (MIME % T7, PLAIN, [PLAIN], " BODY=BINARYMIME"),
    "UTF-8 address": (b"", b"\r\n" + PLAIN, [PLAIN], " SMTPUTF8"),
    "UTF-8 header": ("X-Utf8: grüße\r\n".encode(), b"\r\n" + PLAIN, [PLAIN], " BODY=8BITMIME SMTPUTF8"),
    "UTF-8 domain": (b"", b"\r\n" + PLAIN, [PLAIN], " SMTPUTF8"),
    "UTF-8, said only": (b"", b"\r\n" + PLAIN, [PLAIN], " BODY=8BITMIME SMTPUTF8"),
    "8-bit header": (b"X-Latin1: gr\xfc\xdfe\r\n", b"\r\n" + PLAIN, [PLAIN], " BODY=8BITMIME"),
    "20 MiB": (b"", b"\r\n" + lines_to(20 << 20, PLAIN), [lines_to(20 << 20, PLAIN)], ""),
    "20 MiB, 8-bit": (MIME % T8, lines_to(20 << 20, TEXT8), [lines_to(20 << 20, TEXT8)], " BODY=8BITMIME"),
    "signed, 7-bit": (MIME % (SIGNED, b"7bit"), multipart(b"s", leaf(T7, PLAIN), SIGNATURE), [], " BODY=8BITMIME"),
    "signed, 8-bit": (MIME % (SIGNED, b"8bit"), multipart(b"s", leaf(T8, TEXT8), SIGNATURE), [], " BODY=8BITMIME"),
    "signed, within": (MIME % (MIXED, b"8bit"), multipart(b"m", leaf(T8, TEXT8), b"Content-Type: " + SIGNED + b"\r\n\r\n" + multipart(
        b"s", leaf(T8, TEXT8), SIGNATURE)), [], " BODY=8BITMIME"),
    "signed, binary": (MIME % (SIGNED, b"binary"), multipart(b"s", leaf(OCTETS, BINARY), SIGNATURE), [], " BODY=BINARYMIME"),
    "encrypted, 8-bit": (MIME % (ENCRYPTED, b"8bit"), multipart(b"s", b"Content-Type: application/pgp-encrypted\r\n\r\n"
                         b"Version: 1\r\n", leaf((b"application/octet-stream", b"8bit"), TEXT8)), [], " BODY=8BITMIME"),
    "DKIM, 8-bit": (DKIM + MIME % T8, TEXT8, [TEXT8], " BODY=8BITMIME"),
    "DKIM, 7-bit": (DKIM + MIME % T7, PLAIN, [PLAIN], " BODY=8BITMIME"),
    "a long line": (b"", b"\r\n" + LONG + PLAIN, [LONG + PLAIN], ""),
    "8-bit, long line": (MIME % T8, LONG + TEXT8, [LONG + TEXT8], " BODY=8BITMIME"),
    "report asked": (b"", b"\r\n" + PLAIN, [PLAIN], " RET=HDRS ENVID=QQ314159"),
}


def made(name):
    fields, body, _, _ = MESSAGES[name]
    return HEAD % name.encode() + fields + body


def ends(octets):
    """With CRLF made LF, as servers that keep it in files do."""
    return octets.replace(b"\r\n", b"\n")


def leaves_of(octets):
    """The decoded octets of a converted message's leaves."""
    message = email.message_from_bytes(octets)
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]


# ---- the place ----------------------------------------------------------------------------------------------------------

class Column:
    def __init__(self, n, name, kind, hop=None, why_not=None, is_lmtp=False):
        self.name, self.kind, self.hop, self.why_not, self.is_lmtp = name, kind, hop, why_not, is_lmtp
        self.at = "198.51.100.%d" % (20 + n)
        self.label = re.sub("[^a-z0-9]+", "-", name.lower())
        self.domain = self.label + ".test"
        self.server = None
        subprocess.run(["ip", "addr", "add", self.at + "/24", "dev", "lo"], check=True)


def columns():
    out = []
    for name, offers in OFFERS.items():
        c = Column(len(out), name, name)
        c.hop = Hop(c.at, offers)
        out.append(c)
    hops = peers.next_hops(where)
    for name in OTHERS:
        why_not, is_lmtp, make = hops[name] if name in hops else peers.lesser(where, name, LESS[name])
        c = Column(len(out), name, OTHERS[name], why_not=why_not, is_lmtp=is_lmtp)
        if why_not is None:
            c.server = make(c.at, c.domain)
        out.append(c)
    return out


ALL = columns()
lib.Dns(where, {"test.": "null MX 0 .\n" + "\n".join("%s MX 10 mx.%s\nmx.%s A %s" % ((c.label,) * 3 + (c.at,))
                                                     for c in ALL if not c.is_lmtp)})
server = lib.start(where, """hostname "mx.wax.test"
postmaster "ann@home.test"
relay_from { "127.0.0.1" }
resolver { "127.0.0.53" }
retry { first = "1s", longest = "1s", jitter = 0 }
limits { sessions_per_client = 0 }
listen { port = 25, address = "127.0.0.1" }
domain "home.test" %s
domain "b\u00fccher.test" { same_as = "home.test" }
%s""" % (lib.maildir_lua(where), "\n".join('domain "%s" { users = any, deliver = lmtp "%s:24" }' % (c.domain, c.at)
                                          for c in ALL if c.is_lmtp)))
MAIL = lib.mail_folder(where)


# ---- a row --------------------------------------------------------------------------------------------------------------

class Row:
    """One message, sent to a recipient at each column in one transaction."""

    def __init__(self, n, name, columns_):
        self.name, self.user = name, "row%d" % n
        local = "мир" if name == "UTF-8 address" else "joe"
        self.rcpts = {c: "%s@%s" % (local, c.domain) for c in columns_
                      if EXPECTED[name][c.kind] != "." and (c.hop or name not in BIG or EXPECTED[name][c.kind][0] == "5")}
        sender = self.user + ("@b\u00fccher.test" if name == "UTF-8 domain" else "@home.test")
        client, parameters = lib.Smtp(25), MESSAGES[name][3]
        wish = " NOTIFY=SUCCESS,FAILURE" if name == "report asked" else ""
        lines = ["MAIL FROM:<%s>%s" % (sender, parameters)] + ["RCPT TO:<%s>%s" % (r, wish) for r in self.rcpts.values()]
        refused = next((a for a in map(client.ask, lines) if a[0] != 250), None)
        answer = refused or (client.bdat([made(name)]) if "BINARYMIME" in parameters else client.data(made(name)))
        client.quit()
        self.id = lib.id_of(answer)

    def read(self):
        """When nothing waits any more: what the journal and the reports say."""
        self.life, self.reports = server.why(self.id), {}
        self.read_reports()

    def read_reports(self):
        """Of all that came back: recipient -> status."""
        for octets in lib.messages_in("%s/home.test/%s" % (MAIL, self.user)):
            text = octets.decode("utf-8", "replace")
            for block in re.split(r"\n\s*\n", text):
                rcpt = re.search(r"(?mi)^Final-Recipient: *[-a-z0-9]+; *(\S+)", block)
                status = re.search(r"(?mi)^Status: *(\S+)", block)
                if rcpt and status:
                    self.reports[unescaped(rcpt[1])] = status[1]

    def events(self, column, kind):
        """The rows of the journal of this kind for this column."""
        return [r for r in self.life if r["event"] == kind and
                (r.get("address") == self.rcpts[column] or "address" not in r and (
                    column.at in r.get("host", "") or column.label in r.get("host", "").split(".")))]


def unescaped(address):
    return re.sub(r"\\x\{([0-9A-Fa-f]+)\}", lambda m: chr(int(m[1], 16)), address)


def arrived(column, name):
    """The messages of this row at this column, without traces, and whether line ends became LF."""
    if column.hop:
        return [lib.without_trace(ends(m["octets"])) if name not in RAW else strip(m["octets"]) for m in column.hop.taken
                if subject_of(m["octets"]) == name]
    out = []
    for path in peers.files_of(column.server):
        with open(path, "rb") as f:
            octets = f.read()
        if subject_of(octets) == name:
            out.append(lib.without_trace(ends(octets)))
    return out


RAW = {name for name in MESSAGES if bare_ends(made(name))}


def strip(octets):
    """lib.without_trace() for octets that keep their CRLF."""
    fields = re.split(rb"\r\n(?![ \t])", octets.partition(b"\r\n\r\n")[0])
    n = 0
    while re.match(rb"(?i)(received|return-path|delivered-to):", fields[n]):
        n += 1
    return octets[len(b"\r\n".join(fields[:n]) + b"\r\n") if n else 0:]


def subject_of(octets):
    found = re.search(rb"(?m)^Subject: (.*?)\r?$", octets[:4096])
    return found[1].decode() if found else ""


# ---- a cell -------------------------------------------------------------------------------------------------------------

def cell(row, column):
    name, want = row.name, EXPECTED[row.name][column.kind]
    said = " ".join(sorted({m["mail"].partition(b">")[2].decode() + " " + m["by"] for m in column.hop.taken
                            if subject_of(m["octets"]) == name})) if column.hop else ""
    problems = []
    if want[0] == "5":
        title = "comes back with " + want
        if row.reports.get(row.rcpts[column]) != want:
            problems.append("the report says %s" % row.reports.get(row.rcpts[column]))
        if arrived(column, name):
            problems.append("it has arrived too")
        if not row.events(column, "failed"):
            problems.append("`why` knows of no failure")
        if row.events(column, "converted"):
            problems.append("`why` says that it was converted")
    else:
        title = {"=": "arrives octet for octet", "~": "arrives converted", "d": "arrives, and the wish for a report too",
                 "r": "arrives, and we report it"}[want]
        problems += converted(row, column) if want == "~" else same(row, column)
        problems += reported(row, column, want) if want in "dr" else []
    if column.hop:
        problems += column.hop.wrong
        column.hop.wrong.clear()
    tap.ok(not problems, "%s -> %s: %s" % (name, column.name, title),
           lambda: "\n".join(problems + ["said: " + said] + [str(r) for r in row.life if r["event"] not in ("split", "routed")] +
                             [column.server.log()[-2000:] if column.server else ""]))


def one_of(row, column):
    """What arrived; a server of others has taken it, and may not have delivered it yet."""
    try:
        lib.wait_until(lambda: arrived(column, row.name), "arrival", 0 if column.hop else 30)
    except TimeoutError:
        pass
    got = arrived(column, row.name)
    return (got[0], []) if len(got) == 1 else (None, ["%d arrived" % len(got)])


def same(row, column):
    got, problems = one_of(row, column)
    want = made(row.name)
    if got is not None and got != (want if row.name in RAW and column.hop else ends(want)):
        problems.append("got  %s\nwant %s" % (lib.brief(got), lib.brief(want)))
    if row.events(column, "converted"):
        problems.append("`why` says that it was converted")
    return problems + declared(row, column)


def reported(row, column, want):
    status = row.reports.get(row.rcpts[column])
    problems = [] if (status or "none")[:2] == ("2." if want == "r" else "no") else ["our report says " + str(status)]
    if column.hop:
        mail = next(m for m in column.hop.taken if subject_of(m["octets"]) == row.name)
        said = b"NOTIFY=SUCCESS,FAILURE" in mail["rcpts"][0] and b" RET=HDRS ENVID=QQ314159" in mail["mail"]
        problems += [] if said == (want == "d") else ["said %s" % mail["rcpts"]]
    return problems


def declared(row, column):
    """What the message is was said where it can be, and nothing else."""
    if not column.hop:
        return []
    mail = next((m for m in column.hop.taken if subject_of(m["octets"]) == row.name), None)
    if mail is None:
        return []
    line, parameters, words = mail["mail"], MESSAGES[row.name][3], column.hop.words
    by_bdat = "BINARYMIME" in parameters and {"CHUNKING", "BINARYMIME"} <= words
    problems = [] if mail["by"] == ("BDAT" if by_bdat else "DATA") else ["by " + mail["by"]]
    problems += [] if (b" BODY=BINARYMIME" in line) == by_bdat else ["BODY of %r" % line]
    problems += [] if (b" SMTPUTF8" in line) == ("SMTPUTF8" in parameters and "SMTPUTF8" in words) else ["SMTPUTF8 in %r" % line]
    if row.name == "UTF-8 domain":
        want = ("<%s@b\u00fccher.test>" if "SMTPUTF8" in words else "<%s@xn--bcher-kva.test>") % row.user
        problems += [] if want.encode() in line else ["%s in %r" % (want, line)]
    return problems


def converted(row, column):
    got, problems = one_of(row, column)
    want = MESSAGES[row.name][2]
    if got is not None:
        if column.hop:
            raw = next(m["octets"] for m in column.hop.taken if subject_of(m["octets"]) == row.name)
            got_leaves = leaves_of(raw)
            if "8BITMIME" not in column.hop.words and not raw.isascii():
                problems.append("octets over 0x7f went out")
        else:
            got_leaves, want = [ends(x) for x in leaves_of(got)], [ends(x) for x in want]
        if got_leaves != want:
            problems.append("got  %s\nwant %s" % (lib.brief(got_leaves), lib.brief(want)))
        head = HEAD % row.name.encode()
        if not ends(got).startswith(ends(head)):
            problems.append("the header is another: %s" % lib.brief(got[:len(head)]))
    notes = row.events(column, "converted")
    if len(notes) != 1 or "->" not in notes[0]["text"]:
        problems.append("`why` notes: %s" % notes)
    elif ("signature will not verify" in notes[0]["text"]) != row.name.startswith("DKIM"):
        problems.append("of a signature `why` notes: %s" % notes[0]["text"])
    return problems


present = [c for c in ALL if not c.why_not]
rows = []
for n, name in enumerate(EXPECTED):
    try:
        rows.append(Row(n, name, present))
    except Exception as e:
        tap.ok(False, "%s is taken" % name, "%s: %s" % (type(e).__name__, e))
try:
    server.wait_empty(120)
except TimeoutError as e:
    tap.ok(False, "nothing waits for long", "%s: %s" % (e, server.queue("list")))
for row in rows:
    try:
        row.read()
        for column in row.rcpts:
            cell(row, column)
    except Exception as e:
        tap.ok(False, "%s goes to its end" % row.name, "%s: %s\n%s" % (type(e).__name__, e, server.log()[-2000:]))
for column in ALL:
    if column.why_not:
        tap.skip("%d messages -> %s" % (len(EXPECTED), column.name), "needs " + column.why_not)
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()
