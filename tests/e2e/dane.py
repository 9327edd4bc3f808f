#!/usr/bin/env python3
"""DANE (RFC 7672) end to end, below a signed root of this test's own: Waxwing delivers to Postfix, whose TLSA records are
right, wrong, of all kinds, or not to be had; a Postfix that validates gets the same mail and must decide the same; and
Postfix delivers to Waxwing."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dnssec
import lib
import peers

tap = lib.Tap()
lib.inside(dnssec.TOOLS)
where = lib.folder()
MESSAGE = b"From: ann@us.signed.test\r\nSubject: by DANE\r\n\r\nhello\r\n"
AT = {name: "198.51.100.%d" % (11 + i) for i, name in enumerate(("self", "expired", "chain", "plain", "us", "client"))}
for address in AT.values():
    subprocess.run(["ip", "addr", "add", address + "/24", "dev", "lo"], check=True)


# ---- certificates, names -------------------------------------------------------------------------------------------------

certs = os.path.join(where, "certs")
os.mkdir(certs)
root = dnssec.Certificate(certs, "root", [], is_ca=True)
CERT = {
    "self": dnssec.Certificate(certs, "self", ["a.signed.test"]),
    "expired": dnssec.Certificate(certs, "expired", ["expired.signed.test"], days=-1),
    "chain": dnssec.Certificate(certs, "chain", ["ta-host.signed.test", "ta-next.signed.test"], issuer=root),
    "us": dnssec.Certificate(certs, "us", ["mx.us.signed.test"]),
}
RIGHT, WRONG = CERT["self"].tlsa(3, 1), "3 1 1 " + "00" * 32
TA = root.tlsa(2, 0)


class Case:
    """A domain. delivers: the mail goes out now; level: 2 proven by DANE, 1 TLS, 0 none; says: in what `why` tells of it.
    name: what is tested; domain: the part before .signed.test or .plain.test; records: in that zone."""

    def __init__(self, name, domain, zone, records, delivers, level, says):
        self.name, self.domain, self.zone, self.records = name, "%s.%s.test" % (domain, zone), zone, records
        self.delivers, self.level, self.says = delivers, level, says


def mx(domain, host, at, *tlsa):
    """Records: the domain's MX, the host's address, its TLSA records."""
    out = "%s MX 10 %s\n%s A %s\n" % (domain, host, host, AT[at])
    return out + "".join("_25._tcp.%s TLSA %s\n" % (host, t) for t in tlsa)


CASES = [
    Case("3 1 1 of its key", "right", "signed", mx("right", "a", "self", RIGHT), True, 2, "verified (DANE: 3 1 1 "),
    Case("3 1 2 of its key", "sha512", "signed", mx("sha512", "sha512-host", "self", CERT["self"].tlsa(3, 1, 2)), True, 2,
         "verified (DANE: 3 1 2 "),
    Case("3 0 0, the whole certificate", "whole", "signed", mx("whole", "whole-host", "self", CERT["self"].tlsa(3, 0, 0)),
         True, 2, "verified (DANE: 3 0 0 "),
    Case("the second of two records", "roll", "signed", mx("roll", "roll-host", "self", WRONG, RIGHT), True, 2,
         "verified (DANE: 3 1 1 "),
    Case("another key", "wrong", "signed", mx("wrong", "wrong-host", "self", WRONG), False, 0, "no matching DANE TLSA records"),
    Case("another key, and a second host that is right", "second", "signed",
         mx("second", "wrong-host", "self") + "second MX 20 a\n", True, 2, "verified (DANE: 3 1 1 "),
    Case("an expired certificate, 3 1 1", "expired", "signed",
         mx("expired", "expired-host", "expired", CERT["expired"].tlsa(3, 1)), True, 2, "verified (DANE: 3 1 1 "),
    Case("2 0 1, the host's name", "ta", "signed", mx("ta", "ta-host", "chain", TA), True, 2, "verified (DANE: 2 0 1 "),
    Case("2 0 1, the domain's name", "ta-next", "signed", mx("ta-next", "ta-other", "chain", TA), True, 2,
         "verified (DANE: 2 0 1 "),
    Case("2 0 1, another name", "ta-wrong", "signed", mx("ta-wrong", "ta-stranger", "chain", TA), False, 0,
         "hostname mismatch"),
    Case("TLSA and no STARTTLS", "no-tls", "signed", mx("no-tls", "no-tls-host", "plain", RIGHT), False, 0,
         "DANE says whose the server is"),
    Case("records of usage 1", "unusable", "signed", mx("unusable", "unusable-host", "self", CERT["self"].tlsa(1, 1)), True, 1,
         "DANE promises TLS, but no record can be used"),
    Case("records of usage 1, no STARTTLS", "unusable-plain", "signed",
         mx("unusable-plain", "unusable-plain-host", "plain", CERT["self"].tlsa(1, 1)), False, 0, "DANE promises TLS"),
    Case("no TLSA records", "none", "signed", mx("none", "none-host", "self"), True, 1, "DANE: there are no TLSA records"),
    Case("no TLSA records, no STARTTLS", "none-plain", "signed", mx("none-plain", "none-plain-host", "plain"), True, 0,
         "DANE: there are no TLSA records"),
    Case("no MX records", "direct", "signed", "direct A %s\n_25._tcp.direct TLSA %s\n" % (AT["self"], RIGHT), True, 2,
         "verified (DANE: 3 1 1 "),
    Case("the host is a signed alias", "alias", "signed", "alias MX 10 alias-host\nalias-host CNAME a\n", True, 2,
         "verified (DANE: 3 1 1 "),
    Case("the host is an alias that leads out of what is signed", "out", "signed",
         "out MX 10 out-host\nout-host CNAME host.plain.test.\n_25._tcp.out-host TLSA %s\n" % RIGHT, True, 2,
         "verified (DANE: 3 1 1 "),
    Case("likewise, another key", "out-wrong", "signed",
         "out-wrong MX 10 out-wrong-host\nout-wrong-host CNAME host.plain.test.\n_25._tcp.out-wrong-host TLSA %s\n" % WRONG,
         False, 0, "no matching DANE TLSA records"),
    Case("the domain is an alias", "also", "signed", "also CNAME right\n", True, 2, "verified (DANE: 3 1 1 "),
    Case("TLSA records by a signed alias", "shared", "signed",
         mx("shared", "shared-host", "self") + "_25._tcp.shared-host CNAME _dane\n_dane TLSA %s\n" % RIGHT, True, 2,
         "verified (DANE: 3 1 1 "),
    Case("TLSA records by an alias out of what is signed", "lost", "signed",
         mx("lost", "lost-host", "self") + "_25._tcp.lost-host CNAME _25._tcp.host.plain.test.\n", True, 1,
         "DANE: the TLSA records are not signed"),
    Case("TLSA records whose name server is none for them", "lame", "signed",
         mx("lame", "lame-host", "self") + "_tcp.lame-host NS stranger\nstranger A %s\n" % dnssec.STRANGER, False, 0,
         "the TLSA records could not be looked up"),
    Case("a zone without signatures", "unsigned", "plain", mx("unsigned", "host", "self", WRONG), True, 1,
         "DANE: the zone of the host is not signed"),
    Case("MX records without signatures, a signed host", "mx", "plain", "mx MX 10 a.signed.test.\n", True, 1,
         "verified (DANE: 3 1 1 "),
    Case("likewise, another key", "mx-wrong", "plain", "mx-wrong MX 10 wrong-host.signed.test.\n", False, 0,
         "no matching DANE TLSA records"),
    Case("TLSA records that were altered on the way", "forged", "altered", mx("forged", "forged-host", "self", RIGHT), False, 0,
         "the TLSA records could not be looked up"),
]
US = "".join("%s MX 10 mx.%s\nmx.%s A %s\n_25._tcp.mx.%s TLSA %s\n" % (name, name, name, AT["us"], name, tlsa)
             for name, tlsa in (("us", CERT["us"].tlsa(3, 1)), ("us-wrong", WRONG)))
records = {zone: "".join(c.records for c in CASES if c.zone == zone) for zone in ("signed", "plain", "altered")}
tree = dnssec.Tree(where, {"signed.test.": ("signed", records["signed"] + US), "plain.test.": ("plain", records["plain"]),
                           "altered.test.": ("altered", records["altered"])}, dnssec.flip_tlsa)


# ---- the servers ----------------------------------------------------------------------------------------------------------

def postfix(name, more):
    folder = os.path.join(where, "pf-" + name)
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    domains = [c.domain for c in CASES] + [n + ".by-route.test" for n in ("right", "wrong", "aside", "any", "dane")]
    return peers.Postfix(folder, AT[name], domains, more)


def tls_of(cert):
    return {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": "%s, %s" % (cert.key, cert.cert)}


missing = peers.missing("postfix")
if missing:
    lib.skip_all("needs " + missing)
for name in ("self", "expired", "chain"):
    postfix(name, tls_of(CERT[name]))
postfix("plain", {})
BASE = 'hostname "mx.us.signed.test"\nrelay_from { "127.0.0.1" }\n' + tree.lua()
# hosts that the administrator names; the domains are the Postfix servers' as well
ROUTES = "".join('route { to = "%s.by-route.test", via = "smtp://%s.signed.test"%s }\n' % r for r in (
    ("right", "a", ""), ("wrong", "wrong-host", ""), ("aside", "wrong-host", ', tls = "none"'), ("any", "wrong-host", ', tls = "any"'),
    ("dane", "a", ', tls = "dane"')))
# domains that are treated otherwise than what they publish asks for
RULES = (("any", "lame.signed.test"), ("any", "no-tls.signed.test"), ("dane", "also.signed.test"), ("dane", "none.signed.test"),
         ("dane", "unusable.signed.test"), ("dane", "mx.plain.test"))
RULED = "".join('route { to = "%s", from = "bob@us.signed.test", tls = "%s" }\n' % (domain, word) for word, domain in RULES)
server = lib.start(where, BASE + ROUTES + RULED + 'listen { port = 2525, address = "127.0.0.1" }\n')


# ---- Waxwing delivers -----------------------------------------------------------------------------------------------------

def send(domain, sender="ann"):
    return lib.id_of(lib.send_one(2525, sender + "@us.signed.test", ["joe@" + domain], MESSAGE))


def check(id_, name, delivers, level, says):
    """What becomes of the message, how it was protected or why it waits."""
    def is_over():
        life = server.why(id_)
        return life if any(r.get("event") in ("delivered", "deferred", "failed") for r in life) else None
    life = lib.wait_until(is_over, "an outcome of: " + name)
    events = {r["event"]: r for r in life}
    text = events.get("transport", events.get("deferred", {})).get("text", "")
    good = ("delivered" in events) == delivers and ("deferred" in events) != delivers and says in text
    if delivers:
        good = good and events.get("transport", {}).get("number", 0) == level
    tap.ok(good, "to Postfix: %s: %s" % (name, ("plain", "TLS", "proven")[level] if delivers else "waits"),
           lambda: "%s\n%s" % (text, life))


ids = {c: send(c.domain) for c in CASES}
for case in CASES:
    check(ids[case], case.name, case.delivers, case.level, case.says)
mx_case = next(c for c in CASES if c.domain == "mx.plain.test")
shown = lib.run("why", "--control", server.control, ids[mx_case]).stdout
tap.ok("protected by" in shown and "verified (DANE: 3 1 1 " in shown and "the MX records are not signed" in shown,
       "why shows a person how the message was protected", shown)
rows = server.queue("list")
tap.equal(sorted(r["id"] for r in rows), sorted(ids[c] for c in CASES if not c.delivers), "what waits is in the queue, no more")
check(send("right.by-route.test"), "a host that a route names", True, 2, "verified (DANE: 3 1 1 ")
check(send("wrong.by-route.test"), "a host that a route names, another key", False, 0, "no matching DANE TLSA records")
check(send("aside.by-route.test"), "likewise, where the route wants no TLS", True, 0, "the administrator wants no TLS there")
check(send("any.by-route.test"), "likewise, where the route wants any TLS", True, 1, "what DANE says does not count here")
check(send("dane.by-route.test"), "a host that a route wants by DANE", True, 2, "the administrator wants DANE there")
CANT = "the administrator wants DANE there, and it can't be had: "
for (word, domain), (delivers, level, says) in zip(RULES, (
        (True, 1, "what DANE says does not count here"),
        (True, 0, "in the clear: no TLS was to be had; wanted: opportunistic, since the administrator wants TLS only where"),
        (True, 2, "the administrator wants DANE there"),
        (False, 0, CANT + "there are no TLSA records"),
        (False, 0, CANT),
        (False, 0, "; the MX records are not signed"))):
    check(send(domain, "bob"), '%s, tls = "%s"' % (domain, word), delivers, level, says)


# ---- Postfix decides the same ----------------------------------------------------------------------------------------------

if peers.missing("unbound"):
    tap.skip("Postfix as client decides the same", "needs unbound")
    tap.skip("Postfix delivers to Waxwing", "needs unbound")
    tap.end()
dnssec.Unbound(where, tree)
client = postfix("client", {
    "myhostname": "client.pf.test", "virtual_mailbox_domains": "", "mynetworks": "198.51.100.0/24",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtp_tls_security_level": "dane", "smtp_dns_support_level": "dnssec", "smtp_tls_loglevel": "1", "smtp_host_lookup": "dns",
    "smtp_connection_cache_on_demand": "no"})
# "Trusted": the host is proven to be who it says, the MX records that name it are not signed
PROVEN = {"Verified": 2, "Trusted": 1, "Untrusted": 1, "Anonymous": 1}


def postfix_says(domain):
    """(delivered, level, the lines of its log) for the mail to that domain."""
    def is_over():
        text = dnssec.read(os.path.join(client.conf, "log"))
        m = re.search(r"smtp\[(\d+)\]: (\w+): to=<joe@%s>.* status=(sent|deferred|bounced)" % re.escape(domain), text)
        return (m, text) if m else None
    m, text = lib.wait_until(is_over, "Postfix's word about " + domain)
    lines = [line for line in text.splitlines() if "smtp[%s]" % m[1] in line]
    before = lines[:next(i for i, line in enumerate(lines) if m[2] in line and "to=<joe@%s>" % domain in line)]
    # the last connection of that process before its word about this message
    kinds = []
    for line in before:
        if " status=" in line:
            kinds = []
        kinds += re.findall(r"(\w+) TLS connection established to", line)
    return m[3] == "sent", PROVEN[kinds[-1]] if kinds else 0, "\n".join(lines[-6:])


for case in CASES:
    lib.send_one(25, "ann@us.signed.test", ["joe@" + case.domain], MESSAGE, host=AT["client"])
for case in CASES:
    delivered, level, lines = postfix_says(case.domain)
    same = delivered == case.delivers and (not delivered or level == case.level)
    tap.ok(same, "Postfix decides the same: " + case.name, "%s, %d\n%s" % (delivered, level, lines))


# ---- Postfix delivers to Waxwing ------------------------------------------------------------------------------------------

server.stop()
lib.mail_folder(where)
server = lib.start(where, BASE + 'tls { cert = "%s", key = "%s" }\nlisten { port = 25, address = "%s" }\n'
                   'domain "us.signed.test" %s\ndomain "us-wrong.signed.test" { same_as = "us.signed.test" }\n'
                   % (CERT["us"].cert, CERT["us"].key, AT["us"], lib.maildir_lua(where)))
for domain in ("us.signed.test", "us-wrong.signed.test"):
    lib.send_one(25, "ann@right.signed.test", ["joe@" + domain], MESSAGE, host=AT["client"])
delivered, level, lines = postfix_says("us.signed.test")
tap.ok(delivered and level == 2, "Postfix delivers to Waxwing, whose record is right: verified", lines)
mail = lib.wait_until(lambda: lib.messages_in(os.path.join(where, "mail", "us.signed.test", "joe")), "the message")
tap.ok(len(mail) == 1 and b" with ESMTPS " in mail[0], "and Waxwing says so in its Received field", mail)
delivered, level, lines = postfix_says("us-wrong.signed.test")
tap.ok(not delivered and "Server certificate not verified" in lines, "whose record is another key's: waits", lines)
tap.end()
