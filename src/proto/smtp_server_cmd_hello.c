/* proto/smtp_server_cmd_hello.c: EHLO, HELO and LHLO, and the table of what EHLO offers (RFC 5321 4.1.1.1,
 * 2033 4.1). */
#include "base/limits.h"
#include "proto/smtp_server_cmd.h"

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

static bool is_always(const struct smtp_server_conf *c)
{
    UNUSED(c);
    return true;
}

static bool has_pipelining(const struct smtp_server_conf *c)
{
    return !c->no_pipelining;
}

static bool has_chunking(const struct smtp_server_conf *c)
{
    return !c->no_chunking;
}

static bool has_smtputf8(const struct smtp_server_conf *c)
{
    return !c->no_smtputf8;
}

struct keyword {
    const char *name;
    bool (*is_offered)(const struct smtp_server_conf *c);
    bool has_size; /* followed by the size limit */
};

/* clang-format off */
static const struct keyword keywords[] = {
 /*  name                   offered when     parameter */
  { "PIPELINING",          has_pipelining,  false }, /* RFC 2920 */
  { "SIZE",                is_always,       true  }, /* RFC 1870 */
  { "8BITMIME",            is_always,       false }, /* RFC 6152 */
  { "ENHANCEDSTATUSCODES", is_always,       false }, /* RFC 2034 */
  { "CHUNKING",            has_chunking,    false }, /* RFC 3030 */
  { "SMTPUTF8",            has_smtputf8,    false }, /* RFC 6531 */
  { "HELP",                is_always,       false }, /* RFC 5321 */
};
/* clang-format on */

struct str smtp_server_keyword(size_t i)
{
    return i < ARRAY_LEN(keywords) ? str_from_c(keywords[i].name) : STR_NIL;
}

static void put_keywords(const struct smtp_server *s, struct buf *text)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (!keywords[i].is_offered(s->conf))
            continue;
        buf_putc(text, '\n');
        buf_puts(text, keywords[i].name);
        if (keywords[i].has_size)
            buf_printf(text, " %llu", (unsigned long long)smtp_server_size_max(s));
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
