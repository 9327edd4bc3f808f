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
     "A place where mail is taken. May stand more than once."},
    {"", "domain", SCHEMA_SECTION, false, "\"NAME\" { ... }", NULL, 0, 0, NOWHERE,
     "A domain whose mail ends here. May stand more than once."},
    {"", "relay_from", SCHEMA_LIST, false, "{ \"BLOCK\", ... }", "{ \"127.0.0.0/8\", \"::1\" }", 0, 0,
     NOWHERE,
     "The addresses that may send anywhere without a login. The list given replaces the default."},
    {"", "route", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE,
     "A smart host for all mail to other domains. Without it mail goes to the MX hosts of each domain."},
    {"", "resolver", SCHEMA_VALUE, false, "\"recursive\" | \"system\" | { \"ADDRESS\", ... }",
     "\"recursive\"", 0, 0, NOWHERE,
     "Who answers questions to the DNS: this program itself from the root down, the servers of "
     "/etc/resolv.conf, "
     "or the servers named."},
    {"", "spool", SCHEMA_PATH, false, "\"FOLDER\"", "\"/var/spool/waxwing\"", 0, 0, NOWHERE,
     "The folder of the queue."},
    {"", "control", SCHEMA_PATH, false, "\"PATH\"", "\"/run/waxwing/control\"", 0, 0, NOWHERE,
     "The socket that the waxwing commands talk to."},
    {"", "journal", SCHEMA_SECTION, false, "\"FOLDER\" | { ... }", "\"/var/lib/waxwing\"", 0, 0, NOWHERE,
     "The folder of the record of what happened to each message."},
    {"", "limits", SCHEMA_SECTION, false, "{ ... }", NULL, 0, 0, NOWHERE, "Bounds of what is taken and "
     "held."},
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

    {"domain", "users", SCHEMA_VALUE, false, "{ \"NAME\", ... } | passwd \"FILE\" | file \"FILE\" | any",
     NULL, 0, 0, NOWHERE,
     "Who has a mailbox in this domain. All other names are refused."},
    {"domain", "deliver", SCHEMA_VALUE, false, "maildir \"PATH\" | lmtp \"HOST\"", NULL, 0, 0, NOWHERE,
     "What becomes of the mail of these users."},
    {"domain", "user", SCHEMA_TEXT, false, "\"LOGIN\"", NULL, 0, 0, NOWHERE,
     "The user of this machine who owns the Maildirs and becomes the process that writes them. Needed when "
     "Waxwing "
     "is started by root; never root itself."},
    {"domain", "catchall", SCHEMA_TEXT, false, "\"NAME\" | \"ADDRESS\"", NULL, 0, 0, NOWHERE,
     "Who gets the mail for names that are not among the users: a user of this domain, or a full address."},
    {"domain", "same_as", SCHEMA_TEXT, false, "\"DOMAIN\"", NULL, 0, 0, NOWHERE,
     "Another local domain: each of its users has an address here too. No other key may stand beside it."},

    {"route", "to", SCHEMA_TEXT, true, "\"*\"", NULL, 0, 0, NOWHERE, "Which recipients: \"*\" for all."},
    {"route", "via", SCHEMA_TEXT, true, "\"smtp://HOST:PORT\"", NULL, 0, 0, NOWHERE,
     "The host that takes the mail; the port is 25 when none is given."},

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

    {"processes", "smtpd", SCHEMA_COUNT, false, "NUMBER", "2", 1, ROLE_SMTPD_MAX, AT(n_smtpd),
     "Processes that take mail from the network."},
    {"processes", "relay", SCHEMA_COUNT, false, "NUMBER", "2", 1, ROLE_RELAY_MAX, AT(n_relay),
     "Processes that send mail to other hosts."},

    {"log", "format", SCHEMA_CHOICE, false, "text | json", "text", 0, 1, AT(log_json), "How a line is "
     "written."},
    {"log", "level", SCHEMA_CHOICE, false, "debug | info | warn | error", "info", 0, 3, AT(log_level),
     "The least important kind of line that is written."},

    {"maildir", "path", SCHEMA_TEXT, true, "\"PATH\"", NULL, 0, 0, NOWHERE,
     "Absolute; %u stands for the user, %d for the domain, %% for a percent sign."},
    {"maildir", "user", SCHEMA_TEXT, false, "\"LOGIN\"", NULL, 0, 0, NOWHERE, "As the key user of the "
     "domain."},

    {"value", "maildir", SCHEMA_VALUE, false, "\"PATH\" | { ... }", NULL, 0, 0, NOWHERE,
     "For deliver: a Maildir for each user."},
    {"value", "lmtp", SCHEMA_VALUE, false, "\"unix:/PATH\" | \"HOST:PORT\"", NULL, 0, 0, NOWHERE,
     "For deliver: a server that speaks LMTP, such as Dovecot; the port is 24 when none is given."},
    {"value", "passwd", SCHEMA_VALUE, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "For users: the first field of each line, fields are parted by colons; lines that begin with # are "
     "comments."},
    {"value", "file", SCHEMA_VALUE, false, "\"FILE\"", NULL, 0, 0, NOWHERE,
     "For users: one name a line; lines that begin with # are comments."},
    {"value", "any", SCHEMA_VALUE, false, "", NULL, 0, 0, NOWHERE,
     "For users: every well-formed name is a user."},
};

struct future {
    const char *section, *name;
};
static const struct future futures[] = {
    {"", "tls"}, {"", "dkim"}, {"", "on"}, {"", "secret"}, {"", "acme"}, {"", "milter"}, {"", "rspamd"},
     {"", "dnsbl"},
    {"", "greylist"}, {"", "rate"}, {"", "alias"}, {"", "aliases"}, {"", "forward"}, {"", "pipe"}, {"",
     "dashboard"},
    {"", "metrics"}, {"", "http"}, {"", "sql"}, {"", "ldap"}, {"", "redis"}, {"", "spf"}, {"", "dmarc"},
     {"", "arc"},
    {"", "dane"}, {"", "mta_sts"}, {"", "srs"}, {"", "auth"}, {"", "reject"}, {"", "defer"}, {"",
     "accept"}, {"", "webhook"},
    {"", "reports"}, {"", "store"}, {"", "geoip"}, {"", "source"},
    {"listen", "tls"}, {"listen", "submission"}, {"listen", "proxy"}, {"listen", "auth"}, {"listen",
     "pregreet"},
    {"listen", "dnsbl"}, {"listen", "greylist"}, {"listen", "http"},
    {"domain", "aliases"}, {"domain", "dkim"}, {"domain", "relay"}, {"domain", "recipients"}, {"domain",
     "tls"},
    {"domain", "forward"}, {"domain", "srs"}, {"domain", "dmarc"}, {"domain", "quota"}, {"domain", "detail"},
    {"route", "from"}, {"route", "password"}, {"route", "tls"}, {"route", "user"}, {"route", "source"},
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

bool schema_is_future(struct str section, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(futures); i++) {
        if (str_eq(section, str_from_c(futures[i].section)) && str_eq(name, str_from_c(futures[i].name)))
            return true;
    }
    return false;
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
    case SCHEMA_TEXT:
    case SCHEMA_PATH:
    case SCHEMA_BOOL:
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
