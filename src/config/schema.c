#include "config/schema.h"

#include "base/limits.h"
#include "config/values.h"

#include <string.h>

enum { NAME_MAX_N = 32, DISTANCE_FAR = 99, HOUR = 3600, DAY = 86400 };

#define KIB UINT64_C(1024)
#define AT(member) offsetof(struct config, member), sizeof(((struct config *)NULL)->member)
#define NOWHERE 0, 0

/* clang-format off */
static const struct schema_key keys[] = {
    /* section, name, type, required, form, default, min, max, member, doc */
    {"", "hostname", SCHEMA_TEXT, true, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "The full name of this machine, as the greeting and EHLO say it. The PTR record of its address must "
     "match."},
    {"", "postmaster", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "Who reads what comes for postmaster and abuse at each local domain that has no such user."},
    {"", "listen", SCHEMA_SECTION, false, "{ ... }", "{ port = 25 }", 0, 0, NOWHERE,
     "A place where mail is taken. May stand more than once. listen(false) is none: a server for the socket of sendmail "
     "alone."},
    {"", "domain", SCHEMA_SECTION, false, "\"NAME\" { ... }", NULL, 0, 0, NOWHERE,
     "A domain whose mail ends here, or is passed on by us; \"*\" is every domain that is not named, for a "
     "server that catches all mail. May stand more than once."},
    {"", "relay_from", SCHEMA_LIST, false, "{ \"BLOCK\", ... }", "{ \"127.0.0.0/8\", \"::1\" }", 0, 0,
     NOWHERE,
     "The addresses that may send anywhere without a login. The list given replaces the default."},
    {"", "route", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "Where mail to other domains goes: the first route that fits decides. Without one it goes to the MX hosts of "
     "the domain. May stand more than once."},
    {"", "source", SCHEMA_SECTION, false, "\"NAME\" { ... }", NULL, 0, 0, NOWHERE,
     "Addresses that mail leaves from, for routes to name. May stand more than once."},
    {"", "rewrite", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "What addresses that mean something on this machine only become, in mail that its programs and users submit (by "
     "sendmail, or at a listener with submission = true). They are those without a domain, at localhost, and at "
     "hostname or its first label, unless that is a domain of ours."},
    {"", "xclient_from", SCHEMA_LIST, false, "{ \"BLOCK\", ... }", NULL, 0, 0, NOWHERE,
     "The addresses of proxies and filters that may say by XCLIENT who their client is."},
    {"", "tls", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "A certificate with its key; without any there is no TLS. May stand more than once: a client gets the "
     "certificate for the name that it asks for, and the first when there is none for it. Changed files are taken by "
     "themselves."},
    {"", "https", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "The port at which policies of MTA-STS are served (mta_sts_policy), and an authority looks whether names lead here "
     "(acme_challenge = \"tls-alpn-01\"). Without either of them it is not open."},
    {"", "senders", SCHEMA_LIST, false, "{ [\"LOGIN\"] = { \"PATTERN\", ... }, ... }", NULL, 0, 0, NOWHERE,
     "The addresses that a login may send from beside its own: patterns as in route. Its own are its address, with "
     "whatever detail behind the plus, and aliases that lead to it alone."},
    {"", "oauth", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "Users may log in with access tokens of an identity provider (OAUTHBEARER, XOAUTH2), beside whatever passwords "
     "they have: see Access tokens."},
    {"", "submit", SCHEMA_PATH, false, "\"PATH\"", NULL, 0, 0, NOWHERE,
     "The socket that sendmail on this machine hands mail to; everybody on it may. Started by root, and with the "
     "default control socket, it is \"" CONFIG_SUBMIT_PATH "\"; else there is none when none is named. submit(false) "
     "is none."},
    {"", "commands", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE, "Commands of SMTP that not everybody "
     "may use."},
    {"", "reports", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "What senders are told of the fate of their mail, and domains of TLS with their servers."},
    {"", "resolver", SCHEMA_VALUE, false, "\"recursive\" | \"system\" | { \"ADDRESS\", ... }",
     "\"recursive\"", 0, 0, NOWHERE,
     "Who answers questions to the DNS: this program itself from the root down, the system (the names of /etc/hosts, "
     "and the servers of /etc/resolv.conf), or the servers named."},
    {"", "authorities", SCHEMA_PATH, false, "\"FILE\"", "\"/etc/ssl/certs/ca-certificates.crt\"", 0, 0, NOWHERE,
     "The certificates, in PEM, of those who are trusted to sign the certificates of servers that mail goes to."},
    {"", "spool", SCHEMA_PATH, false, "\"FOLDER\"", "\"/var/spool/waxwing\"", 0, 0, NOWHERE,
     "The folder of the queue."},
    {"", "control", SCHEMA_PATH, false, "\"PATH\"", "\"" CONFIG_CONTROL_PATH "\"", 0, 0, NOWHERE,
     "The socket that the waxwing commands talk to."},
    {"", "journal", SCHEMA_SECTION, false, "\"FOLDER\" | { ... }", "\"/var/lib/waxwing\"", 0, 0, NOWHERE,
     "The folder of the record of what happened to each message."},
    {"", "limits", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE, "Bounds of what is taken and "
     "held."},
    {"", "outgoing", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "How mail goes to the servers of other domains."},
    {"", "retry", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "When mail that could not be delivered is tried again, and when it is given up."},
    {"", "processes", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE, "How many processes share the "
     "work."},
    {"", "log", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE, "What the log looks like."},
    {"", "smtp_port", SCHEMA_PORT, false, "\"NUMBER\"", "25", 1, UINT16_MAX, AT(smtp_port),
     "The port of MX hosts. Another one than 25 is for tests and labs."},
    {"", "include", SCHEMA_PATH, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "Reads more facts from a file in the folder of this one."},

    {"listen", "port", SCHEMA_PORT, false, "NUMBER", "25", 1, UINT16_MAX, NOWHERE,
     "The TCP port; with lmtp = true the default is 24."},
    {"listen", "address", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "An IPv4 or IPv6 address of this machine, or \"unix:/path\". Without it, all addresses."},
    {"listen", "lmtp", SCHEMA_BOOL, false, "true", "false", 0, 1, NOWHERE,
     "Speak LMTP (RFC 2033), one answer for each recipient, and not SMTP."},
    {"listen", "submission", SCHEMA_BOOL, false, "true", "false", 0, 1, NOWHERE,
     "Only users of ours may send here: who has logged in, or, where nobody can, the addresses of relay_from. "
     "Their messages get what they lack of From, Date and Message-ID; Bcc, Resent-Bcc and Return-Path are taken off."},
    {"listen", "tls", SCHEMA_CHOICE, false, "off | starttls | implicit", "starttls", 0, 2, NOWHERE,
     "Whether TLS is on offer (STARTTLS), or begins each connection; the latter is the default at port 465. Without "
     "a certificate it is off."},
    {"listen", "auth", SCHEMA_CHOICE, false, "off | may | must", "off", 0, 2, NOWHERE,
     "Whether clients may or must log in; only over TLS, and never at port 25. With submission = true, and where there "
     "are certificates and passwords, it is must."},
    {"listen", "proxy", SCHEMA_VALUE, false, "true | { \"BLOCK\", ... }", NULL, 0, 0, NOWHERE,
     "A proxy stands before this port: each connection must begin with a PROXY header (version 1 or 2) that names "
     "the client. With a list, connections from other addresses are closed; with true, nobody but the proxy may "
     "reach the port."},
    {"listen", "tag", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE, "What routes call the mail that comes "
     "in here."},
    {"listen", "tag_header", SCHEMA_TEXT, false, "\"FIELD\"", NULL, 0, 0, NOWHERE,
     "A header field whose value is the tag of a message, in place of the key tag. It is believed of clients of "
     "ours only."},
    {"listen", "greet_delay", SCHEMA_DURATION, false, "TIME", "0", 0, 30, NOWHERE,
     "How long the greeting waits. Who talks before it came is refused: programs that send junk often do."},
    {"listen", "normalize", SCHEMA_BOOL, false, "true", "false", 0, 1, NOWHERE,
     "Make CRLF of the bare CR and LF that clients of ours send. Others are refused with them either way."},
    {"listen", "hide_client", SCHEMA_BOOL, false, "true", "false", 0, 1, NOWHERE,
     "Leave the name and address of a client of ours out of the Received field: where a user is at the moment is "
     "nobody's business. The log and the journal still have them."},

    {"tls", "cert", SCHEMA_PATH, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "The certificates in PEM form: the server's own, then those that lead to its authority. Needed with key, unless "
     "there is acme."},
    {"tls", "key", SCHEMA_PATH, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "Its private key in PEM form, without a pass phrase."},
    {"tls", "acme", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "Get the certificate from an authority that speaks ACME (RFC 8555), and renew it 30 days before it ends, by the "
     "program uacme. The address is told to the authority, and to give this key is to agree to the authority's terms "
     "of service. The names must lead to this machine, and its port 80 be reachable, for that is how the authority "
     "looks, unless acme_challenge says otherwise. Each mta-sts.DOMAIN of a domain with mta_sts_policy that no names "
     "have gets a certificate of its own. Until the first certificate has come a self-signed one is shown. The private key is made here "
     "once and stays the same, so that TLSA records do, too."},
    {"tls", "names", SCHEMA_LIST, false, "{ \"NAME\", ... }", "hostname", 0, 0, NOWHERE,
     "With acme: the names that the certificate is for."},
    {"tls", "acme_directory", SCHEMA_TEXT, false, "\"URL\"",
     "\"https://acme-v02.api.letsencrypt.org/directory\"", 0, 0, NOWHERE,
     "The authority, for all certificates."},
    {"tls", "acme_folder", SCHEMA_PATH, false, "\"FOLDER\"", "\"/var/lib/waxwing-acme\"", 0, 0, NOWHERE,
     "Where keys and certificates that were got are kept."},
    {"tls", "acme_challenge", SCHEMA_CHOICE, false, "http-01 | tls-alpn-01", "http-01", 0, 1, AT(acme.challenge),
     "How the authority looks whether the names lead here: at port 80 (RFC 8555 8.3), which is open while it asks, or at "
     "port 443 (RFC 8737; see https)."},
    {"tls", "acme_address", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "Where the authority's questions of HTTP-01 are answered, while it asks: an IP address, and a port other than 80 behind a "
     "colon. Without it, port 80 of all addresses. Where a web server has the port, let that hand "
     "/.well-known/acme-challenge/ on to another one."},
    {"tls", "legacy", SCHEMA_BOOL, false, "true", "false", 0, 1, AT(tls_legacy),
     "Let clients that know no better use TLS 1.0 and old ciphers, at all certificates."},
    {"tls", "tickets", SCHEMA_BOOL, false, "false", "true", 0, 1, AT(tls_tickets),
     "Let clients resume sessions (RFC 5077), at all certificates."},
    {"tls", "client_ca", SCHEMA_PATH, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "Ask clients for a certificate, and log in (EXTERNAL) those that have one of these authorities."},

    {"https", "address", SCHEMA_VALUE, false, "\"ADDRESS\" | { \"ADDRESS\", ... }", NULL, 0, 0, NOWHERE,
     "IP addresses, with a port other than 443 behind a colon. Without it, port 443 of all addresses. Others find the "
     "policies and the authority its answers at port 443 only: where a web server has that, let it hand connections for "
     "these names on unopened, or leave the policies to it."},

    {"oauth", "issuer", SCHEMA_TEXT, true, "\"URL\"", NULL, 0, 0, NOWHERE,
     "Whose tokens log in: as they have it in iss, to the letter. Programs whose token was refused are told to look "
     "for the provider's configuration below it."},
    {"oauth", "introspection", SCHEMA_TEXT, false, "\"URL\"", NULL, 0, 0, NOWHERE,
     "Where the provider is asked about each token (RFC 7662). What it says is remembered for a minute at most."},
    {"oauth", "client", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "With introspection: as whom it is asked."},
    {"oauth", "secret", SCHEMA_VALUE, false, "secret \"FILE\"", NULL, 0, 0, NOWHERE,
     "With introspection: the password of client."},
    {"oauth", "jwks", SCHEMA_TEXT, false, "\"URL\"", NULL, 0, 0, NOWHERE,
     "In place of introspection: where the provider has its public keys (RFC 7517). Tokens are then looked at here: "
     "JSON Web Tokens signed with RSA (RS256, PS256 and their like, 2048 bits or more), ECDSA (ES256, ES384) or "
     "Ed25519 (EdDSA). Keys are fetched anew after some minutes, and when a token names one that is not known."},
    {"oauth", "audience", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "For whom a token must be: one of its aud. Needed with jwks: a token that was made for another service would "
     "log in here, too."},
    {"oauth", "scope", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "A scope that a token must have. Programs whose token was refused are told it."},
    {"oauth", "claim", SCHEMA_TEXT, false, "\"NAME\"", "\"email\"", 0, 0, NOWHERE,
     "Which claim of a token, or of the answer about it, says for whom it is: an address of a user, or his name alone "
     "where one domain has logins. Take none that users can change by themselves. An email that the provider calls "
     "unverified logs nobody in."},
    {"oauth", "domains", SCHEMA_LIST, false, "{ \"NAME\", ... }", NULL, 0, 0, NOWHERE,
     "Whose users the tokens log in; without it, those of all domains whose mail ends here. Whoever runs the provider "
     "can be any of them."},

    {"domain", "users", SCHEMA_VALUE, false, "{ \"NAME\", ... } | passwd \"FILE\" | file \"FILE\" | any | system",
     NULL, 0, 0, NOWHERE,
     "Who has a mailbox in this domain. All other names are refused."},
    {"domain", "deliver", SCHEMA_VALUE, false, "maildir \"PATH\" | lmtp \"HOST\" | pipe { ... }", NULL, 0, 0, NOWHERE,
     "What becomes of the mail of these users."},
    {"domain", "auth", SCHEMA_VALUE, false, "dovecot \"unix:/PATH\" | pam \"SERVICE\" | ldap { ... } | sql { ... }", NULL, 0, 0,
     NOWHERE,
     "Who looks at the passwords of these users; those in their file, if they are in one, have no meaning then. Only "
     "who is among the users can log in, and SCRAM is not offered, which nobody but the owner of a file can do."},
    {"domain", "user", SCHEMA_TEXT, false, "\"LOGIN\"", NULL, 0, 0, NOWHERE,
     "The user of this machine who owns the Maildirs and becomes the process that writes them. Needed when Waxwing "
     "is started by root; never root itself."},
    {"domain", "catchall", SCHEMA_TEXT, false, "\"NAME\" | \"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "Who gets the mail for names that are not among the users: a user or alias of this domain, or a full "
     "address."},
    {"domain", "same_as", SCHEMA_TEXT, false, "\"DOMAIN\"", NULL, 0, 0, NOWHERE,
     "Another local domain: each of its users and aliases has an address here too. No other key may stand beside "
     "it."},
    {"domain", "aliases", SCHEMA_VALUE, false, "file \"FILE\" | { NAME = \"TARGET\" | { ... }, ... }", NULL, 0, 0,
     NOWHERE,
     "Names that lead to other addresses, looked up before the users. See Aliases."},
    {"domain", "plus", SCHEMA_TEXT, false, "\"CHARACTERS\"", "\"+\"", 0, 0, NOWHERE,
     "What parts a user and a detail: joe+shop is joe. Up to four characters, each of which does; \"\" for none. "
     "A user or alias with the full name goes first."},
    {"domain", "forward", SCHEMA_BOOL, false, "true", "false", 0, 1, NOWHERE,
     "Before mail goes into a user's Maildir the file .forward in his home says where else it is to go. Needs "
     "users = system and deliver = maildir. See Forwarding by users."},
    {"domain", "mta_sts_policy", SCHEMA_VALUE, false, "\"none\" | \"testing\" | \"enforce\" | { ... }", NULL, 0, 0,
     NOWHERE,
     "Serve a policy of MTA-STS (RFC 8461) for this domain, at https://mta-sts.DOMAIN/.well-known/mta-sts.txt: to other "
     "servers it says which hosts take its mail, and that they have TLS with a certificate for their names. testing: they "
     "tell of failures, if the domain asks for reports, and send all the same; begin with it. enforce: rather than that they "
     "wait. none: there is no policy any more; leave it there for as long as the max_age of the one before. The name "
     "mta-sts.DOMAIN must lead here and needs a certificate, see tls. `waxwing dns` prints the records."},
    {"domain", "relay", SCHEMA_TEXT, false, "\"mx\" | \"smtp://HOST:PORT\" | \"smtps://HOST:PORT\" | "
     "\"lmtp://HOST:PORT\"", NULL, 0, 0, NOWHERE,
     "Mail does not end here: it goes on to the MX hosts before us (we are a backup MX), or to a host. In place of "
     "users and deliver."},
    {"domain", "recipients", SCHEMA_VALUE, false, "{ \"NAME\", ... } | passwd \"FILE\" | file \"FILE\" | "
     "\"callout\" | any", NULL, 0, 0, NOWHERE,
     "Who exists in a domain with relay: a list, or \"callout\" to ask the host that takes the mail, or any. With "
     "any, what the host refuses must be sent back, often to people who never wrote it."},

    {"mta_sts_policy", "mode", SCHEMA_CHOICE, true, "none | testing | enforce", NULL, 0, 2, NOWHERE, "As above."},
    {"mta_sts_policy", "max_age", SCHEMA_DURATION, false, "TIME", "1w", 0, MTA_STS_MAX_AGE_S, NOWHERE,
     "How long others keep it in mind. It protects against who forges DNS for so long, and a mistake stays in force for so "
     "long."},
    {"mta_sts_policy", "mx", SCHEMA_LIST, false, "{ \"NAME\", ... }", "hostname", 0, 0, NOWHERE,
     "The hosts that take its mail, as in its MX records; \"*.example.org\" is any one name below it."},

    {"route", "to", SCHEMA_TEXT, false, "\"PATTERN\"", "\"*\"", 0, 0, NOWHERE,
     "Which recipients: \"*\", \"example.org\", \"*.example.org\" (what is below it), \"*@example.org\", "
     "\"joe@example.org\"."},
    {"route", "from", SCHEMA_TEXT, false, "\"PATTERN\"", "\"*\"", 0, 0, NOWHERE,
     "Which envelope senders, likewise; \"<>\" is the sender of reports."},
    {"route", "tag", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "Which mail: that of a listener with this tag, or with this value in its tag_header."},
    {"route", "via", SCHEMA_TEXT, false, "\"mx\" | \"smtp://USER@HOST:PORT\" | \"smtps://USER@HOST:PORT\" | "
     "\"lmtp://HOST:PORT\"", "\"mx\"", 0, 0, NOWHERE,
     "The host that takes the mail (the port is 25, of smtps 465, of LMTP 24, when none is given), or \"mx\": the MX "
     "hosts of the recipient's domain. On smtps TLS comes before the greeting."},
    {"route", "user", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "Who we are for that host, in place of USER in via. Without a password cert and key log in: the host takes the "
     "certificate for a proof that we are this user (SASL EXTERNAL), else the mail waits."},
    {"route", "password", SCHEMA_VALUE, false, "secret \"FILE\"", NULL, 0, 0, NOWHERE,
     "Log in to that host, by the best way that it offers. Where it refuses the login the mail waits. A file that changes "
     "is read again by itself."},
    {"route", "tls", SCHEMA_TEXT, false, "\"none\" | \"any\" | \"may\" | \"encrypt\" | \"verify\" | \"dane\"", NULL, 0, 0,
     NOWHERE,
     "How the way to the host is protected. none: not at all. any: TLS where it can be had, else in the clear, whatever "
     "the domain has published: for domains whose DANE or MTA-STS is broken. may: TLS where it is offered; when it "
     "fails, and has never worked with that host, in the clear. encrypt: TLS, with whoever answers. verify: TLS with the "
     "host that is meant, as its certificate says; else the mail waits. dane: TLS with the host that TLSA records tell, "
     "and these and the MX records are signed (DNSSEC); else the mail waits. Without this key: verify for smtps and with "
     "a user, none for LMTP, may for all others. But for none and any, what the host's domain has published for it "
     "counts first (DANE, RFC 7672): where DNSSEC validates TLSA records, mail goes to the server that they tell, by "
     "TLS, or it waits."},
    {"route", "cert", SCHEMA_PATH, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "The certificate that is shown to a host that asks for one, in PEM, its own first, then its issuers. A renewed one "
     "is taken by itself."},
    {"route", "key", SCHEMA_PATH, false, "\"FILE\"", NULL, 0, 0, NOWHERE, "Its private key, in PEM."},
    {"route", "source", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE, "The source that this mail leaves "
     "from."},

    {"rewrite", "from", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "The envelope sender of all submitted mail. In From and Sender it replaces addresses of this machine, and the "
     "one that was the envelope sender; others are left to the application. Reports keep their empty sender."},
    {"rewrite", "to", SCHEMA_VALUE, false, "\"ADDRESS\" | { NAME = \"ADDRESS\", ... }", NULL, 0, 0, NOWHERE,
     "Who gets the mail for names of this machine: one for all, or each his own, such as root; [\"*\"] is all "
     "others."},
    {"rewrite", "domain", SCHEMA_TEXT, false, "\"DOMAIN\"", NULL, 0, 0, NOWHERE,
     "What such names get as their domain where from and to say nothing of them, in place of hostname."},

    {"source", "address", SCHEMA_VALUE, true, "\"ADDRESS\" | { \"ADDRESS\", ... }", NULL, 0, 0, NOWHERE,
     "IPv4 and IPv6 addresses of this machine: each connection takes one at random."},
    {"source", "helo", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "What EHLO says from there, in place of hostname. The PTR records of the addresses must match."},

    {"commands", "expn", SCHEMA_BOOL, false, "true", "false", 0, 1, AT(expn),
     "Tell clients of ours the members of a list (EXPN)."},
    {"commands", "etrn", SCHEMA_LIST, false, "{ \"BLOCK\", ... }", NULL, 0, 0, NOWHERE,
     "The addresses that may ask for the mail that waits for a domain (ETRN, RFC 1985)."},

    {"resolver", "trust_anchor", SCHEMA_PATH, false, "\"FILE\"", "\"/usr/share/dns/root.key\"", 0, 0, NOWHERE,
     "The keys of the root zone. When the file is missing nothing is validated. Other servers than our own "
     "are "
     "validated only when this key is given."},
    {"resolver", "root_hints", SCHEMA_PATH, false, "\"FILE\"", "\"/usr/share/dns/root.hints\"", 0, 0, NOWHERE,
     "The servers of the root zone."},

    {"journal", "path", SCHEMA_PATH, false, "\"FOLDER\"", "\"/var/lib/waxwing\"", 0, 0, NOWHERE, "The "
     "folder."},
    {"journal", "keep", SCHEMA_DURATION, false, "TIME", "30d", HOUR, 3650 * DAY, AT(journal_keep_s),
     "How long what happened is remembered."},

    {"limits", "message_size", SCHEMA_SIZE, false, "SIZE", "50M", 64 * KIB, 2048 * KIB * KIB, AT(size_max),
     "The largest message taken."},
    {"limits", "recipients", SCHEMA_COUNT, false, "NUMBER", "1000", 100, SMTP_RCPT_MAX, AT(rcpt_max),
     "Recipients of one message from one client."},
    {"limits", "sessions", SCHEMA_COUNT, false, "NUMBER", "5000", 1, 100000, AT(sessions_max),
     "Connections that one smtpd process holds at a time."},
    {"limits", "sessions_per_client", SCHEMA_COUNT, false, "NUMBER", "100", 0, 100000,
     AT(session_per_client_max),
     "How many of them one client address may have (of IPv6 a /64 is one; a unix socket is not counted); 0 for no limit."},
    {"limits", "memory", SCHEMA_SIZE, false, "SIZE", "256M", 16 * KIB * KIB, 1024 * KIB * KIB * KIB,
     AT(memory_max),
     "Message bodies and transactions that one process holds in memory."},
    {"limits", "site_connections", SCHEMA_COUNT, false, "NUMBER", "20", 1, 1000, AT(site_connections_max),
     "Connections to one destination at a time."},
    {"limits", "future_release", SCHEMA_DURATION, false, "TIME", "0", 0, 366 * DAY, AT(future_release_s),
     "How long a client of ours may have a message held before it is sent (FUTURERELEASE, RFC 4865); 0 does not "
     "offer it."},
    {"limits", "deliver_by", SCHEMA_BOOL, false, "false", "true", 0, 1, AT(deliver_by),
     "Offer DELIVERBY (RFC 2852): a message says until when it is wanted."},
    {"limits", "deliver_by_min", SCHEMA_DURATION, false, "TIME", "0", 0, DAY, AT(deliver_by_min_s),
     "The shortest such time that is taken; 0 for any."},
    {"limits", "mt_priority", SCHEMA_BOOL, false, "false", "true", 0, 1, AT(mt_priority),
     "Offer MT-PRIORITY (RFC 6710): of mail that waits for one destination the urgent goes first. A client that is "
     "not ours gets 0 at most. The header field MT-Priority (RFC 6758) has no say."},

    {"outgoing", "mta_sts", SCHEMA_BOOL, false, "false", "true", 0, 1, AT(mta_sts),
     "Follow the policies by which domains say which hosts take their mail and that it needs TLS (MTA-STS, RFC 8461). "
     "Under one that is enforced mail waits until such a host shows a certificate for its name that leads to one of "
     "the authorities; DANE goes before it, as do a route's tls = \"none\" and a message's TLS-Required: No. "
     "Policies are fetched by HTTPS by a process of its own, and kept in a folder beside the journal's."},

    {"retry", "first", SCHEMA_DURATION, false, "TIME", "5m", 1, DAY, AT(retry_first_s),
     "The wait after the first failed attempt; each further wait is longer."},
    {"retry", "longest", SCHEMA_DURATION, false, "TIME", "4h", 1, 7 * DAY, AT(retry_max_s), "The longest "
     "wait."},
    {"retry", "jitter", SCHEMA_COUNT, false, "PERCENT", "20", 0, 50, AT(retry_jitter_pct),
     "How far a wait is moved by chance, so that not all mail is tried at once."},
    {"retry", "give_up", SCHEMA_DURATION, false, "TIME", "5d", 1, 30 * DAY, AT(expire_s),
     "How old mail is when it goes back to its sender."},
    {"retry", "give_up_bounce", SCHEMA_DURATION, false, "TIME", "2d", 1, 30 * DAY, AT(bounce_expire_s),
     "The same for reports, which have nobody to go back to."},

    {"reports", "success_to_strangers", SCHEMA_BOOL, false, "false", "true", 0, 1, AT(success_to_strangers),
     "Send reports of success that a sender asked for (NOTIFY=SUCCESS) to senders outside too. They tell that an "
     "address exists and is read here."},
    {"reports", "delay_after", SCHEMA_DURATION, false, "TIME", "4h", 0, 30 * DAY, AT(delay_after_s),
     "How long mail waits before its sender is told so, once; 0 for never."},
    {"reports", "suppress", SCHEMA_BOOL, false, "true", "false", 0, 1, AT(suppress),
     "Keep in mind addresses that servers refused as unknown or closed (with a clear status or text, see "
     "docs/codes.md), and give up mail of lists to them at once, without a report. A server that takes mail for "
     "the address again ends it."},
    {"reports", "suppress_keep", SCHEMA_DURATION, false, "TIME", "30d", HOUR, 3650 * DAY, AT(suppress_keep_s),
     "How long they are kept in mind."},
    {"reports", "verp", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "The local part that reports about list mail come back to (VERP): each member gets a copy of his own, whose "
     "envelope sender is NAME, a plus sign, his address with '=' in place of '@', and a tag that nobody can forge. "
     "What comes back for it, and for no other name, is taken. At most 24 characters; where it does not fit into 64 "
     "with the member's address, and without this key, the sender is the list's owner."},
    {"reports", "arf", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "Who gets the complaints of mailbox providers (ARF, RFC 5965): what comes for this address is read as such."},
    {"reports", "tls", SCHEMA_TEXT, false, "\"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "The address that daily reports about TLS come from (RFC 8460): each domain whose mail goes to its MX hosts, and "
     "that asks for it in its DNS, is told how many connections to it were as safe as it wants, and why the others "
     "were not. What can't be delivered of these reports comes back to this address. Without it nothing is counted "
     "and nobody gets a report."},
    {"reports", "tls_organization", SCHEMA_TEXT, false, "\"NAME\"", NULL, 0, 0, NOWHERE,
     "Who we are, in these reports; hostname when none is given. At most 200 octets."},
    {"reports", "tls_contact", SCHEMA_TEXT, false, "\"TEXT\"", NULL, 0, 0, NOWHERE,
     "Whom their readers can ask, such as an address; that of tls when none is given. At most 200 octets."},
    {"reports", "tls_every", SCHEMA_DURATION, false, "TIME", "24h", 10, DAY, AT(tls_reports_every_s),
     "How long a time one of these reports is about, counted from midnight UTC. RFC 8460 wants a day; another time is "
     "for tests and labs, where the waiting before a report and between attempts is shorter alike."},

    {"processes", "smtpd", SCHEMA_COUNT, false, "NUMBER", "2", 1, ROLE_SMTPD_MAX, AT(n_smtpd),
     "Processes that take mail from the network."},
    {"processes", "relay", SCHEMA_COUNT, false, "NUMBER", "2", 1, ROLE_RELAY_MAX, AT(n_relay),
     "Processes that send mail to other hosts."},
    {"processes", "trim", SCHEMA_BOOL, false, "true", "false", 0, 1, AT(trim),
     "For machines with little memory: soon after its start and then once a minute each process gives back what it "
     "has no use for at the moment, its code too, which the system brings again when it is needed."},

    {"log", "format", SCHEMA_CHOICE, false, "text | json", "text", 0, 1, AT(log_json), "How a line is "
     "written."},
    {"log", "level", SCHEMA_CHOICE, false, "debug | info | warn | error", "info", 0, 3, AT(log_level),
     "The least important kind of line that is written."},

    {"maildir", "path", SCHEMA_TEXT, true, "\"PATH\"", NULL, 0, 0, NOWHERE,
     "Absolute; %u stands for the user, %d for the domain, %% for a percent sign. With users = system it may begin "
     "with %h, the user's home."},
    {"maildir", "user", SCHEMA_TEXT, false, "\"LOGIN\"", NULL, 0, 0, NOWHERE, "As the key user of the "
     "domain."},

    {"pipe", "user", SCHEMA_TEXT, false, "\"LOGIN\"", NULL, 0, 0, NOWHERE, "As the key user of the domain."},
    {"pipe", "timeout", SCHEMA_DURATION, false, "TIME", "1000s", 1, DAY, NOWHERE,
     "How long the program may take. Then it is ended, and the message is tried again."},

    {"ldap", "server", SCHEMA_TEXT, true, "\"URL\"", NULL, 0, 0, NOWHERE,
     "Where it is: \"ldaps://HOST\", \"ldap://HOST\" or \"ldapi://%2FPATH\", a port behind the host where it is another. Behind ldap:// "
     "TLS is begun (StartTLS) before anything is said; the server's certificate must be of the authorities and for the "
     "name. On this machine (ldapi, a loopback address, localhost) ldap:// does without."},
    {"ldap", "base", SCHEMA_TEXT, true, "\"DN\"", NULL, 0, 0, NOWHERE,
     "Below which entry its people are, at any depth, such as \"ou=people,dc=example,dc=org\"."},
    {"ldap", "filter", SCHEMA_TEXT, false, "\"FILTER\"", "\"(mail=%u@%d)\"", 0, 0, NOWHERE,
     "Which entry is a user's (RFC 4515): %u stands for his name, %d for his domain, both in lower case and escaped, %% for "
     "a percent sign. It must match one entry; as that one the server is asked to take the password."},
    {"ldap", "bind", SCHEMA_TEXT, false, "\"DN\"", NULL, 0, 0, NOWHERE,
     "As whom entries are searched for. Without it the search is anonymous."},
    {"ldap", "password", SCHEMA_VALUE, false, "secret \"FILE\"", NULL, 0, 0, NOWHERE, "That of bind."},

    {"sql", "database", SCHEMA_TEXT, true, "\"URL\"", NULL, 0, 0, NOWHERE,
     "Where it is: \"postgresql://USER@HOST:PORT/DATABASE\", where the server's certificate must be of the authorities and for the name "
     "unless the host is this machine; \"postgresql://USER@/FOLDER/DATABASE\" by the socket in that folder, such as "
     "/run/postgresql; or \"sqlite:/PATH\". The user _wwtables must be able to read an SQLite database, and never writes "
     "there; all SQLite databases of a configuration are in one folder."},
    {"sql", "query", SCHEMA_TEXT, true, "\"SELECT ...\"", NULL, 0, 0, NOWHERE,
     "Gives one row with one column, the verifier of the password, as files of passwords have it: a form of crypt(5) "
     "(yescrypt, bcrypt, SHA-512, SHA-256), or {SCRAM-SHA-256} as Dovecot writes it. NULL, an empty text, or one that "
     "begins with ! or * is a locked account; no row: there is no such user. $1 stands for the address, $2 for the user "
     "without his domain, $3 for the domain: texts, in lower "
     "case, which are never pasted into the query."},
    {"sql", "password", SCHEMA_VALUE, false, "secret \"FILE\"", NULL, 0, 0, NOWHERE, "That of the user of the database."},

    {"value", "maildir", SCHEMA_VALUE, false, "\"PATH\" | { ... }", NULL, 0, 0, NOWHERE,
     "For deliver: a Maildir for each user."},
    {"value", "lmtp", SCHEMA_VALUE, false, "\"unix:/PATH\" | \"HOST:PORT\"", NULL, 0, 0, NOWHERE,
     "For deliver: a server that speaks LMTP, such as Dovecot; the port is 24 when none is given."},
    {"value", "pipe", SCHEMA_VALUE, false, "{ \"/PATH\", \"WORD\", ... }", NULL, 0, 0, NOWHERE,
     "For deliver: a program that gets the message on its standard input. No shell is run. In its words %u stands "
     "for the user, %d for the domain, %t for the detail behind the plus, %s for the envelope sender, %r for the "
     "recipient, %% for a percent sign. An address that would make a word begin with \"-\" is refused."},
    {"value", "passwd", SCHEMA_VALUE, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "For users and recipients: the first field of each line, fields are parted by colons; lines that begin with # are "
     "comments. The second field verifies the password; \"joe/phone\" is one more password of joe's, for one program. "
     "`waxwing user` edits such files."},
    {"value", "file", SCHEMA_VALUE, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "For users and recipients: one name a line; lines that begin with # are comments. For aliases: see Aliases."},
    {"value", "secret", SCHEMA_VALUE, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "For password: the first line of the file. Nobody but its owner and group may have rights to it. Only the "
     "processes that log in get to know it."},
    {"value", "dovecot", SCHEMA_VALUE, false, "\"unix:/PATH\"", NULL, 0, 0, NOWHERE,
     "For auth: the socket of Dovecot's auth process for clients, such as \"unix:/run/dovecot/auth-client\", which the "
     "user _wwauth must be able to open. Dovecot is asked about the whole address, in lower case."},
    {"value", "pam", SCHEMA_VALUE, false, "\"SERVICE\"", NULL, 0, 0, NOWHERE,
     "For auth: the modules that the file of this name in /etc/pam.d lists, such as \"waxwing\". They are asked about "
     "the user without his domain, and may ask for one password. The accounts of the machine need Waxwing to be "
     "started by root."},
    {"value", "ldap", SCHEMA_VALUE, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "For auth: a directory (RFC 4511) that looks at passwords itself."},
    {"value", "sql", SCHEMA_VALUE, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "For auth: a database that holds the verifiers of passwords."},
    {"value", "any", SCHEMA_VALUE, false, "", NULL, 0, 0, NOWHERE,
     "For users and recipients: every well-formed name is a user."},
    {"value", "system", SCHEMA_VALUE, false, "", NULL, 0, 0, NOWHERE,
     "For users: the accounts of this machine with a user id from 1000 and a shell to log in with. Each one's mail "
     "is written by himself."},
};

struct future {
    const char *section, *name;
};
static const struct future futures[] = {
    {"", "dkim"}, {"", "on"}, {"", "milter"}, {"", "rspamd"},
    {"", "dnsbl"}, {"", "greylist"}, {"", "rate"}, {"", "dashboard"}, {"", "metrics"}, {"", "http"},
    {"", "redis"}, {"", "spf"}, {"", "dmarc"}, {"", "arc"}, {"", "dane"},
    {"", "srs"}, {"", "auth"}, {"", "reject"}, {"", "defer"}, {"", "accept"}, {"", "webhook"}, {"", "store"},
    {"", "geoip"},
    {"listen", "dnsbl"}, {"listen", "greylist"}, {"listen", "http"},
    {"domain", "dkim"}, {"domain", "tls"}, {"domain", "srs"}, {"domain", "dmarc"}, {"domain", "quota"},
    {"route", "dane"},
    {"limits", "rate"}, {"limits", "messages_per_hour"},
};
/* clang-format on */

const struct schema_key *schema_at(size_t i)
{
    return i < ARRAY_LEN(keys) ? &keys[i] : NULL;
}

const struct schema_key *schema_find(struct str section, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (str_eq(section, str_from_c(keys[i].section)) && str_eq(name, str_from_c(keys[i].name)))
            return &keys[i];
    }
    return NULL;
}

static bool is_among(const struct future *list, size_t n, struct str section, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(section, str_from_c(list[i].section)) && str_eq(name, str_from_c(list[i].name)))
            return true;
    }
    return false;
}

const char *schema_elsewhere(struct str section, struct str name)
{
    static const char own[] = "the policy that a domain publishes is a key of it: "
                              "domain \"NAME\" { ..., mta_sts_policy = \"testing\" }";
    static const char both[] =
        "the policy that a domain publishes is a key of it, domain \"NAME\" { ..., mta_sts_policy = \"testing\" }; "
        "whether those of others are followed is outgoing { mta_sts = true }";
    static const char key[] = "the policy that this domain publishes is mta_sts_policy = \"testing\"; whether those "
                              "of others are followed is outgoing { mta_sts = true }";
    static const struct {
        const char *section, *name, *what;
    } places[] = {{"", "mta_sts", both},
                  {"", "mta_sts_policy", own},
                  {"outgoing", "mta_sts_policy", own},
                  {"domain", "mta_sts", key}};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (str_eq(section, str_from_c(places[i].section)) && str_eq(name, str_from_c(places[i].name)))
            return places[i].what;
    }
    return NULL;
}

bool schema_is_future(struct str section, struct str name)
{
    return is_among(futures, ARRAY_LEN(futures), section, name);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned schema_distance(struct str a, struct str b)
{
    unsigned d[3][NAME_MAX_N + 1];
    if (a.n > NAME_MAX_N || b.n > NAME_MAX_N)
        return DISTANCE_FAR;
    for (unsigned j = 0; j <= b.n; j++)
        d[0][j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *row = d[i % 3];
        const unsigned *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);
            row[j] = least(least(up[j], row[j - 1]) + 1, up[j - 1] + (x == y ? 0 : 1));
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && ascii_lower(a.p[i - 2]) == y)
                row[j] = least(row[j], up2[j - 2] + 1);
        }
    }
    return d[a.n % 3][b.n];
}

const char *schema_suggest(struct str section, struct str name)
{
    const char *best = NULL;
    unsigned best_distance = name.n < 4 ? 2 : 3; /* nearer than this */
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        unsigned distance = schema_distance(name, str_from_c(keys[i].name));
        if (str_eq(section, str_from_c(keys[i].section)) && distance < best_distance) {
            best_distance = distance;
            best = keys[i].name;
        }
    }
    return best;
}

size_t schema_choice(const struct schema_key *k, struct str word)
{
    struct str rest = str_from_c(k->form);
    for (size_t i = 0; rest.n > 0; i++) {
        if (str_eq(str_trim(str_cut(&rest, '|')), word))
            return i;
    }
    return STR_NPOS;
}

bool schema_in_range(const struct schema_key *k, uint64_t v)
{
    return v >= k->min && v <= k->max;
}

bool schema_number(const struct schema_key *k, struct str text, uint64_t *out)
{
    bool ok = false;
    switch (k->type) {
    case SCHEMA_COUNT:
    case SCHEMA_PORT:
        ok = str_to_u64(text, UINT64_MAX, out);
        break;
    case SCHEMA_SIZE:
        ok = value_size(text, out);
        break;
    case SCHEMA_DURATION:
        ok = value_duration(text, out);
        break;
    case SCHEMA_CHOICE:
        *out = schema_choice(k, text);
        ok = true;
        break;
    case SCHEMA_BOOL:
        *out = str_eq(text, STR("true"));
        ok = *out == 1 || str_eq(text, STR("false"));
        break;
    case SCHEMA_TEXT:
    case SCHEMA_PATH:
    case SCHEMA_LIST:
    case SCHEMA_SECTION:
    case SCHEMA_VALUE:
        break;
    }
    return ok && schema_in_range(k, *out);
}

static void put_value(const struct schema_key *k, uint64_t v, struct buf *out)
{
    if (k->type == SCHEMA_SIZE)
        value_put_size(v, out);
    else if (k->type == SCHEMA_DURATION)
        value_put_duration(v, out);
    else
        buf_printf(out, "%llu", (unsigned long long)v);
}

void schema_put_range(const struct schema_key *k, struct buf *out)
{
    put_value(k, k->min, out);
    buf_puts(out, " to ");
    put_value(k, k->max, out);
}

void schema_set(const struct schema_key *k, struct config *c, uint64_t v)
{
    char *at = (char *)c + k->offset;
    must(schema_in_range(k, v));
    if (k->width == sizeof(uint64_t))
        memcpy(at, &v, sizeof v);
    else if (k->width == sizeof(uint32_t))
        memcpy(at, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
    else if (k->width == 1)
        memcpy(at, &(uint8_t){(uint8_t)v}, 1); /* bool too: its values are 0 and 1 */
    else
        must_not_reach();
}

uint64_t schema_get(const struct schema_key *k, const struct config *c)
{
    const char *at = (const char *)c + k->offset;
    uint64_t wide;
    uint32_t middle;
    uint8_t narrow;
    if (k->width == sizeof wide) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    if (k->width == sizeof middle) {
        memcpy(&middle, at, sizeof middle);
        return middle;
    }
    must(k->width == sizeof narrow);
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

void schema_presets(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        uint64_t v;
        if (keys[i].width == 0)
            continue;
        must(schema_number(&keys[i], str_from_c(keys[i].preset), &v));
        schema_set(&keys[i], c, v);
    }
}
