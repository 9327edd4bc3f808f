#!/usr/bin/env python3
"""Reports of each kind (RFC 3461, 3464, 6522, 6533), read with the eyes of others: Python's parser at its strictest, Postfix's and
Exim's MIME parsers."""
import email
import email.message
import email.policy
import email.utils
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import peers

HOST, POSTFIX_AT, EXIM_AT = "192.0.2.1", "198.51.100.5", "198.51.100.6"
HOSTNAME = "mx.wax.test"
tap = lib.Tap()
lib.inside(["nsd"])
for address in (POSTFIX_AT, EXIM_AT):
    subprocess.run(["ip", "addr", "add", address + "/24", "dev", "lo"], check=True)
where = lib.folder()
lib.Dns(where, {"test.": "self MX 10 us\nus A %s\nnull MX 0 .\nnomail TXT nothing" % HOST})


REFUSES = {"refused": b"550-5.1.1 There is no such user.\r\n550-5.1.1 Nor was there ever: <b>\x01\xffsee</b>\r\n"
                      b"550 5.1.1 " + b"very long words of no use " * 12,
           "later": b"451 4.3.0 The disk is full; come back."}
hop, small_hop, old_hop = (lib.Hop(port, offers, REFUSES, {"body": b"554 5.6.0 This is no mail for us."}, host=HOST)
                           for port, offers in ((2501, [b"8BITMIME", b"SMTPUTF8"]), (2502, [b"SIZE 400"]), (2503, [])))
server = lib.start(where, """
hostname "%s"
postmaster "joe@box.test"
relay_from { "127.0.0.0/8", "192.0.2.0/24" }
resolver { "127.0.0.53" }
retry { first = "1s", longest = "1s", jitter = 0, give_up = "5s" }
reports { delay_after = "1s" }
limits { sessions_per_client = 0 }
listen { port = 25, address = "%s" }
route { to = "hop.test", via = "smtp://%s:2501" }
route { to = "small.test", via = "smtp://%s:2502" }
route { to = "old.test", via = "smtp://%s:2503" }
domain "box.test" %s
domain "any.test" %s
""" % (HOSTNAME, HOST, HOST, HOST, HOST, lib.maildir_lua(where, '{ "joe", "ann" }', ', aliases = { ghost = "nobody@box.test", all = { "joe", "ann" }, '
                                                   'one = "two", two = "one", list = { "joe", "ann" }, ["owner-list"] = "joe" }'),
       lib.maildir_lua(where))).wait_ready()
MAIL = lib.mail_folder(where)

# ---- what is sent, and what has to be said of it -------------------------------------------------------------------------

FAILED, DELAYED, RELAYED, DELIVERED, EXPANDED = "failed", "delayed", "relayed", "delivered", "expanded"
CLASS = {FAILED: "5", DELAYED: "4", RELAYED: "2", DELIVERED: "2", EXPANDED: "2"}
UTF8_RCPT = "\u0438\u0432\u0430\u043d"


class Kind:
    """rcpt: whom it goes to; action, status, diagnostic: what the report says of him (regular expressions)."""

    def __init__(self, rcpt, action, status, diagnostic=None, notify=None, remote=None, lines=1, utf8=False, is_alias=False):
        self.rcpt, self.action, self.status, self.diagnostic, self.notify = rcpt, action, status, diagnostic, notify
        self.remote, self.lines, self.utf8, self.is_alias = remote, lines, utf8, is_alias


HOP = r"dns; *%s" % re.escape(HOST)
KINDS = {
    "refused": Kind("refused@hop.test", FAILED, r"5\.1\.1", r"smtp; *550 5\.1\.1 There is no such user", remote=HOP),
    "body": Kind("body@hop.test", FAILED, r"5\.6\.0", r"smtp; *554 5\.6\.0 This is no mail for us", remote=HOP),
    "large": Kind("x@small.test", FAILED, r"5\.3\.4", lines=100),
    "ghost": Kind("ghost@box.test", FAILED, r"5\.1\.1", is_alias=True),
    "circle": Kind("one@box.test", FAILED, r"5\.4\.6"),
    "self": Kind("x@self.test", FAILED, r"5\.4\.6"),
    "null": Kind("x@null.test", FAILED, r"5\.1\.10"),
    "nowhere": Kind("x@nothere.test", FAILED, r"5\.1\.2"),
    "relayed": Kind("x@hop.test", RELAYED, r"2\.\d+\.\d+", notify="SUCCESS", remote=HOP),
    "delivered": Kind("joe@box.test", DELIVERED, r"2\.\d+\.\d+", notify="SUCCESS"),
    "alias": Kind("all@box.test", EXPANDED, r"2\.\d+\.\d+", notify="SUCCESS"),
    "list": Kind("list@box.test", DELIVERED, r"2\.\d+\.\d+", notify="SUCCESS"),
    "late": Kind("later@hop.test", DELAYED, r"4\.\d+\.\d+", r"smtp; *451 4\.3\.0 The disk is full", notify="DELAY,FAILURE", remote=HOP),
    "utf8 refused": Kind(UTF8_RCPT + "@old.test", FAILED, r"5\.6\.7", utf8=True),
    "utf8 ghost": Kind("refused.%s@hop.test" % UTF8_RCPT, FAILED, r"5\.1\.1", r"smtp; *550 5\.1\.1 There is", remote=HOP, utf8=True),
    "utf8 delivered": Kind(UTF8_RCPT + "@any.test", DELIVERED, r"2\.\d+\.\d+", notify="SUCCESS", utf8=True),
}
EXPIRED = Kind("later@hop.test", FAILED, r"5\.4\.7", r"smtp; *451 4\.3\.0 The disk is full", remote=HOP)
# ENVID, RET and whether ORCPT is said
WISHES = {"plain": (None, None, False), "hdrs": ("Q+ 7=%d", "HDRS", True), "full": ("\u007e" * 90 + "!", "FULL", True)}


def xtext(text):
    return re.sub(r"[^!-*,-<>-~]", lambda m: "+%02X" % ord(m[0]), text)


class Mail:
    def __init__(self, name, wish):
        self.kind, self.name, self.envid, self.ret, self.has_orcpt = KINDS[name], "%s, %s" % (name, wish), *WISHES[wish]
        self.user = ("j\u00f6rg." if self.kind.utf8 else "") + (name + "." + wish).replace(" ", ".")
        self.sender = self.user + "@any.test"
        self.msgid = "<%s@client.test>" % (name + "." + wish).replace(" ", ".")
        self.orcpt = None
        if self.has_orcpt:
            self.orcpt = ("utf-8;" if self.kind.utf8 else "rfc822;") + "orig+" + self.kind.rcpt
        self.octets = ("Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: %s\r\nFrom: a@client.test\r\nTo: x@client.test\r\n"
                       "Subject: %s\r\nX-Folded: one\r\n\ttwo\r\n\r\n" % (self.msgid, self.name)).encode() + \
            b"The body, and its lines.\r\n--=_\r\n" * self.kind.lines

    def orcpt_parameter(self):
        if self.orcpt is None:
            return ""
        if not self.kind.utf8:
            return " ORCPT=" + self.orcpt.partition(";")[0] + ";" + xtext(self.orcpt.partition(";")[2])
        return " ORCPT=" + re.sub(r"[+=\\]|[^!-~]", lambda m: "\\x{%X}" % ord(m[0]), self.orcpt)

    def send(self, client):
        mail = "MAIL FROM:<%s> BODY=8BITMIME" % self.sender
        mail += (" SMTPUTF8" if self.kind.utf8 else "") + (" ENVID=" + xtext(self.envid) if self.envid else "")
        mail += " RET=" + self.ret if self.ret else ""
        rcpt = "RCPT TO:<%s>%s" % (self.kind.rcpt, " NOTIFY=" + self.kind.notify if self.kind.notify else "") + self.orcpt_parameter()
        for line in (mail, rcpt):
            answer = client.ask(line)
            if answer[0] != 250:
                raise RuntimeError("%s: %s" % (line, answer))
        return lib.id_of(client.data(self.octets))


# ---- the eyes of a strict reader -----------------------------------------------------------------------------------------

class Bad(Exception):
    pass


def need(good, what, value=None):
    if not good:
        raise Bad("%s: %s" % (what, lib.brief(value)))


def split_parts(whole):
    """(header text of the whole, [(header text, body) of each part]), by RFC 2046 5.1.1 and nothing else."""
    head, _, body = whole.partition(b"\n\n")
    boundary = re.search(rb'(?is)content-type: multipart/report;.*?boundary="([^"]+)"', head)[1]
    need(len(boundary) <= 70, "boundary", boundary)
    pieces = re.split(rb"(?:\A|\n)--%s(--)?[ \t]*\n" % re.escape(boundary), body)
    need(pieces[-2] == b"--" and not pieces[-1].strip(), "the end of the last part", pieces[-2:])
    return head, [p.partition(b"\n\n")[::2] for p in pieces[2:-2:2]]


def date_of(text):
    got = email.utils.parsedate_to_datetime(text)
    need(got.tzinfo is not None and abs(got.timestamp() - time.time()) < 600, "a date of now", text)
    return got


def fields_of(block):
    """The fields of a group of delivery status, in lower case; none twice."""
    m = email.message_from_bytes(block, policy=email.policy.strict.clone(utf8=True, header_factory=lambda name, value: value))
    need(not m.defects and not m.get_payload().strip(), "a group of fields", block)
    names = [k.lower() for k in m.keys()]
    need(len(names) == len(set(names)), "a field twice", names)
    return {k.lower(): re.sub(r"\s*\n\s+", " ", v) for k, v in raw_items(block)}


def raw_items(block):
    text = block.decode("utf-8", "surrogateescape")
    return re.findall(r"(?m)^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)$", text)


def check_head(m, mail, whole):
    need(m["Return-Path"] == "<>", "Return-Path", m["Return-Path"])
    need(m["Auto-Submitted"] == "auto-replied", "Auto-Submitted", m["Auto-Submitted"])
    need(m["MIME-Version"] == "1.0", "MIME-Version")
    for name in ("From", "To", "Subject", "Date", "Message-ID", "Content-Type"):
        need(len(m.get_all(name, [])) == 1, "one field " + name)
    need([a.addr_spec for a in m["From"].addresses] == ["mailer-daemon@" + HOSTNAME], "From", m["From"])
    need([a.addr_spec for a in m["To"].addresses] == [mail.sender], "To", m["To"])
    need(m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status", "Content-Type", m["Content-Type"])
    need(re.fullmatch(r"<[!-~]+@%s>" % re.escape(HOSTNAME), m["Message-ID"]), "Message-ID", m["Message-ID"])
    need(m["In-Reply-To"] == mail.msgid and m["References"] == mail.msgid, "In-Reply-To", m["In-Reply-To"])
    date_of(str(m["Date"]))
    for part in m.walk():
        for name, value in part.items():
            # what Python calls a defect there RFC 6532 3.2 allows
            defects = [d for d in getattr(value, "defects", ()) if type(d).__name__ != "NonASCIILocalPartDefect"]
            need(not defects, "a clean field %s" % name, (value, defects))
        need(not part.defects, "no defects", part.defects)


def check_octets(head, parts, whole):
    need(max(len(line) for line in whole.split(b"\n")) <= 998, "no line over 998")
    need(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", whole), "no control characters")

    def encoding(text):
        return (re.findall(rb"(?im)^content-transfer-encoding:[ \t]*(\S+)", text) or [b"7bit"])[0].lower()
    need(encoding(head) in (b"7bit", b"8bit"), "encoding of the whole", encoding(head))
    need(encoding(head) == b"8bit" or whole.isascii(), "8-bit octets in what calls itself 7-bit")
    for text, body in parts:
        need(encoding(text) in (b"7bit", b"8bit"), "encoding of a part", text)
        need(encoding(text) == b"8bit" or body.isascii(), "8-bit octets in a part that calls itself 7-bit", text)
        need(encoding(text) == b"7bit" or encoding(head) == b"8bit", "an 8-bit part in a 7-bit whole", text)


def check_groups(body, mail, kind):
    groups = [fields_of(g + b"\n") for g in re.split(rb"\n\n+", body.strip(b"\n"))]
    need(len(groups) == 2, "a group for the message and one for each recipient", len(groups))
    of_message, of_rcpt = groups
    need(of_message["reporting-mta"] == "dns; " + HOSTNAME, "Reporting-MTA", of_message)
    need(of_message.get("original-envelope-id") == mail.envid, "Original-Envelope-Id", (of_message, mail.envid))
    date_of(of_message["arrival-date"])
    final = ("utf-8; " if kind.utf8 else "rfc822; ") + kind.rcpt
    need(of_rcpt["final-recipient"] == final, "Final-Recipient", (of_rcpt, final))
    orcpt = of_rcpt.get("original-recipient")
    # what an alias leads to keeps the name that the sender wrote (RFC 3461 5.2.7.1)
    said = mail.orcpt or ("rfc822;" + kind.rcpt if kind.is_alias else None)
    need((orcpt and re.sub(r";\s*", ";", orcpt)) == said, "Original-Recipient", (orcpt, mail.orcpt))
    need(of_rcpt["action"] == kind.action, "Action", of_rcpt)
    need(re.fullmatch(kind.status, of_rcpt["status"]) and of_rcpt["status"][0] == CLASS[kind.action], "Status", of_rcpt)
    need(bool(kind.remote) == ("remote-mta" in of_rcpt), "Remote-MTA where another host spoke", of_rcpt)
    need(not kind.remote or re.match(kind.remote, of_rcpt["remote-mta"]), "Remote-MTA", of_rcpt)
    need(not kind.diagnostic or re.match(kind.diagnostic, of_rcpt.get("diagnostic-code", "")), "Diagnostic-Code", of_rcpt)
    for name in ("last-attempt-date", "will-retry-until"):
        if name in of_rcpt:
            date_of(of_rcpt[name])
    need((kind.action == DELAYED) == ("will-retry-until" in of_rcpt), "Will-Retry-Until of what is delayed", of_rcpt)


def check_original(text, body, mail, kind):
    content_type = re.search(rb"(?im)^content-type:[ \t]*([^\s;]+)", text)[1].decode().lower()
    is_whole = kind.action == FAILED and mail.ret != "HDRS"
    need(content_type == {(True, True): "message/global", (True, False): "message/rfc822", (False, True): "message/global-headers",
                          (False, False): "text/rfc822-headers"}[(is_whole, kind.utf8)], "what is returned", content_type)
    original = mail.octets.replace(b"\r\n", b"\n")
    want = original if is_whole else original.partition(b"\n\n")[0]
    got = lib.without_trace(body.rstrip(b"\n") + b"\n\n").rstrip(b"\n")
    need(got == want.rstrip(b"\n"), "the original, octet for octet", (got, want))


def check_report(whole, mail, kind):
    """What is wrong with it, or None."""
    try:
        m = email.message_from_string(whole.decode("utf-8" if kind.utf8 else "ascii"), policy=email.policy.strict.clone(utf8=True))
        head, parts = split_parts(whole)
        need(len(parts) == 3 and len(m.get_payload()) == 3, "three parts", len(parts))
        check_head(m, mail, whole)
        check_octets(head, parts, whole)
        types = [p.get_content_type() for p in m.get_payload()]
        need(types[0] == "text/plain", "words for people", types)
        words = parts[0][1].decode("utf-8")
        need(kind.rcpt in words and max(map(len, words.split("\n"))) < 80, "lines for people that name the recipient", words)
        need(types[1] == ("message/global-delivery-status" if kind.utf8 else "message/delivery-status"), "the second part", types)
        check_groups(parts[1][1], mail, kind)
        check_original(*parts[2], mail, kind)
    except Exception as e:
        return "%s: %s\n%s" % (type(e).__name__, e, whole.decode("utf-8", "backslashreplace"))
    return None


def reports_for(user, n):
    path = os.path.join(MAIL, "any.test", user)
    return lib.wait_until(lambda: (lambda got: got if len(got) >= n else None)(lib.messages_in(path)), "%d reports for %s" % (n, user))


ALL = []  # (name, whole report, is it UTF-8?)


def each_kind():
    client = lib.Smtp(25, HOST)
    mails = [Mail(name, wish) for name in KINDS for wish in WISHES]
    ids = {mail.name: mail.send(client) for mail in mails}
    client.quit()
    for mail in mails:
        kinds = [mail.kind] + ([EXPIRED] if mail.kind.action == DELAYED else [])
        try:
            got = reports_for(mail.user, len(kinds))
        except TimeoutError as e:
            tap.ok(False, "a report: " + mail.name, "%s: %s" % (e, server.why(ids[mail.name])))
            continue
        for kind in kinds:
            mine = [g for g in got if b"\nAction: %s\n" % kind.action.encode() in g]
            wrong = check_report(mine[0], mail, kind) if len(mine) == 1 else "%d reports, %d of this action" % (len(got), len(mine))
            tap.ok(wrong is None, "%s: %s, %s" % (mail.name, kind.action, "strictly read"), wrong)
            ALL.extend((mail.name, g, mail.kind.utf8) for g in mine)
    server.wait_empty()
    counts = {mail.name: len(lib.messages_in(os.path.join(MAIL, "any.test", mail.user))) for mail in mails}
    tap.equal({k: n for k, n in counts.items() if n != (2 if k.startswith("late") else 1)}, {}, "no report twice, and none beyond")
    ids = [re.search(rb"(?m)^Message-ID: (.*)$", g)[1] for _, g, _ in ALL]
    tap.ok(len(ids) == len(set(ids)) == len(mails) + 3, "each has a Message-ID of its own", str(len(ids)))


def on_the_wire():
    """To a sender elsewhere: null sender, CRLF and nothing else; and to a host without SMTPUTF8."""
    client = lib.Smtp(25, HOST)
    lib.id_of(client.send("away@hop.test", ["x@null.test"], b"Subject: wire\r\n\r\n.\r\n"))
    got = lib.wait_until(lambda: [t for t in hop.taken if b"wire" in t[2]], "a report on the wire")[0]
    tap.ok(got[0] == "" and not re.search(rb"(?<!\r)\n|\r(?!\n)", got[2]) and max(map(len, got[2].split(b"\r\n"))) <= 998,
           "on the wire: null sender, line ends, lengths", lib.brief(got))
    lib.id_of(client.send("away@old.test", [UTF8_RCPT + "@old.test"], b"Subject: down\r\n\r\nx\r\n", " SMTPUTF8"))
    try:
        got = lib.wait_until(lambda: [t for t in old_hop.taken if b"down" in t[2]], "the report", 20)[0]
        words = email.message_from_bytes(got[2]).get_payload()[0].get_payload(decode=True)
        tap.ok(got[0] == "" and got[2].isascii() and (UTF8_RCPT + "@old.test").encode() in words,
               "to a host without SMTPUTF8 and 8BITMIME: all ASCII on the wire, and it names the recipient", lib.brief(got))
    except TimeoutError as e:
        tap.ok(False, "a report to a host without SMTPUTF8 about a recipient outside ASCII", "%s\n%s" % (e, server.log()))
    client.quit()


def several():
    """One message, many fates: one report for those that failed, one for those that arrived."""
    client = lib.Smtp(25, HOST)
    client.ask("MAIL FROM:<several@any.test> ENVID=S1")
    for rcpt in ("joe@box.test", "x@null.test", "ghost@box.test", "ann@box.test"):
        client.ask("RCPT TO:<%s> NOTIFY=SUCCESS,FAILURE" % rcpt)
    client.ask("RCPT TO:<refused@hop.test> NOTIFY=NEVER")
    lib.id_of(client.data(b"Subject: several\r\n\r\nx\r\n"))
    client.quit()
    lib.wait_until(lambda: len(lib.messages_in(os.path.join(MAIL, "any.test", "several"))) >= 2, "reports")
    server.wait_empty()
    fates = []
    for whole in lib.messages_in(os.path.join(MAIL, "any.test", "several")):
        groups = [fields_of(g + b"\n") for g in re.split(rb"\n\n+", split_parts(whole)[1][1][1].strip(b"\n"))]
        tap.equal(groups[0].get("original-envelope-id"), "S1", "each names the envelope")
        fates += [(g["final-recipient"][8:], g["action"], g["status"][0]) for g in groups[1:]]
    tap.equal(sorted(fates), [("ann@box.test", DELIVERED, "2"), ("ghost@box.test", FAILED, "5"), ("joe@box.test", DELIVERED, "2"),
                              ("x@null.test", FAILED, "5")], "each recipient is told of once, who wanted none is not")


# ---- the eyes of other servers -------------------------------------------------------------------------------------------

BROKEN = (b"From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\r\n"
          b"Content-Transfer-Encoding: base64\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n\xfc\r\n--x--\r\n")


def through(address, octets, utf8, rcpt):
    client = lib.Smtp(25, address)
    try:
        return client.send("", [rcpt], octets, " BODY=8BITMIME" + (" SMTPUTF8" if utf8 else ""))
    finally:
        client.close()


def crlf(whole):
    """As it was sent here: without what delivery put on top."""
    return re.sub(rb"\AReturn-Path:.*\nDelivered-To:.*\n", b"", whole).replace(b"\n", b"\r\n")


def by_postfix():
    if peers.missing("postfix"):
        tap.skip("Postfix reads the reports", "needs postfix")
        return
    peer = peers.Postfix(where, POSTFIX_AT, ["pf.test"], {
        "strict_mime_encoding_domain": "yes", "strict_8bitmime_body": "yes", "strict_7bit_headers": "no", "mime_nesting_limit": "5",
        "header_checks": "", "smtpd_data_restrictions": "reject_unauth_pipelining"})
    answer = through(POSTFIX_AT, BROKEN, False, "x@pf.test")
    tap.ok(answer[0] == 550, "Postfix, strict about MIME, refuses what is wrong", str(answer))
    for name, whole, utf8 in ALL:
        answer = through(POSTFIX_AT, crlf(whole), utf8, "x@pf.test")
        tap.ok(answer[0] == 250, "Postfix, strict about MIME, takes the report: " + name, str(answer))
    lib.wait_until(lambda: len(lib.messages_in(peer.maildir)) >= len(ALL), "all at Postfix")
    # postmap walks through a message as cleanup(8) does and looks up each header field, also those of the parts
    table = lib.file_of(os.path.join(where, "fields"), "/^(Content-Type: *[^;]*)/ seen\n/^([A-Za-z-]+):/ seen\n/./ no field\n")
    for name, whole, utf8 in ALL:
        done = subprocess.run(["postmap", "-c", peer.conf, "-hmq", "-", "regexp:" + table], input=whole, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        seen = done.stdout.decode("utf-8", "replace")
        kinds = re.findall(r"(?m)^Content-Type: *([^;\s]+)", seen)
        want = [p.get_content_type() for p in email.message_from_bytes(whole).get_payload()]
        # it goes into message/rfc822 and looks at its fields too
        tap.ok(done.returncode == 0 and kinds[:4] == ["multipart/report"] + want and "no field" not in seen and not done.stderr,
               "postmap sees its parts: " + name, "%s\nwant %s\n%s" % (seen, want, done.stderr))
    peer.stop()


class EximReader(peers.Exim):
    """Looks at the syntax of each header, takes each part out of its encoding, and writes down what it sees."""

    def command(self, address, domains):
        started = super().command(address, domains)
        with open(os.path.join(self.where, "conf")) as f:
            conf = f.read()
        old = "begin acl\n"
        new = ("acl_smtp_mime = mime\nacl_smtp_data = data\nbegin acl\n"
               "mime:\n  deny condition = ${if >{$mime_anomaly_level}{0}}\n       message = MIME: $mime_anomaly_text\n"
               "  warn decode = default\n       set acl_m_seen = $acl_m_seen $mime_content_type\n  accept\n"
               "data:\n  deny ! verify = header_syntax\n       message = header: $acl_verify_message\n"
               "  deny ! verify = header_names_ascii\n       message = header: $acl_verify_message\n"
               "  accept logwrite = seen $header_x-number: : $acl_m_seen\n")
        if conf.count(old) != 1:
            raise RuntimeError("Exim's configuration has no ACLs")
        self.file("conf", conf.replace(old, new))
        return started


def by_exim():
    why = EximReader.missing()
    if why:
        tap.skip("Exim reads the reports", "needs " + why)
        return
    peer = EximReader(where, EXIM_AT, ["exim.test"])
    answer = through(EXIM_AT, b"From: <@@>\r\nTo: a\r\n\r\nx\r\n", False, "x@exim.test")
    tap.ok(answer[0] == 550, "Exim refuses what is wrong", str(answer))
    for n, (name, whole, utf8) in enumerate(ALL):
        answer = through(EXIM_AT, b"X-Number: %d\r\n" % n + crlf(whole), utf8, "x@exim.test")
        tap.ok(answer[0] == 250, "Exim takes the report: " + name, str(answer))
        with open(os.path.join(peer.where, "mainlog")) as f:
            seen = re.findall(r"seen %d *: *(.*)" % n, f.read())
        want = [p.get_content_type() for p in email.message_from_bytes(whole).get_payload()]
        tap.ok(seen and seen[0].split()[:4] == ["multipart/report"] + want, "and sees its parts: " + name, "%s\nwant %s" % (seen, want))
    peer.stop()


for part in (each_kind, on_the_wire, several, by_postfix, by_exim):
    try:
        part()
    except Exception as e:
        tap.ok(False, part.__name__ + " goes to its end", "%s: %s\n%s" % (type(e).__name__, e, server.log()))
tap.ok(not any("role.died" in line for line in server.lines), "nobody died", server.log())
tap.equal(server.stop(), 0, "the server ends well")
tap.end()
