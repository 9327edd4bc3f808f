/* proto/smtp_server_cmd_hello.c: EHLO, HELO and LHLO, and the table of what EHLO offers (RFC 5321 4.1.1.1,
 * 2033 4.1). */
#include "base/limits.h"
#include "proto/smtp_server_cmd.h"
#include "wire/date.h"

#include <string.h>

/* Any visible ASCII is taken for a name: clients say what their owners called them ("my_pc", an address
 * without brackets), and RFC 5321 4.1.4 forbids refusing mail for a name that does not verify. Only what
 * could not stand in our trace field as one word is refused. */
static bool is_hello_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < '!' || name.p[i] > '~')
            return false;
    }
    return name.n > 0 && name.n <= SMTP_DOMAIN_MAX;
}

/* ---- what is offered ----------------------------------------------------------------------------------- */

static bool is_always(const struct smtp_server *s)
{
    UNUSED(s);
    return true;
}

static bool has_pipelining(const struct smtp_server *s)
{
    return !s->conf->no_pipelining;
}

static bool has_chunking(const struct smtp_server *s)
{
    return !s->conf->no_chunking;
}

static bool has_smtputf8(const struct smtp_server *s)
{
    return !s->conf->no_smtputf8;
}

static bool has_dsn(const struct smtp_server *s)
{
    return s->conf->dsn;
}

bool smtp_server_has_binarymime(const struct smtp_server *s)
{
    return s->conf->binarymime &&
           !s->conf->no_chunking; /* RFC 3030 3: a message with any octets has no other way */
}

static bool has_deliverby(const struct smtp_server *s)
{
    return s->conf->deliverby;
}

static bool has_mt_priority(const struct smtp_server *s)
{
    return s->conf->mt_priority;
}

static bool has_hold(const struct smtp_server *s)
{
    return s->conf->hold_max_s > 0;
}

static bool has_starttls(const struct smtp_server *s)
{
    return s->conf->starttls && !s->is_secure; /* RFC 3207 4.2 */
}

/* RFC 4954 4 has no second login; the list stays away so that clients don't try one. */
static bool has_auth(const struct smtp_server *s)
{
    return s->conf->auth && s->is_secure && s->mechanisms != 0 && !s->has_login;
}

bool smtp_server_has_requiretls(const struct smtp_server *s)
{
    return s->conf->requiretls && s->is_secure;
}

static bool has_prdr(const struct smtp_server *s)
{
    return s->conf->prdr && !s->conf->lmtp;
}

static bool has_limits(const struct smtp_server *s)
{
    return s->conf->limits;
}

static bool has_etrn(const struct smtp_server *s)
{
    return s->conf->etrn && !s->conf->lmtp;
}

static bool has_expn(const struct smtp_server *s)
{
    return s->conf->expn;
}

static bool has_xclient(const struct smtp_server *s)
{
    return s->conf->xclient;
}

static void put_size(const struct smtp_server *s, struct buf *text)
{
    buf_printf(text, " %llu", (unsigned long long)smtp_server_size_max(s));
}

static void put_by_min(const struct smtp_server *s, struct buf *text)
{
    if (s->conf->by_min_s > 0)
        buf_printf(text, " %u", (unsigned)s->conf->by_min_s);
}

/* The longest interval, and the last date as of now. */
static void put_hold(const struct smtp_server *s, struct buf *text)
{
    int64_t last_ms = smtp_server_wall_ms(s) + (int64_t)s->conf->hold_max_s * 1000;
    buf_printf(text, " %u ", (unsigned)s->conf->hold_max_s);
    date_format_rfc3339(last_ms, false, text);
}

static void put_limits(const struct smtp_server *s, struct buf *text)
{
    buf_printf(text, " RCPTMAX=%u MAILMAX=%u", (unsigned)smtp_server_rcpt_max(s),
               (unsigned)SMTP_TRANSACTIONS_MAX);
}

static void put_mechanisms(const struct smtp_server *s, struct buf *text)
{
    buf_putc(text, ' ');
    sasl_put_list(s->mechanisms, text);
}

static void put_attributes(const struct smtp_server *s, struct buf *text)
{
    UNUSED(s);
    buf_puts(text, " " XCLIENT_ATTRIBUTES);
}

struct keyword {
    const char *name;
    bool (*is_offered)(const struct smtp_server *s);
    void (*put_parameter)(const struct smtp_server *s,
                          struct buf *text); /* with a space before it; or NULL */
};

/* clang-format off */
static const struct keyword keywords[] = {
 /*  name                   offered when                 parameter */
  { "PIPELINING",          has_pipelining,              NULL },           /* RFC 2920 */
  { "SIZE",                is_always,                   put_size },       /* RFC 1870 */
  { "8BITMIME",            is_always,                   NULL },           /* RFC 6152 */
  { "ENHANCEDSTATUSCODES", is_always,                   NULL },           /* RFC 2034 */
  { "CHUNKING",            has_chunking,                NULL },           /* RFC 3030 */
  { "BINARYMIME",          smtp_server_has_binarymime,  NULL },           /* RFC 3030 */
  { "SMTPUTF8",            has_smtputf8,                NULL },           /* RFC 6531 */
  { "DSN",                 has_dsn,                     NULL },           /* RFC 3461 */
  { "DELIVERBY",           has_deliverby,               put_by_min },     /* RFC 2852 */
  { "MT-PRIORITY",         has_mt_priority,             NULL },           /* RFC 6710 */
  { "FUTURERELEASE",       has_hold,                    put_hold },       /* RFC 4865 */
  { "STARTTLS",            has_starttls,                NULL },           /* RFC 3207 */
  { "AUTH",                has_auth,                    put_mechanisms }, /* RFC 4954 */
  { "REQUIRETLS",          smtp_server_has_requiretls,  NULL },           /* RFC 8689 */
  { "LIMITS",              has_limits,                  put_limits },     /* RFC 9422 */
  { "PRDR",                has_prdr,                    NULL },           /* draft-hall-prdr */
  { "ETRN",                has_etrn,                    NULL },           /* RFC 1985 */
  { "EXPN",                has_expn,                    NULL },           /* RFC 5321 */
  { "XCLIENT",             has_xclient,                 put_attributes }, /* Postfix */
  { "HELP",                is_always,                   NULL },           /* RFC 5321 */
};
/* clang-format on */

struct str smtp_server_keyword(size_t i)
{
    return i < ARRAY_LEN(keywords) ? str_from_c(keywords[i].name) : STR_NIL;
}

static void put_keywords(const struct smtp_server *s, struct buf *text)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (!keywords[i].is_offered(s))
            continue;
        buf_putc(text, '\n');
        buf_puts(text, keywords[i].name);
        if (keywords[i].put_parameter != NULL)
            keywords[i].put_parameter(s, text);
    }
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static void hello(struct smtp_server *s, struct str name, bool esmtp)
{
    if (!is_hello_name(name)) {
        smtp_server_reply(s, R_BAD_HELO, !esmtp ? STR("HELO") : s->conf->lmtp ? STR("LHLO") : STR("EHLO"));
        return;
    }
    smtp_server_end_transaction(s); /* RFC 5321 4.1.4: as if RSET came before */
    if (s->phase != SMTP_SERVER_READY)
        smtp_server_set_phase(s, SMTP_SERVER_READY);
    s->is_esmtp = esmtp;
    s->helo_n = (uint16_t)name.n;
    memcpy(s->helo, name.p, name.n);
    char mem[1024];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_put(&text, str_slice(s->conf->hostname, 0, SMTP_DOMAIN_MAX));
    buf_puts(&text, " greets ");
    buf_put(&text, name); /* two very long names are cut when the line is written */
    if (esmtp)
        put_keywords(s, &text);
    must(!text.failed);
    smtp_server_reply(s, R_HELLO, buf_str(&text));
}

void cmd_ehlo(struct smtp_server *s, struct str arg)
{
    hello(s, arg, true);
}

void cmd_helo(struct smtp_server *s, struct str arg)
{
    hello(s, arg, false);
}
