#include "verify/tls_rpt.h"

#include "base/log.h"
#include "wire/date.h"

#include <string.h>

/* ---- words --------------------------------------------------------------------------------------------- */

const char *tls_rpt_result_word(enum tls_rpt_result r)
{
    static const char *const words[TLS_RPT_RESULTS_N] = {
#define X(NAME, word) [TLS_RPT_##NAME] = word,
        TLS_RPT_RESULTS(X)
#undef X
            [TLS_RPT_OTHER] = "other",
    };
    return (unsigned)r < TLS_RPT_RESULTS_N ? words[r] : "other";
}

enum tls_rpt_result tls_rpt_result_parse(struct str word)
{
    enum tls_rpt_result r = 0;
    while (r < TLS_RPT_OTHER && !str_ieq(word, str_from_c(tls_rpt_result_word(r))))
        r++;
    return r;
}

const char *tls_rpt_type_word(enum tls_rpt_type t)
{
    static const char *const words[TLS_RPT_TYPES_N] = {"no-policy-found", "tlsa", "sts", "other"};
    return (unsigned)t < TLS_RPT_TYPES_N ? words[t] : "other";
}

enum tls_rpt_type tls_rpt_type_parse(struct str word)
{
    enum tls_rpt_type t = 0;
    while (t < TLS_RPT_TYPE_OTHER && !str_ieq(word, str_from_c(tls_rpt_type_word(t))))
        t++;
    return t;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *key, struct str value)
{
    buf_printf(out, "\"%s\":", key);
    log_quote(out, value);
}

/* With a comma behind it; nothing when there is nothing to tell. */
static void put_option(struct buf *out, const char *key, struct str value)
{
    if (value.n == 0)
        return;
    put_text(out, key, value);
    buf_putc(out, ',');
}

static void put_date(struct buf *out, const char *key, int64_t unix_s)
{
    buf_printf(out, "\"%s\":\"", key);
    date_format_rfc3339(unix_s * 1000, false, out);
    buf_putc(out, '"');
}

static void put_list(struct buf *out, const char *key, const struct str *list, size_t n)
{
    if (n == 0)
        return;
    buf_printf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i > 0 ? "," : "");
        log_quote(out, list[i]);
    }
    buf_puts(out, "],");
}

static void put_failure(struct buf *out, const struct tls_rpt_failure *f)
{
    buf_printf(out, "{\"result-type\":\"%s\",", tls_rpt_result_word(f->result));
    put_option(out, "sending-mta-ip", f->sending_ip);
    put_option(out, "receiving-mx-hostname", f->mx);
    put_option(out, "receiving-mx-helo", f->helo);
    put_option(out, "receiving-ip", f->receiving_ip);
    put_option(out, "additional-information", f->info);
    put_option(out, "failure-reason-code", f->reason);
    buf_printf(out, "\"failed-session-count\":%llu}", (unsigned long long)f->n);
}

static void put_policy(struct buf *out, const struct tls_rpt_policy *p)
{
    buf_printf(out, "{\"policy\":{\"policy-type\":\"%s\",", tls_rpt_type_word(p->type));
    put_list(out, "policy-string", p->lines, p->n_lines);
    put_list(out, "mx-host", p->mx, p->n_mx);
    put_text(out, "policy-domain", p->domain);
    buf_printf(out,
               "},\"summary\":{\"total-successful-session-count\":%llu,\"total-failure-session-count\":%llu}",
               (unsigned long long)p->n_ok, (unsigned long long)p->n_failed);
    if (p->n_failures > 0) {
        buf_puts(out, ",\"failure-details\":[");
        for (size_t i = 0; i < p->n_failures; i++) {
            buf_puts(out, i > 0 ? "," : "");
            put_failure(out, &p->failures[i]);
        }
        buf_putc(out, ']');
    }
    buf_putc(out, '}');
}

bool tls_rpt_write(const struct tls_rpt_report *r, struct buf *out)
{
    buf_putc(out, '{');
    put_text(out, "organization-name", r->organization);
    buf_puts(out, ",\"date-range\":{");
    put_date(out, "start-datetime", r->begin_s);
    buf_putc(out, ',');
    put_date(out, "end-datetime", r->end_s);
    buf_puts(out, "},");
    put_text(out, "contact-info", r->contact);
    buf_putc(out, ',');
    put_text(out, "report-id", r->id);
    buf_puts(out, ",\"policies\":[");
    for (size_t i = 0; i < r->n_policies; i++) {
        buf_puts(out, i > 0 ? "," : "");
        put_policy(out, &r->policies[i]);
    }
    buf_puts(out, "]}\n");
    return !out->failed;
}

void tls_rpt_file_name(struct str sender, struct str domain, int64_t begin_s, int64_t end_s, struct str id,
                       bool is_gzip, struct buf *out)
{
    buf_put(out, sender);
    buf_putc(out, '!');
    buf_put(out, domain);
    buf_printf(out, "!%lld!%lld", (long long)begin_s, (long long)end_s);
    if (id.n > 0) {
        buf_putc(out, '!');
        buf_put(out, id);
    }
    buf_puts(out, is_gzip ? ".json.gz" : ".json");
}

/* ---- counting ------------------------------------------------------------------------------------------ */

void tls_rpt_tally_init(struct tls_rpt_tally *t, struct arena *a)
{
    memset(t, 0, sizeof *t);
    t->arena = a;
}

static bool same_list(const struct str *a, size_t n_a, const struct str *b, size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++) {
        if (!str_eq(a[i], b[i]))
            return false;
    }
    return true;
}

static bool same_policy(const struct tls_rpt_policy *a, const struct tls_rpt_policy *b)
{
    return a->type == b->type && str_ieq(a->domain, b->domain) &&
           same_list(a->lines, a->n_lines, b->lines, b->n_lines) && same_list(a->mx, a->n_mx, b->mx, b->n_mx);
}

static bool same_failure(const struct tls_rpt_failure *a, const struct tls_rpt_failure *b)
{
    return a->result == b->result && str_eq(a->sending_ip, b->sending_ip) && str_ieq(a->mx, b->mx) &&
           str_eq(a->helo, b->helo) && str_eq(a->receiving_ip, b->receiving_ip) && str_eq(a->info, b->info) &&
           str_eq(a->reason, b->reason);
}

static bool copy_list(struct arena *a, const struct str *list, size_t n, const struct str **out)
{
    if (n == 0)
        return true;
    struct str *copy = arena_alloc_array(a, n, sizeof *copy);
    bool ok = copy != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = arena_str(a, list[i], &copy[i]);
    *out = copy;
    return ok;
}

static struct tls_rpt_policy *find_policy(struct tls_rpt_tally *t, const struct tls_rpt_policy *p)
{
    for (size_t i = 0; i < t->n_policies; i++) {
        if (same_policy(&t->policies[i], p))
            return &t->policies[i];
    }
    if (t->n_policies == TLS_RPT_POLICIES_MAX)
        return NULL;
    struct tls_rpt_policy *mine = &t->policies[t->n_policies];
    *mine = (struct tls_rpt_policy){.type = p->type, .n_lines = p->n_lines, .n_mx = p->n_mx};
    if (!arena_str(t->arena, p->domain, &mine->domain) ||
        !copy_list(t->arena, p->lines, p->n_lines, &mine->lines) ||
        !copy_list(t->arena, p->mx, p->n_mx, &mine->mx))
        return NULL;
    t->n_policies++;
    return mine;
}

/* One more row. false: no room. */
static bool new_failure(struct arena *a, struct tls_rpt_policy *p, const struct tls_rpt_failure *f,
                        uint64_t n)
{
    if (p->failures == NULL) /* most policies never need it */
        p->failures = arena_alloc_array(a, TLS_RPT_FAILURES_MAX, sizeof *p->failures);
    if (p->failures == NULL || p->n_failures == TLS_RPT_FAILURES_MAX)
        return false;
    struct tls_rpt_failure mine = {.result = f->result, .n = n};
    if (!arena_str(a, f->sending_ip, &mine.sending_ip) || !arena_str(a, f->mx, &mine.mx) ||
        !arena_str(a, f->helo, &mine.helo) || !arena_str(a, f->receiving_ip, &mine.receiving_ip) ||
        !arena_str(a, f->info, &mine.info) || !arena_str(a, f->reason, &mine.reason))
        return false;
    p->failures[p->n_failures++] = mine;
    return true;
}

static bool add_failure(struct arena *a, struct tls_rpt_policy *p, const struct tls_rpt_failure *f)
{
    for (size_t i = 0; i < p->n_failures; i++) {
        if (same_failure(&p->failures[i], f)) {
            p->failures[i].n++;
            return true;
        }
    }
    return new_failure(a, p, f, 1);
}

void tls_rpt_tally_add(struct tls_rpt_tally *t, const struct tls_rpt_policy *p,
                       const struct tls_rpt_failure *f)
{
    struct tls_rpt_policy *mine = find_policy(t, p);
    if (mine == NULL) {
        t->n_dropped++;
    } else if (f == NULL) {
        mine->n_ok++;
    } else {
        mine->n_failed++;
        if (!add_failure(t->arena, mine, f))
            t->n_dropped++;
    }
}

bool tls_rpt_tally_restore(struct tls_rpt_tally *t, const struct tls_rpt_policy *p)
{
    size_t before = t->n_policies;
    struct tls_rpt_policy *mine = find_policy(t, p);
    bool ok = mine != NULL && t->n_policies > before;
    for (size_t i = 0; ok && i < p->n_failures; i++)
        ok = new_failure(t->arena, mine, &p->failures[i], p->failures[i].n);
    if (ok) {
        mine->n_ok = p->n_ok;
        mine->n_failed = p->n_failed;
    }
    return ok;
}
