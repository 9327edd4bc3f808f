/* service/agent/rpt_file.c: days as the octets of a file, and back. Numbers are little-endian, texts have
 * their length before them:
 *
 *   "waxwing-tls-reports 1\n"
 *   days:      1, domain, begin, length, dropped, id, due, first try, tries,
 *              places: known or not, number, each: state, URI;
 *              policies: number, each: type, domain, lines, MX patterns, good, bad,
 *                        failures: number, each: result, four texts, sessions
 *   0, CRC-32C of all before it
 *
 * Limits:   RPT_FILE_MAX; of a day those of its tally.
 * Errors:   one octet that is not as it was written makes the whole file damaged.
 * Security: all is checked when it is read: what is written there came from strangers once.
 */
#include "base/crc32c.h"
#include "ipc/lists.h"
#include "service/agent/rpt.h"
#include "wire/address.h"

#include <string.h>

enum { LISTED_MAX = MTA_STS_MX_MAX, CRC_SIZE = 4, EVERY_MIN_S = 1, EVERY_MAX_S = 86400 };

static const char magic[] = "waxwing-tls-reports 1\n";

/* ---- writing ------------------------------------------------------------------------------------------- */

static void put_list(const struct str *list, size_t n, struct buf *out)
{
    buf_put_u16(out, (uint16_t)n);
    for (size_t i = 0; i < n; i++)
        buf_put_lstr(out, list[i]);
}

static void put_policy(const struct tls_rpt_policy *p, struct buf *out)
{
    buf_put_u8(out, (uint8_t)p->type);
    put_list(p->lines, p->n_lines, out);
    put_list(p->mx, p->n_mx, out);
    buf_put_u64(out, p->n_ok);
    buf_put_u64(out, p->n_failed);
    buf_put_u16(out, (uint16_t)p->n_failures);
    for (size_t i = 0; i < p->n_failures; i++) {
        const struct tls_rpt_failure *f = &p->failures[i];
        buf_put_u8(out, (uint8_t)f->result);
        buf_put_lstr(out, f->sending_ip);
        buf_put_lstr(out, f->mx);
        buf_put_lstr(out, f->receiving_ip);
        buf_put_lstr(out, f->reason);
        buf_put_u64(out, f->n);
    }
}

static void put_day(const struct rpt_day *d, struct buf *out)
{
    buf_put_u8(out, 1);
    buf_put_lstr(out, rpt_domain(d));
    buf_put_u64(out, (uint64_t)d->begin_s);
    buf_put_u32(out, d->every_s);
    buf_put_u64(out, d->tally.n_dropped);
    buf_put_lstr(out, str_from_c(d->id));
    buf_put_u64(out, (uint64_t)d->due_s);
    buf_put_u64(out, (uint64_t)d->first_s);
    buf_put_u32(out, d->n_tries);
    buf_put_u8(out, d->places != NULL);
    buf_put_u8(out, (uint8_t)d->n_places);
    for (size_t i = 0; i < d->n_places; i++) {
        buf_put_u8(out, (uint8_t)d->places[i].state);
        buf_put_lstr(out, rpt_uri(&d->places[i]));
    }
    buf_put_u8(out, (uint8_t)d->tally.n_policies);
    for (size_t i = 0; i < d->tally.n_policies; i++)
        put_policy(&d->tally.policies[i], out);
}

bool rpt_file_put(const struct agent *a, unsigned shard, struct buf *out)
{
    size_t start = out->n;
    buf_puts(out, magic);
    list_each (l, &a->rpt->days) {
        const struct rpt_day *d = list_entry(l, struct rpt_day, link);
        if (d->shard == shard)
            put_day(d, out);
    }
    buf_put_u8(out, 0);
    if (!out->failed)
        buf_put_u32(out, crc32c(0, out->p + start, out->n - start));
    return !out->failed;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static bool read_list(struct reader *r, struct str *list, size_t *out_n)
{
    size_t n = read_u16(r);
    if (n > LISTED_MAX)
        return false;
    for (size_t i = 0; i < n && !r->failed; i++)
        list[i] = read_lstr(r);
    *out_n = n;
    return !r->failed;
}

static bool read_failures(struct reader *r, struct tls_rpt_failure *list, size_t *out_n)
{
    size_t n = read_u16(r);
    if (n > TLS_RPT_FAILURES_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t result = read_u8(r);
        list[i] = (struct tls_rpt_failure){.result = (enum tls_rpt_result)result};
        list[i].sending_ip = read_lstr(r);
        list[i].mx = read_lstr(r);
        list[i].receiving_ip = read_lstr(r);
        list[i].reason = read_lstr(r);
        list[i].n = read_u64(r);
        if (r->failed || result >= TLS_RPT_OTHER)
            return false;
    }
    *out_n = n;
    return !r->failed;
}

static bool read_policy(struct reader *r, struct rpt_day *d)
{
    struct str lines[LISTED_MAX], mx[LISTED_MAX];
    struct tls_rpt_failure failures[TLS_RPT_FAILURES_MAX];
    uint8_t type = read_u8(r);
    struct tls_rpt_policy p = {.type = (enum tls_rpt_type)type,
                               .domain = rpt_domain(d),
                               .lines = lines,
                               .mx = mx,
                               .failures = failures};
    if (type >= TLS_RPT_TYPE_OTHER || !read_list(r, lines, &p.n_lines) || !read_list(r, mx, &p.n_mx))
        return false;
    p.n_ok = read_u64(r);
    p.n_failed = read_u64(r);
    return read_failures(r, failures, &p.n_failures) && tls_rpt_tally_restore(&d->tally, &p);
}

static bool read_places(struct reader *r, struct rpt_day *d)
{
    bool is_known = read_u8(r) == 1;
    size_t n = read_u8(r);
    if (r->failed || n > TLS_RPT_RUA_MAX || (!is_known && n > 0) || (is_known && !rpt_places_new(d, n)))
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t state = read_u8(r);
        struct str uri = read_lstr(r);
        if (r->failed || state >= PLACE_STATES || uri.n == 0 || uri.n > RPT_URI_MAX)
            return false;
        rpt_place_add(d, uri, (enum rpt_place_state)state);
    }
    return true;
}

static bool read_id(struct reader *r, struct rpt_day *d)
{
    struct str id = read_lstr(r);
    for (size_t i = 0; i < id.n; i++) {
        if (ascii_hex_value(id.p[i]) < 0)
            return false;
    }
    return (id.n == 0 || id.n == RPT_ID) && str_to_c(id, d->id, sizeof d->id);
}

/* Seconds since 1970. */
static bool read_time(struct reader *r, int64_t *out)
{
    uint64_t s = read_u64(r);
    *out = (int64_t)(s & (INT64_MAX / 4));
    return s <= INT64_MAX / 4;
}

static bool read_rest(struct reader *r, struct rpt_day *d)
{
    d->tally.n_dropped = read_u64(r);
    if (!read_id(r, d) || !read_time(r, &d->due_s) || !read_time(r, &d->first_s))
        return false;
    d->n_tries = read_u32(r);
    if (!read_places(r, d) || (d->places != NULL) != (d->id[0] != '\0'))
        return false;
    size_t n = read_u8(r);
    bool ok = !r->failed && n <= TLS_RPT_POLICIES_MAX;
    for (size_t i = 0; ok && i < n; i++)
        ok = read_policy(r, d);
    return ok;
}

static bool read_day(struct agent *a, struct reader *r)
{
    int64_t begin_s;
    struct str domain = read_lstr(r);
    bool ok = read_time(r, &begin_s);
    uint32_t every_s = read_u32(r);
    if (!ok || r->failed || domain.n >= DNS_NAME_MAX || !domain_is_valid(domain, false) ||
        every_s < EVERY_MIN_S || every_s > EVERY_MAX_S || begin_s % every_s != 0)
        return false;
    struct rpt_day *d = rpt_day_new(a, domain, begin_s, every_s);
    if (d == NULL)
        return false;
    if (!read_rest(r, d)) {
        rpt_day_del(d);
        return false;
    }
    if (d->due_s > 0)
        rpt_day_set(d, DAY_WAITING);
    return true;
}

bool rpt_file_take(struct agent *a, struct str octets)
{
    if (octets.n < CRC_SIZE || !str_starts(octets, str_from_c(magic)))
        return false;
    struct str body = str_slice(octets, 0, octets.n - CRC_SIZE);
    if (get_u32_at(octets.p + body.n) != crc32c(0, body.p, body.n))
        return false;
    struct reader r = reader_of(str_skip(body, strlen(magic)));
    uint8_t more = read_u8(&r);
    while (more == 1 && read_day(a, &r))
        more = read_u8(&r);
    return more == 0 && reader_done(&r);
}
