#include "wire/received.h"

#include "base/limits.h"
#include "base/queue_id.h"
#include "wire/date.h"
#include "wire/utf8.h"

enum { COLUMNS_MAX = 77 };

struct str received_with(bool esmtp, bool lmtp, bool tls, bool auth, bool utf8)
{
    /* [lmtp][utf8][tls][auth] */
    static const char *const words[2][2][2][2] = {
        {{{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
         {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}}},
        {{{"LMTP", "LMTPA"}, {"LMTPS", "LMTPSA"}}, {{"UTF8LMTP", "UTF8LMTPA"}, {"UTF8LMTPS", "UTF8LMTPSA"}}},
    };
    if (!esmtp && !lmtp)
        return STR("SMTP");
    return str_from_c(words[lmtp][utf8][tls][auth]);
}

/* The field while it grows: words with a space or a fold between. */
struct field {
    struct buf *out;
    size_t column;
};

static void put_word(struct field *f, struct str word, bool new_line)
{
    if (new_line || f->column + 1 + word.n > COLUMNS_MAX) {
        buf_put(f->out, STR("\r\n\t"));
        f->column = 1;
    } else {
        buf_putc(f->out, ' ');
        f->column++;
    }
    buf_put(f->out, word);
    f->column += word.n;
}

/* Two words that stay together when the line has room for them. */
static void put_pair(struct field *f, struct str key, struct str value, bool new_line)
{
    put_word(f, key, new_line || f->column + 2 + key.n + value.n > COLUMNS_MAX);
    put_word(f, value, false);
}

static bool is_name_octet(char c)
{
    return ascii_is_alnum(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
}

/* A host name or literal that someone else chose: it must not end a comment, a clause or the field. */
static void put_name(struct buf *out, struct str s, bool utf8)
{
    s = str_slice(s, 0, SMTP_DOMAIN_MAX);
    for (size_t i = 0; i < s.n;) {
        uint32_t code;
        size_t n = utf8_next(str_skip(s, i), &code);
        if (n > 1 && utf8 && code >= 0xa0) {
            buf_put(out, str_slice(s, i, i + n));
        } else {
            buf_putc(out, is_name_octet(s.p[i]) ? s.p[i] : '?');
            n = n == 0 ? 1 : n;
        }
        i += n;
    }
}

/* "(name [192.0.2.1])", TCP-info of RFC 5321 4.4. */
static void put_client(struct field *f, const struct received *r, bool utf8)
{
    char mem[SMTP_DOMAIN_MAX + 2 + NETADDR_TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_putc(&b, '(');
    if (r->client_name.n > 0) {
        put_name(&b, r->client_name, utf8);
        put_word(f, buf_str(&b), false);
        buf_reset(&b);
    }
    buf_puts(&b, r->client->kind == NETADDR_IP6 ? "[IPv6:" : "[");
    netaddr_format_ip(r->client, &b);
    buf_puts(&b, "])");
    put_word(f, buf_str(&b), false);
}

/* "(uid 1000)": no name, since names change hands. "(unknown)": a proxy could not say who it is. */
static void put_local(struct field *f, const struct received *r)
{
    if (r->client != NULL && r->client->kind == NETADDR_NONE) {
        put_word(f, STR("(unknown)"), false);
        return;
    }
    char mem[32];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (r->has_uid)
        buf_printf(&b, "(uid %u)", (unsigned)r->uid);
    put_word(f, r->has_uid ? buf_str(&b) : STR("(local)"), false);
}

static void put_from(struct field *f, const struct received *r, bool utf8)
{
    char mem[SMTP_DOMAIN_MAX];
    struct buf b;
    bool has_ip = r->client != NULL && (r->client->kind == NETADDR_IP4 || r->client->kind == NETADDR_IP6);
    bool is_local = r->client == NULL || r->client->kind == NETADDR_UNIX;
    buf_init_fixed(&b, mem, sizeof mem);
    put_name(&b, r->helo.n > 0 ? r->helo : is_local ? STR("localhost") : STR("unknown"), utf8);
    put_pair(f, STR("from"), buf_str(&b), false);
    if (has_ip)
        put_client(f, r, utf8);
    else
        put_local(f, r);
}

/* "for <a@b>;". False, and the ";" is owed by the caller, when there is no recipient that may stand there. */
static bool put_for(struct field *f, struct str rcpt, bool utf8)
{
    char mem[SMTP_PATH_MAX + 4];
    struct buf b;
    if (rcpt.n == 0 || str_has_ctl(rcpt) || !utf8_is_valid(rcpt) || (!utf8 && !str_is_ascii(rcpt)))
        return false;
    buf_init_fixed(&b, mem, sizeof mem);
    if (!buf_putc(&b, '<') || !buf_put(&b, rcpt) || !buf_puts(&b, ">;"))
        return false;
    put_pair(f, STR("for"), buf_str(&b), true);
    return true;
}

void received_format(const struct received *r, struct buf *out)
{
    char mem[SMTP_DOMAIN_MAX + 64];
    struct buf b;
    struct field f = {out, 0};
    bool utf8 = str_starts(r->with, STR("UTF8"));
    buf_puts(out, "Received:");
    f.column = 9;
    if (!r->hides_client)
        put_from(&f, r, utf8);
    buf_init_fixed(&b, mem, sizeof mem);
    put_name(&b, r->by, utf8);
    put_pair(&f, STR("by"), buf_str(&b), !r->hides_client);
    put_word(&f, STR("(Waxwing)"), false);
    put_pair(&f, STR("with"), r->with, false);
    buf_reset(&b);
    queue_id_format(r->queue_id, &b);
    put_pair(&f, STR("id"), buf_str(&b), false);
    if (!put_for(&f, r->for_rcpt, utf8))
        buf_putc(out, ';');
    buf_reset(&b);
    date_format_rfc5322(r->unix_s, &b);
    put_word(&f, buf_str(&b), true);
    buf_put(out, STR("\r\n"));
}
