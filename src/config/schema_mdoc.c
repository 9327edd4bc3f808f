/* config/schema_mdoc.c: the schema as people read it: the manual's list of keys, and the default
 * configuration. */
#include "config/schema.h"

/* mdoc: a line must not begin with a dot or an apostrophe, a backslash is written \e. */
static void put_text(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            buf_puts(out, "\\e");
        else
            buf_putc(out, s.p[i]);
    }
}

/* A macro's argument in quotes: a quote within is doubled for roff. */
static void put_argument(struct buf *out, const char *text)
{
    buf_putc(out, '"');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"')
            buf_puts(out, "\\(dq");
        else
            buf_putc(out, *p);
    }
    buf_putc(out, '"');
}

static const char *const section_intro[][2] = {
    {"", "Facts"},
    {"listen", "Keys of listen"},
    {"domain", "Keys of domain"},
    {"mta_sts_policy", "Keys of mta_sts_policy"},
    {"tls", "Keys of tls"},
    {"https", "Keys of https"},
    {"oauth", "Keys of oauth"},
    {"route", "Keys of route"},
    {"rewrite", "Keys of rewrite"},
    {"source", "Keys of source"},
    {"commands", "Keys of commands"},
    {"resolver", "Keys of resolver, beside its list"},
    {"journal", "Keys of journal"},
    {"limits", "Keys of limits"},
    {"outgoing", "Keys of outgoing"},
    {"retry", "Keys of retry"},
    {"reports", "Keys of reports"},
    {"processes", "Keys of processes"},
    {"log", "Keys of log"},
    {"maildir", "Keys of maildir"},
    {"pipe", "Keys of pipe, beside its list"},
    {"ldap", "Keys of ldap"},
    {"sql", "Keys of sql"},
    {"value", "Words that make values"},
};

enum { MANUAL_COLUMNS = 78 };

/* A sentence begins a line, as mdoc wants it, and a long one goes on in the next. */
static void put_doc(struct buf *out, struct str doc)
{
    size_t column = 0;
    while (doc.n > 0) {
        struct str word = str_cut(&doc, ' ');
        if (column > 0 && column + 1 + word.n > MANUAL_COLUMNS) {
            buf_putc(out, '\n');
            column = 0;
        }
        if (column > 0)
            buf_putc(out, ' ');
        put_text(out, word);
        column += word.n + 1;
        if (doc.n == 0 || str_ends(word, STR("."))) {
            buf_putc(out, '\n');
            column = 0;
        }
    }
}

static void put_key(struct buf *out, const struct schema_key *k)
{
    bool is_assigned = k->section[0] != '\0' && !str_eq(str_from_c(k->section), STR("value"));
    buf_printf(out, ".It Ic %s", k->name);
    if (k->form[0] != '\0') {
        buf_puts(out, is_assigned ? " No = Ar " : " Ar ");
        put_argument(out, k->form);
    }
    buf_putc(out, '\n');
    put_doc(out, str_from_c(k->doc));
    if (k->required)
        buf_puts(out, "It must be given.\n");
    bool is_number = k->type == SCHEMA_COUNT || k->type == SCHEMA_PORT || k->type == SCHEMA_SIZE ||
                     k->type == SCHEMA_DURATION;
    if (is_number) {
        buf_puts(out, "From ");
        schema_put_range(k, out);
        buf_puts(out, k->preset == NULL ? ".\n" : "; ");
    }
    if (k->preset != NULL) {
        char mem[80];
        struct buf quoted;
        bool is_text = k->type == SCHEMA_SIZE || k->type == SCHEMA_DURATION || k->type == SCHEMA_CHOICE;
        buf_init_fixed(&quoted, mem, sizeof mem);
        buf_printf(&quoted, is_text ? "\"%s\"" : "%s", k->preset);
        buf_putc(&quoted, '\0');
        must(!quoted.failed);
        buf_puts(out, is_number ? "the default is\n.Ql " : "The default is\n.Ql ");
        put_argument(out, quoted.p);
        buf_puts(out, " .\n");
    }
}

void config_schema_mdoc(struct buf *out)
{
    for (size_t s = 0; s < ARRAY_LEN(section_intro); s++) {
        buf_printf(out, ".Ss %s\n.Bl -tag -width Ds\n", section_intro[s][1]);
        for (size_t i = 0; schema_at(i) != NULL; i++) {
            if (str_eq(str_from_c(schema_at(i)->section), str_from_c(section_intro[s][0])))
                put_key(out, schema_at(i));
        }
        buf_puts(out, ".El\n");
    }
}

/* As a Lua text; doubling of percent signs for a Maildir template. */
static void put_lua(struct buf *out, struct str s, bool is_template)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
            buf_printf(out, "\\%03u", (unsigned)c);
        else
            buf_putc(out, s.p[i]);
        if (c == '%' && is_template)
            buf_putc(out, '%');
    }
}

static void put_path(struct buf *out, const char *fact, struct str dir, const char *below)
{
    buf_printf(out, "%s \"", fact);
    put_lua(out, dir, false);
    buf_printf(out, "/%s\"\n", below);
}

void config_default_lua(struct str run_dir, uint16_t port, struct str user, struct buf *out)
{
    buf_puts(out,
             "-- what runs when no configuration is given: mail for localhost into Maildirs, nothing else\n"
             "hostname \"localhost.localdomain\"\n");
    buf_printf(out, "listen { port = %u, address = \"127.0.0.1\" }\n", (unsigned)port);
    buf_puts(out, "relay_from {}\nresolver \"system\"\n");
    put_path(out, "spool", run_dir, "spool");
    put_path(out, "journal", run_dir, "journal");
    put_path(out, "control", run_dir, "control");
    put_path(out, "submit", run_dir, "submit");
    buf_puts(
        out,
        "limits { sessions_per_client = 0 }\noutgoing { mta_sts = false }\n"
        "domain \"localhost\" {\n  users = any,\n  deliver = maildir \"");
    put_lua(out, run_dir, true);
    buf_puts(out, "/mail/%u\",\n");
    if (user.n > 0) {
        buf_puts(out, "  user = \"");
        put_lua(out, user, false);
        buf_puts(out, "\",\n");
    }
    buf_puts(out, "}\n");
}

void config_dev_lua(struct str run_dir, struct str address, uint16_t port, struct buf *out)
{
    buf_puts(out, "-- `waxwing dev`: every address is a mailbox here, so nothing is ever sent on\n"
                  "hostname \"dev.localhost\"\n");
    buf_printf(out, "listen { port = %u, address = \"%.*s\" }\n", (unsigned)port, STR_FMT(address));
    buf_puts(out, "relay_from {}\nresolver { \"127.0.0.1\" }\noutgoing { mta_sts = false }\n");
    put_path(out, "spool", run_dir, "spool");
    put_path(out, "journal", run_dir, "journal");
    put_path(out, "control", run_dir, "control");
    put_path(out, "submit", run_dir, "submit");
    buf_puts(
        out,
        "limits { sessions_per_client = 0 }\nprocesses { smtpd = 1, relay = 1 }\nlog { level = \"error\" }\n"
        "domain \"*\" {\n  users = any,\n  plus = \"\",\n  deliver = maildir \"");
    put_lua(out, run_dir, true);
    buf_puts(out, "/mail/%d/%u\",\n}\n");
}

/* ", NAME \"TEXT\"" in a table; nothing for no text. */
static void put_member(struct buf *out, const char *name, struct str s)
{
    if (s.n == 0)
        return;
    buf_printf(out, ", %s \"", name);
    put_lua(out, s, false);
    buf_putc(out, '"');
}

static void put_fact(struct buf *out, const char *fact, struct str s)
{
    if (s.n == 0)
        return;
    buf_printf(out, "%s \"", fact);
    put_lua(out, s, false);
    buf_puts(out, "\"\n");
}

static void put_name(struct buf *out, struct str name, struct str to)
{
    buf_puts(out, "[\"");
    put_lua(out, name, false);
    buf_puts(out, "\"] = \"");
    put_lua(out, to, false);
    buf_puts(out, "\", ");
}

static void put_rewrite(const struct rewrite_conf *r, struct buf *out)
{
    buf_puts(out, "rewrite { to = { ");
    for (size_t i = 0; i < r->n_names; i++)
        put_name(out, r->names[i].name, r->names[i].to);
    if (r->to.n > 0)
        put_name(out, STR("*"), r->to);
    buf_puts(out, "}");
    put_member(out, "from =", r->from);
    put_member(out, "domain =", r->domain);
    buf_puts(out, " }\n");
}

void config_relay_lua(const struct config_relay *r, struct buf *out)
{
    buf_puts(out, "-- `waxwing relay`: what programs of this machine send goes to one host\n");
    put_fact(out, "hostname", r->hostname);
    put_fact(out, "postmaster", r->postmaster);
    put_fact(out, "authorities", r->authorities);
    put_path(out, "spool", r->dir, "queue");
    put_path(out, "journal", r->dir, "journal");
    put_path(out, "control", r->sockets, "control");
    put_path(out, "submit", r->sockets, "submit");
    if (r->address.n > 0) {
        buf_printf(out, "listen { port = %u, submission = true, normalize = true", (unsigned)r->port);
        put_member(out, "address =", r->address);
        buf_puts(out, " }\n");
    } else {
        buf_puts(out, "listen(false)\n");
    }
    /* nothing goes to MX hosts, so nobody's policies are followed */
    buf_puts(out, "resolver \"system\"\nprocesses { smtpd = 1, relay = 1, trim = true }\noutgoing { mta_sts = false }\n"
                  "route { to = \"*\"");
    put_member(out, "via =", r->via);
    put_member(out, "user =", r->user);
    put_member(out, "password = secret", r->secret);
    put_member(out, "tls =", r->tls);
    buf_puts(out, " }\n");
    put_rewrite(&r->rewrite, out);
}
