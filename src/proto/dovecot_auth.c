#include "proto/dovecot_auth.h"

#include "crypto/secret.h"
#include "proto/sasl_text.h"

#include <string.h>

enum { MAJOR_VERSION = 1 };

void dovecot_auth_init(struct dovecot_auth *d)
{
    *d = (struct dovecot_auth){.n_line = 0};
}

/* ---- what the server says ---------------- */

static struct dovecot_event broken(struct dovecot_auth *d, struct str why)
{
    d->is_broken = true;
    return (struct dovecot_event){.kind = DOVECOT_BROKEN, .why = why};
}

/* Tabs part the words of a line, so \001 and a letter stand for what a word may not hold. In place: what
 * comes out is never longer. */
static struct str unescape(struct str word, char *mem)
{
    static const char from[] = "01trn", to[] = "\0\1\t\r\n";
    size_t n = 0;
    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];
        if (c == '\1' && i + 1 < word.n) {
            size_t at = str_chr(str_from_c(from), word.p[++i]);
            c = at == STR_NPOS ? word.p[i] : to[at];
        }
        mem[n++] = c;
    }
    return str_of(mem, n);
}

static struct str text_of(struct str word, struct dovecot_auth *d)
{
    return unescape(word, d->line + (word.p - d->line));
}

static struct dovecot_event on_version(struct dovecot_auth *d, struct str words)
{
    uint64_t major;
    if (!str_to_u64(str_cut(&words, '\t'), UINT32_MAX, &major) || major != MAJOR_VERSION)
        return broken(d, STR("it speaks another version of the protocol"));
    d->has_version = true;
    return (struct dovecot_event){.kind = DOVECOT_MORE};
}

static struct dovecot_event on_done(struct dovecot_auth *d)
{
    if (!d->has_plain)
        return broken(d, STR("it does not offer PLAIN"));
    d->is_ready = true;
    return (struct dovecot_event){.kind = DOVECOT_READY};
}

/* Before DONE. Words that are not known are of later minor versions. */
static struct dovecot_event greeting(struct dovecot_auth *d, struct str command, struct str words)
{
    if (str_eq(command, STR("VERSION")))
        return on_version(d, words);
    if (!d->has_version)
        return broken(d, STR("it does not begin with its version"));
    if (str_eq(command, STR("MECH")) && str_ieq(str_cut(&words, '\t'), STR("PLAIN")))
        d->has_plain = true;
    if (str_eq(command, STR("OK")) || str_eq(command, STR("FAIL")) || str_eq(command, STR("CONT")))
        return broken(d, STR("it answers what was not asked"));
    if (str_eq(command, STR("DONE")))
        return on_done(d);
    return (struct dovecot_event){.kind = DOVECOT_MORE};
}

static void read_words(struct dovecot_auth *d, struct str words, struct dovecot_event *out)
{
    while (words.n > 0) {
        struct str word = str_cut(&words, '\t');
        if (str_eq(word, STR("temp")) || str_eq(word, STR("code=temp_fail")))
            out->verdict = out->verdict == DOVECOT_NO ? DOVECOT_LATER : out->verdict;
        else if (str_starts(word, STR("user=")))
            out->user = text_of(str_skip(word, 5), d);
        else if (str_starts(word, STR("reason=")))
            out->why = str_slice(text_of(str_skip(word, 7), d), 0, DOVECOT_WHY_MAX);
    }
}

static struct dovecot_event answer(struct dovecot_auth *d, struct str command, struct str words)
{
    struct dovecot_event e = {.kind = DOVECOT_ANSWER};
    uint64_t id;
    bool is_ok = str_eq(command, STR("OK")), asks_on = str_eq(command, STR("CONT"));
    if (!is_ok && !asks_on && !str_eq(command, STR("FAIL")))
        return (struct dovecot_event){.kind = DOVECOT_MORE};
    if (!str_to_u64(str_cut(&words, '\t'), UINT32_MAX, &id) || id == 0)
        return broken(d, STR("it answers without a number"));
    e.id = (uint32_t)id;
    e.verdict = is_ok ? DOVECOT_YES : DOVECOT_NO;
    if (asks_on) {
        e.verdict = DOVECOT_LATER;
        e.why = STR("it wants more than PLAIN has");
        return e;
    }
    read_words(d, words, &e);
    if (is_ok && !sasl_is_text_up_to(e.user, SASL_NAME_MAX)) {
        e.verdict = DOVECOT_LATER;
        e.why = STR("the user that it names has no name that a mail server can know");
    }
    if (e.verdict != DOVECOT_YES)
        e.user = STR_NIL;
    return e;
}

static struct dovecot_event on_line(struct dovecot_auth *d)
{
    struct str words = str_of(d->line, d->n_line), command;
    d->n_line = 0; /* its octets stay until the next call */
    command = str_cut(&words, '\t');
    return d->is_ready ? answer(d, command, words) : greeting(d, command, words);
}

struct dovecot_event dovecot_auth_feed(struct dovecot_auth *d, struct str *in)
{
    struct dovecot_event e = {.kind = DOVECOT_MORE};
    while (in->n > 0 && !d->is_broken && e.kind == DOVECOT_MORE) {
        char c = in->p[0];
        *in = str_skip(*in, 1);
        if (c == '\n')
            e = on_line(d);
        else if (d->n_line == sizeof d->line)
            e = broken(d, STR("a line of it is too long"));
        else
            d->line[d->n_line++] = c;
    }
    if (d->is_broken && e.kind != DOVECOT_BROKEN)
        e = broken(d, STR("it was broken before"));
    return e;
}

/* ---- what we say ---------------- */

void dovecot_put_hello(struct buf *out, uint32_t pid)
{
    buf_printf(out, "VERSION\t%d\t1\nCPID\t%u\n", MAJOR_VERSION, (unsigned)pid);
}

/* NUL user NUL password: to log in as himself (RFC 4616 2). */
static bool put_plain(struct buf *out, const struct dovecot_question *q)
{
    char mem[DOVECOT_PLAIN_MAX];
    struct buf plain;
    buf_init_fixed(&plain, mem, sizeof mem);
    buf_putc(&plain, '\0');
    buf_put(&plain, q->user);
    buf_putc(&plain, '\0');
    buf_put(&plain, q->password);
    bool ok = !plain.failed && base64_put(out, buf_str(&plain));
    secret_wipe(mem, sizeof mem);
    return ok;
}

bool dovecot_put_question(struct buf *out, const struct dovecot_question *q)
{
    size_t start = out->n;
    if (str_chr(q->user, '\0') != STR_NPOS || str_chr(q->password, '\0') != STR_NPOS ||
        str_has_ctl(q->client) || q->client.n > DOVECOT_CLIENT_MAX)
        return false;
    /* nologin: nobody asks for his mailbox after; secured: cleartext is in order */
    buf_printf(out, "AUTH\t%u\tPLAIN\tservice=smtp\tnologin\tsecured", (unsigned)q->id);
    if (q->client.n > 0)
        buf_printf(out, "\trip=%.*s", STR_FMT(q->client));
    buf_puts(out, "\tresp="); /* the last of all */
    bool ok = put_plain(out, q) && buf_putc(out, '\n') && !out->failed;
    if (!ok && out->n > start) {
        secret_wipe(out->p + start, out->n - start);
        out->n = start;
    }
    return ok;
}
