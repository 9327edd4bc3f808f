#!/usr/bin/env python3
"""Logins that directories and databases decide: PostgreSQL, SQLite and OpenLDAP, the real ones, with all that they refuse, how
they fail, and what must not be heard by anybody: passwords."""
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
import table_peers
import tls_peer
from table_peers import crypt_form, scram_form
from tls_peer import coded, plain

NAME = "mx.example.org"
PASSWORD = {"joe": "secret of joe", "ann": "ann's p\u00e4ss=w,rd", "eve": "secret of eve", "o'hara": "secret of o'hara"}
OURS = {"pg": "our own word at pg", "ldap": "our own word at ldap"}
RIGHT, BAD, LATER = (235, "2.7.0"), (535, "5.7.8"), (454, "4.7.0")
DIRECTORY, DATABASE, ROGUE = "192.0.2.20", "192.0.2.30", "192.0.2.40"

tap = lib.Tap()
lib.inside(["openssl", "nsd", "setpriv"])
where = lib.folder()
pki = tls_peer.Pki(where)
pki.make("server", NAME, names=["DNS:" + NAME, "IP:192.0.2.1"])
for n in range(2, 250):
    subprocess.run(["ip", "addr", "add", "203.0.113.%d/32" % n, "dev", "lo"], check=True)
for a in (DIRECTORY, DATABASE, ROGUE):
    subprocess.run(["ip", "addr", "add", a + "/32", "dev", "lo"], check=True)
lib.Dns(where, {"test.": "\n".join(("dir A " + DIRECTORY, "db A " + DATABASE, "two A 192.0.2.99", "two A " + DATABASE,
                                    "rogue A " + ROGUE, "wrong A " + DIRECTORY, "wrongdb A " + DATABASE))})
pki.make("dir", "dir.test", names=["DNS:dir.test", "IP:" + DIRECTORY])
pki.make("db", "db.test", names=["DNS:db.test", "DNS:two.test"])
hosts = iter(range(2, 250))


def connect():
    """From an address that nobody had: guesses are limited."""
    return tls_peer.Smtp(465, pki.context(), implicit=True, source="203.0.113.%d" % next(hosts))


def code_of(answer):
    return answer[0], answer[1].split(" ", 1)[0]


def try_plain(user, password):
    client = connect()
    answer = code_of(plain(client, user, password))
    client.close()
    return answer


def try_login(user, password):
    client = connect()
    client.ask("AUTH LOGIN")
    client.ask(coded(user.encode()))
    answer = code_of(client.ask(coded(password.encode())))
    client.close()
    return answer


def domain(name, auth, users="any"):
    return 'domain "%s" { users = %s, auth = %s, deliver = maildir "%s/%%d/%%u", user = "_wwmail" }\n' % (name, users, auth,
                                                                                                  lib.mail_folder(where))


HEAD = """hostname "mx.example.org"
postmaster "joe@elsewhere.example"
resolver { "127.0.0.53" }
authorities "ca.crt"
outgoing { mta_sts = false }
limits { sessions_per_client = 0 }
tls { cert = "server.crt", key = "server.key" }
listen { port = 465, address = "0.0.0.0", submission = true }
"""


def secret_file(name, text):
    path = os.path.join(where, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        f.write(text + "\n")
    return path


def reload(text):
    since = server.mark()
    lib.file_of(os.path.join(where, "waxwing.lua"), lib.paths_lua(where) + text)
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"reload\.done", since)


def reload_until(text, user, password):
    """Each process takes the configuration in its own time."""
    reload(text)
    lib.wait_until(lambda: try_plain(user, password) == RIGHT, "a login after a reload")


# ---- what all of them must do -------------------------------------------------------------------------------------------

def usual(what, at):
    """joe, ann and o'hara are there, eve is in no table."""
    client = connect()
    tap.equal(set(client.mechanisms()), {"PLAIN", "LOGIN"}, what + ": SCRAM is not offered")
    tap.equal(code_of(plain(client, "joe" + at, PASSWORD["joe"])), RIGHT, what + ": PLAIN")
    tap.equal(client.envelope("joe" + at, ["ann" + at]), None, what + ": he sends as himself")
    tap.equal(client.data(b"Subject: by a table\r\n\r\nx\r\n")[0], 250, what + ": a message")
    client.quit()
    tap.equal(try_plain("JOE" + at.upper(), PASSWORD["joe"]), RIGHT, what + ": PLAIN in capitals")
    tap.equal(try_login("ann" + at, PASSWORD["ann"]), RIGHT, what + ": LOGIN, a password that is not ASCII")
    tap.equal(try_plain("o'hara" + at, PASSWORD["o'hara"]), RIGHT, what + ": a name with a quote")
    for user, password in (("joe", "wrong"), ("joe", PASSWORD["ann"]), ("joe", PASSWORD["joe"] + " "), ("eve", PASSWORD["eve"]),
                           ("'--", "x"), ("o''hara", PASSWORD["o'hara"]), ("j%", PASSWORD["joe"]), ("jo_", PASSWORD["joe"]),
                           ("j*", PASSWORD["joe"]), ("*", PASSWORD["joe"]), ("$1", PASSWORD["joe"]), ("%u", PASSWORD["joe"]),
                           ('"*)(uid=*"', PASSWORD["joe"]), ("*)(uid=*", PASSWORD["joe"]), ("' OR 1=1 --", PASSWORD["joe"]),
                           ("\\6aoe", PASSWORD["joe"])):
        tap.equal(try_plain(user + at, password), BAD, "%s: refused, %r" % (what, user))
    tap.ok(try_plain("jo\x01e" + at, PASSWORD["joe"])[0] in (501, 535), what + ": a control character is refused")
    client = connect()
    got = client.ask("AUTH PLAIN " + coded(b"\0joe" + at.encode() + b"\0\0" + PASSWORD["joe"].encode()))
    tap.ok(got[0] in (501, 535), what + ": a NUL in the middle is refused", got)
    client.close()
    tap.ok(try_login("joe" + at, "")[0] in (501, 535), what + ": an empty password is refused")


def silence(texts):
    """No password is in a log, ours or theirs."""
    for name, password in list(PASSWORD.items()) + list(OURS.items()):
        for text in (password, coded(password.encode())):
            tap.ok(all(text not in line for line in server.lines), "our log has no password: " + name)
            tap.ok(all(text not in t for t in texts), "nor has theirs: " + name)


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------------

QUERY = "SELECT password FROM users WHERE address = $1"


def sql_at(url, query=QUERY, password=None):
    return 'sql { database = "%s", query = "%s"%s }' % (url, query, ', password = secret "%s"' % password if password else "")


def pg_domains():
    word = os.path.join(where, "pg.word")
    at = "postgresql://mail@"
    return "".join(domain(name + ".example", sql_at(at + place, query, word)) for name, place, query in (
        ("pg", "db.test/mail", QUERY), ("pgsix", "[::1]/mail", QUERY), ("pgunix", "%s/mail" % database.sockets, QUERY),
        ("pgparts", "db.test/mail", "SELECT password FROM parts WHERE name = $2 AND domain = $3"),
        ("pgtwo", "two.test/mail", QUERY),
        ("pgwrong", "wrongdb.test/mail", QUERY), ("pgnone", "none.test/mail", QUERY),
        ("pgtable", "db.test/mail", "SELECT password FROM missing WHERE address = $1"),
        ("pgcolumns", "db.test/mail", "SELECT address, password FROM users WHERE address <> $1 LIMIT 1"),
        ("pgrows", "db.test/mail", "SELECT password FROM users WHERE address <> $1"),
        ("pgnotext", "db.test/mail", "SELECT 'garbage' WHERE $1 <> ''"),
        ("pgnull", "db.test/mail", "SELECT NULL::text WHERE $1 <> ''"),
        ("pgslow", "db.test/mail", "SELECT pg_sleep(60)::text WHERE $1 <> ''"),
        ("pgnoselect", "db.test/mail", "DO 'BEGIN END' -- $1"),
        ("pgbase", "db.test/elsewhere", QUERY)))


def fill_postgresql():
    """Each verifier in another form."""
    forms = {"joe": crypt_form(PASSWORD["joe"]), "ann": scram_form(PASSWORD["ann"]), "o'hara": "{CRYPT}" + crypt_form(PASSWORD["o'hara"])}
    lines = "CREATE DATABASE mail;\n\\c mail\nCREATE ROLE mail LOGIN PASSWORD '%s';\nCREATE TABLE users (address varchar(80), password text);\n" \
            "CREATE TABLE parts (name text, domain text, password text);\n" % OURS["pg"]
    for user, form in forms.items():
        for at in ("pg", "pgsix", "pgunix", "pgtwo", "pgwrong", "pgnone"):
            lines += "INSERT INTO users VALUES ($q$%s@%s.example$q$, $q$%s$q$);\n" % (user, at, form)
        lines += "INSERT INTO parts VALUES ($q$%s$q$, 'pgparts.example', $q$%s$q$);\n" % (user, form)
    database.sql(lines + "INSERT INTO users VALUES ('locked@pg.example', '!%s');\nGRANT SELECT ON users, parts TO mail;\n" % forms["joe"])


def by_postgresql():
    usual("PostgreSQL", "@pg.example")
    tap.equal(try_plain("locked@pg.example", PASSWORD["joe"]), BAD, "PostgreSQL: a locked account")
    for at, what in (("pgsix", "at a loopback address"), ("pgunix", "by a unix socket"), ("pgparts", "user and domain apart"),
                     ("pgtwo", "the second address of a name")):
        tap.equal(try_plain("joe@%s.example" % at, PASSWORD["joe"]), RIGHT, "PostgreSQL: " + what)
        tap.equal(try_plain("joe@%s.example" % at, "wrong"), BAD, "PostgreSQL: %s, wrong" % what)
    for at, what, pattern in (
            ("pgwrong", "a certificate for another name", r'wrongdb\.test.*does not match host name'),
            ("pgnone", "a name without an address", r"none\.test.*no address"),
            ("pgtable", "a table that is missing", r'relation .*missing.* does not exist'),
            ("pgcolumns", "two columns", "2 columns"), ("pgrows", "two rows", "more than one row"),
            ("pgnotext", "a verifier that is none", "verifier of this user can't be used"),
            ("pgnoselect", "a query that gives nothing", "postgresql://mail@db.test"), ("pgbase", "a database that is missing", "elsewhere")):
        since = server.mark()
        tap.equal(try_plain("joe@%s.example" % at, PASSWORD["joe"]), LATER, "PostgreSQL: " + what)
        tap.ok(server.wait_log("login.failed.*%s" % pattern, since), "the log says so")
    tap.equal(try_plain("joe@pgnull.example", PASSWORD["joe"]), BAD, "PostgreSQL: NULL is nobody's verifier")


def bad_days_of_postgresql():
    since = server.mark()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "PostgreSQL: a session is kept")
    database.stop()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), LATER, "PostgreSQL is away: a temporary failure")
    tap.equal(try_plain("joe@pg.example", "wrong"), LATER, "whatever the password")
    tap.ok(server.wait_log(r"table\.down.*db\.test", since), "the log says who is away")
    tap.ok(server.wait_log(r"refused.*address=joe@pg\.example.*can't be checked now.*: \w", since), "and why the login was not looked at")
    tap.equal(try_plain("joe@lite.example", PASSWORD["joe"]), RIGHT, "others are not touched by it")
    since = server.mark()
    database.start()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "it is back: so are logins")
    tap.ok(server.wait_log(r"table\.up.*db\.test", since), "the log says so")
    database.stop()
    database.start()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "it was restarted: a kept session that broke is made anew at once")
    tap.ok(database.sessions("mail") <= 4 * 12, "sessions are few")
    slow = [connect() for _ in range(6)]
    for client in slow:
        client.write(b"AUTH PLAIN " + coded(b"\0joe@pgslow.example\0x").encode() + b"\r\n")
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "a query that takes long delays nobody else")
    tap.equal([code_of(client.reply()) for client in slow], [LATER] * 6, "and is given up")
    for client in slow:
        client.close()


def another_authority():
    """The server's certificate comes from one that the configuration does not name, then from one that it does."""
    since = server.mark()
    database.certificate(others, "rogue")
    database.stop()
    database.start()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), LATER, "PostgreSQL: a certificate of another authority")
    tap.ok(server.wait_log(r"login\.failed.*certificate verify failed", since), "the log says so")
    database.certificate(pki, "db")
    database.stop()
    database.start()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "PostgreSQL: its own again")


def new_word():
    """Our password there changes, then the file."""
    database.sql("ALTER ROLE mail PASSWORD 'another word';\nSELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mail';\n")
    since = server.mark()
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), LATER, "PostgreSQL: our own password is wrong")
    tap.ok(server.wait_log(r"login\.failed.*password authentication failed", since), "the log says so")
    secret_file("pg.word", "another word")
    server.wait_log(r"password\.changed", since)
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "PostgreSQL: the file has the new one")


# ---- SQLite -------------------------------------------------------------------------------------------------------------

def lite(name):
    return os.path.join(where, "lite", name)


def lite_domains():
    return "".join(domain(name + ".example", sql_at("sqlite:" + lite(file), query)) for name, file, query in (
        ("lite", "users.db", QUERY), ("liteparts", "users.db", "SELECT password FROM users WHERE address = ?2 || '@lite.example'"),
        ("litewal", "wal.db", QUERY), ("litebad", "bad.db", QUERY), ("liteclosed", "closed.db", QUERY),
        ("litetable", "users.db", "SELECT password FROM missing WHERE address = $1"),
        ("literows", "users.db", "SELECT password FROM users WHERE address <> $1"),
        ("litecolumns", "users.db", "SELECT address, password FROM users WHERE address = $1"),
        ("litewrite", "users.db", "DELETE FROM users WHERE address <> $1 RETURNING password"),
        ("liteslow", "users.db", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0 AND $1 <> ''")))


def fill_sqlite(file="users.db", at=("lite", "litecolumns")):
    table_peers.sqlite(lite(file), "CREATE TABLE users (address TEXT, password TEXT)")
    for user in ("joe", "ann", "o'hara"):
        for name in at:
            table_peers.sqlite(lite(file), "INSERT INTO users VALUES (?, ?)", ("%s@%s.example" % (user, name), crypt_form(PASSWORD[user])))


def by_sqlite():
    usual("SQLite", "@lite.example")
    tap.equal(try_plain("joe@liteparts.example", PASSWORD["joe"]), RIGHT, "SQLite: ?2")
    for at, what, pattern in (
            ("litetable", "a table that is missing", "no such table: missing"), ("literows", "two rows", "more than one row"),
            ("litecolumns", "two columns", "2 columns"), ("litewrite", "a query that would write", "readonly"),
            ("litebad", "a file that is no database", "not a database"), ("liteclosed", "a file that we may not read", "can't be opened")):
        since = server.mark()
        tap.equal(try_plain("joe@%s.example" % at, PASSWORD["joe"]), LATER, "SQLite: " + what)
        tap.ok(server.wait_log("login.failed.*%s" % pattern, since), "the log says so")
    table_peers.sqlite(lite("users.db"), "UPDATE users SET password = ? WHERE address = 'joe@lite.example'", (crypt_form("new word"),))
    tap.equal(try_plain("joe@lite.example", "new word"), RIGHT, "SQLite: a change counts at once")
    tap.equal(try_plain("joe@lite.example", PASSWORD["joe"]), BAD, "and the old password no more")
    os.rename(lite("users.db"), lite("old.db"))
    fill_sqlite()
    tap.equal(try_plain("joe@lite.example", PASSWORD["joe"]), RIGHT, "SQLite: so does another file in its place")
    locker = sqlite3.connect(lite("users.db"))
    locker.execute("BEGIN EXCLUSIVE")
    tap.equal(try_plain("ann@litewal.example", PASSWORD["ann"]), RIGHT, "SQLite: one that is locked delays no other")
    locker.rollback()
    locker.close()


def wal():
    """In WAL mode: nobody has it open, somebody has, and what he writes counts before it is in the file."""
    tap.equal(try_plain("joe@litewal.example", PASSWORD["joe"]), RIGHT, "SQLite in WAL mode that nobody has open")
    tap.equal(sorted(n for n in os.listdir(lite("")) if n.startswith("wal.db")), ["wal.db"], "nothing was made beside it")
    writer = sqlite3.connect(lite("wal.db"))
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("UPDATE users SET password = ? WHERE address = 'joe@litewal.example'", (crypt_form("newer word"),))
    writer.commit()
    tap.equal(try_plain("joe@litewal.example", "newer word"), RIGHT, "SQLite in WAL mode: what is in the WAL alone counts")
    tap.equal(try_plain("joe@litewal.example", PASSWORD["joe"]), BAD, "and what it replaces does not")
    writer.close()
    tap.equal(try_plain("joe@litewal.example", "newer word"), RIGHT, "SQLite in WAL mode: its writer has closed it")


# ---- LDAP ---------------------------------------------------------------------------------------------------------------

def entries():
    text = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n" \
           "dn: cn=mail,dc=example,dc=org\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: mail\nuserPassword: %s\n\n" \
           "dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n" % OURS["ldap"]
    for user in ("joe", "ann", "o'hara", "twin1", "twin2", "bare"):
        text += "dn: uid=%s,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: x\n" % (user, user, user)
        text += "mail: %s@dir.example\n" % ("twin" if user.startswith("twin") else user)
        if user != "bare":
            password = table_peers.base64.b64encode(PASSWORD.get(user, "x").encode()).decode()
            text += "userPassword:: %s\n" % password
        text += "\n"
    return text


def ldap_domains():
    word, bad_word = os.path.join(where, "ldap.word"), os.path.join(where, "bad.word")
    def at(server_, more="", password=word, filter_="(mail=%u@dir.example)", base="ou=people,dc=example,dc=org"):
        return 'ldap { server = "%s", base = "%s", filter = "%s", bind = "cn=mail,dc=example,dc=org", password = secret "%s"%s }' % (
            server_, base, filter_, password, more)
    return "".join(domain(name + ".example", auth) for name, auth in (
        ("dir", at("ldaps://dir.test", filter_="(mail=%u@%d)")), ("dirstart", at("ldap://dir.test")),
        ("diraddr", at("ldaps://" + DIRECTORY)), ("dirunix", at("ldapi://" + directory.socket.replace("/", "%2F"))),
        ("dirwrong", at("ldaps://wrong.test")), ("dirwrongstart", at("ldap://wrong.test")), ("dirrogue", at("ldaps://rogue.test")),
        ("dirbind", at("ldaps://dir.test", password=bad_word)), ("dirbase", at("ldaps://dir.test", base="ou=none,dc=example,dc=org")),
        ("dirfilter", at("ldaps://dir.test", filter_="(&(mail=%u@dir.example)(!(uid=joe*)(uid=x)))")),
        ("diranon", 'ldap { server = "ldaps://dir.test", base = "ou=people,dc=example,dc=org" }')))


def by_ldap():
    usual("LDAP", "@dir.example")
    for at, what in (("dirstart", "StartTLS"), ("diraddr", "a certificate for the address"), ("dirunix", "by a unix socket")):
        tap.equal(try_plain("joe@%s.example" % at, PASSWORD["joe"]), RIGHT, "LDAP: " + what)
        tap.equal(try_plain("joe@%s.example" % at, "wrong"), BAD, "LDAP: %s, wrong" % what)
        tap.equal(try_plain("ann@%s.example" % at, PASSWORD["ann"]), RIGHT, "LDAP: %s, another one" % what)
    tap.equal(try_plain("bare@dir.example", "x"), BAD, "LDAP: an entry without a password")
    for user, what, pattern in (
            ("joe@dirwrong.example", "a certificate for another name", r"wrong\.test.*TLS"),
            ("joe@dirwrongstart.example", "likewise behind StartTLS", r"wrong\.test.*TLS"),
            ("joe@dirbind.example", "our own password is wrong", "Invalid credentials"),
            ("joe@dirbase.example", "a base that is missing", "No such object"),
            ("joe@dirfilter.example", "a filter that is none", "Bad search filter"),
            ("twin@dir.example", "two entries", "more than one entry"),
            ("joe@diranon.example", "who may not search", "dir.test")):
        since = server.mark()
        tap.equal(try_plain(user, PASSWORD["joe"]), LATER, "LDAP: " + what)
        tap.ok(server.wait_log("login.failed.*%s" % pattern, since), "the log says so")


def impostors():
    since = server.mark()
    tap.equal(try_plain("joe@dirrogue.example", PASSWORD["joe"]), LATER, "LDAP: a certificate of another authority")
    tap.ok(server.wait_log(r"login.failed.*rogue\.test.*TLS", since), "the log says so")
    tap.ok(" BIND dn=\"cn=mail" not in impostor.log(), "nothing was said to it", impostor.log())


def other_authorities():
    """A reload brings other anchors: to a process that opens no file."""
    other = "authorities \"%s\"" % others.file
    reload_until(BASE.replace('authorities "ca.crt"', other) + ldap_domains(), "joe@dirrogue.example", PASSWORD["joe"])
    tap.ok(True, "LDAP: the other authority is the one that counts")
    since = server.mark()
    tap.equal(try_plain("joe@dir.example", PASSWORD["joe"]), LATER, "LDAP: and the first one no more")
    tap.ok(server.wait_log(r"login.failed.*dir\.test.*TLS", since), "the log says so")
    reload_until(BASE + ldap_domains(), "joe@dir.example", PASSWORD["joe"])
    tap.equal(try_plain("joe@dirrogue.example", PASSWORD["joe"]), LATER, "LDAP: and back")


def bad_days_of_ldap():
    since = server.mark()
    tap.equal(try_plain("joe@dir.example", PASSWORD["joe"]), RIGHT, "LDAP: connections are kept")
    directory.stop()
    tap.equal(try_plain("joe@dir.example", PASSWORD["joe"]), LATER, "LDAP is away: a temporary failure")
    tap.ok(server.wait_log(r"table\.down.*dir\.test", since), "the log says who is away")
    tap.ok(server.wait_log(r"refused.*address=joe@dir\.example.*can't be checked now.*: \w", since), "and why the login was not looked at")
    since = server.mark()
    directory.start()
    tap.equal(try_plain("joe@dir.example", PASSWORD["joe"]), RIGHT, "it is back: so are logins")
    tap.ok(server.wait_log(r"table\.up.*dir\.test", since), "the log says so")
    directory.stop()
    directory.start()
    tap.equal(try_plain("joe@dir.example", PASSWORD["joe"]), RIGHT, "it was restarted: kept connections that broke are made anew at once")
    os.kill(directory.process.pid, signal.SIGSTOP)
    stopped = connect()
    stopped.write(b"AUTH PLAIN " + coded(b"\0joe@dir.example\0x").encode() + b"\r\n")
    tap.equal(try_plain("joe@lite.example", PASSWORD["joe"]), RIGHT, "one that says nothing delays no other")
    tap.equal(code_of(stopped.reply()), LATER, "and is given up")
    stopped.close()
    os.kill(directory.process.pid, signal.SIGCONT)
    lib.wait_until(lambda: try_plain("joe@dir.example", PASSWORD["joe"]) == RIGHT, "a login after slapd goes on")


# ---- by and by ----------------------------------------------------------------------------------------------------------

def rogue():
    """Another authority's server says yes to all: it is not asked."""
    other = tls_peer.Pki(lib.folder(), "other")
    other.make("rogue", "rogue.test", names=["DNS:rogue.test"])
    return other


def who_it_is():
    uid = table_peers.pwd.getpwnam("_wwtables").pw_uid
    with open("/proc/%d/status" % server.pid("tables"), encoding="ascii") as f:
        uids = [line for line in f if line.startswith("Uid:")][0].split()[1:]
    tap.equal(uids, [str(uid)] * 4, "tables is a user of its own")
    for (role, index), pid in sorted(server.pids().items()):
        with open("/proc/%d/maps" % pid, encoding="utf-8") as f:
            maps = f.read()
        tap.equal("libpq.so" in maps or "libldap" in maps, role == "tables", "libpq and libldap are in tables alone: %s %d" % (role, index))


def our_process():
    since = server.mark()
    os.kill(server.pid("tables"), signal.SIGKILL)
    server.wait_log(r"role\.died.*tables", since)
    lib.wait_until(lambda: try_plain("joe@lite.example", PASSWORD["joe"]) == RIGHT, "a login after tables died")
    tap.ok(True, "our own process died: it is started again, with our passwords")
    tap.equal(try_plain("joe@pg.example", PASSWORD["joe"]), RIGHT, "which it needs for PostgreSQL")


def memory(is_by_ldap):
    """What was looked at is forgotten, and what we log in with is where it is needed alone."""
    if lib.SANITIZED:
        tap.skip("passwords in memory", "a sanitizer's memory is too large to search")
        return
    users, own = {PASSWORD["joe"].encode(), PASSWORD["o'hara"].encode()}, {w.encode() for w in OURS.values()}
    for (role, index), pid in sorted(server.pids().items()):
        if role == "tables" and is_by_ldap: # libldap leaves what it has sent where it was
            continue
        secrets = users | (own if role != "tables" else set())
        tap.equal(lib.found_in(pid, {o: o for o in secrets}), set(), "%s %d has no password in its memory" % (role, index))


def changes(text):
    plain_lua = HEAD + 'domain "lite.example" { users = { "joe" }, deliver = maildir "%s/%%d/%%u", user = "_wwmail" }\n' % lib.mail_folder(where)
    reload(plain_lua)
    lib.wait_until(lambda: not [r for r, _ in server.pids() if r in ("auth", "tables")], "the end of auth and tables")
    tap.ok(True, "without tables there is no process for them")
    reload(text)
    lib.wait_until(lambda: try_plain("joe@lite.example", PASSWORD["joe"]) == RIGHT, "a login after a reload")
    tap.ok(True, "with them again it is back, and asked")
    os.mkdir(os.path.join(where, "other"))
    shutil.copy(lite("users.db"), os.path.join(where, "other", "users.db"))
    before = server.pid("tables")
    reload(HEAD + domain("lite.example", sql_at("sqlite:" + os.path.join(where, "other", "users.db"))))
    lib.wait_until(lambda: server.pids().get(("tables", 0)) not in (None, before), "another process")
    lib.wait_until(lambda: try_plain("joe@lite.example", PASSWORD["joe"]) == RIGHT, "a login by a database in another folder")
    tap.ok(True, "with the databases in another folder another process takes its place")


secret_file("pg.word", OURS["pg"])
secret_file("ldap.word", OURS["ldap"])
secret_file("bad.word", "no word")
os.mkdir(os.path.join(where, "lite"))
fill_sqlite()
fill_sqlite("wal.db", ("litewal",))
table_peers.sqlite(lite("wal.db"), "PRAGMA journal_mode = WAL")
lib.file_of(lite("bad.db"), "this is no database, however long one looks at it" * 100)
fill_sqlite("closed.db")
os.chmod(lite("closed.db"), 0o600)
database = directory = None
others = rogue()
if table_peers.has_postgresql():
    database = table_peers.Postgresql(where, pki, DATABASE, "db")
    fill_postgresql()
if table_peers.has_slapd() and shutil.which("ldapwhoami"):
    directory = table_peers.Slapd(where, pki, DIRECTORY, "dir", entries())
    impostor = table_peers.Slapd(where, others, ROGUE, "rogue", entries())
BASE = HEAD + lite_domains()
server = lib.start(where, BASE)
by_sqlite()
wal()
if database is None:
    tap.skip("PostgreSQL", "postgresql-15 is not installed")
else:
    reload_until(BASE + pg_domains(), "joe@pg.example", PASSWORD["joe"])
    by_postgresql()
    bad_days_of_postgresql()
    another_authority()
    who_it_is()
    our_process()
    tap.equal(try_plain("ann@pg.example", PASSWORD["ann"]), RIGHT, "PostgreSQL: a login to be forgotten")
    memory(False)
    new_word()
if directory is None:
    tap.skip("LDAP", "slapd or ldap-utils is not installed")
else:
    reload_until(BASE + ldap_domains(), "joe@dir.example", PASSWORD["joe"])
    by_ldap()
    impostors()
    other_authorities()
    bad_days_of_ldap()
    memory(True)
changes(BASE)
silence([p.log() for p in (database, directory) if p])
tap.equal(server.stop(), 0, "the server ends")
tap.end()
