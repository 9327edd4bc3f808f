/* ext/dns_packet.c: see the header. Names are compared in wire form, lower case. */
#include "ext/dns_packet.h"

#include <string.h>

enum { HEADER = 12, TYPE_SOA = 6, CLASS_IN = 1, RDATA_BYTES_MAX = 256 * 1024 };

struct name { /* uncompressed wire form, ASCII folded */
    size_t n;
    unsigned char p[DNS_WIRE_NAME_MAX];
};
struct record {
    size_t owner; /* offset of its name in the packet */
    uint16_t type, class;
    uint32_t ttl_s;
    size_t rdata, n_rdata; /* offset, octets */
};
struct walk {
    struct str packet;
    size_t at;
};

static unsigned octet(struct str packet, size_t at)
{
    return (unsigned char)packet.p[at];
}

static bool take_u16(struct walk *w, uint16_t *out)
{
    if (w->packet.n - w->at < 2)
        return false;
    *out = (uint16_t)(octet(w->packet, w->at) << 8 | octet(w->packet, w->at + 1));
    w->at += 2;
    return true;
}

static bool take_u32(struct walk *w, uint32_t *out)
{
    uint16_t high, low;
    if (!take_u16(w, &high) || !take_u16(w, &low))
        return false;
    *out = (uint32_t)high << 16 | low;
    return true;
}

/* The name at w->at, pointers followed, into out (NULL: only skipped); w->at moves behind it. Each pointer
 * must point before the place where the labels it ends began, so the walk ends. */
static bool take_name(struct walk *w, struct name *out)
{
    size_t at = w->at, floor = w->at, n = 0;
    bool jumped = false;
    for (;;) {
        if (at >= w->packet.n)
            return false;
        unsigned c = octet(w->packet, at);
        if (c >= 0xc0) {
            if (at + 1 >= w->packet.n)
                return false;
            size_t to = (c & 0x3f) << 8 | octet(w->packet, at + 1);
            if (!jumped)
                w->at = at + 2;
            jumped = true;
            if (to >= floor)
                return false;
            at = floor = to;
            continue;
        }
        if (c > 63 || w->packet.n - at < c + 1 || n + c + 1 > DNS_WIRE_NAME_MAX)
            return false;
        if (out != NULL) {
            out->p[n] = (unsigned char)c;
            for (unsigned i = 1; i <= c; i++)
                out->p[n + i] = (unsigned char)ascii_lower(w->packet.p[at + i]);
        }
        n += c + 1;
        at += c + 1;
        if (c == 0)
            break;
    }
    if (!jumped)
        w->at = at;
    if (out != NULL)
        out->n = n;
    return true;
}

static bool take_record(struct walk *w, struct record *out)
{
    uint16_t n;
    out->owner = w->at;
    if (!take_name(w, NULL) || !take_u16(w, &out->type) || !take_u16(w, &out->class) ||
        !take_u32(w, &out->ttl_s) || !take_u16(w, &n) || w->packet.n - w->at < n)
        return false;
    if ((out->ttl_s & 0x80000000) != 0) /* RFC 2181 8 */
        out->ttl_s = 0;
    out->rdata = w->at;
    out->n_rdata = n;
    w->at += n;
    return true;
}

static bool name_at(struct str packet, size_t at, struct name *out)
{
    struct walk w = {packet, at};
    return take_name(&w, out);
}

/* A name that fills a record's data from `skip` octets on to its end. */
static bool name_in(struct str packet, const struct record *r, size_t skip, struct name *out)
{
    if (r->n_rdata <= skip)
        return false;
    struct walk w = {str_slice(packet, 0, r->rdata + r->n_rdata), r->rdata + skip};
    return take_name(&w, out) && w.at == r->rdata + r->n_rdata;
}

static bool name_eq(const struct name *a, const struct name *b)
{
    return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

static void least(uint32_t *ttl_s, uint32_t v, bool *is_set)
{
    if (!*is_set || v < *ttl_s)
        *ttl_s = v;
    *is_set = true;
}

/* Record data without compression: only the types of RFC 1035 may hold it, and of those these are asked for.
 */
static bool put_rdata(struct buf *out, struct str packet, const struct record *r)
{
    struct name name;
    size_t skip = r->type == DNS_MX ? 2 : 0;
    if (r->type != DNS_MX && r->type != DNS_CNAME)
        return buf_put(out, str_of(packet.p + r->rdata, r->n_rdata));
    if (!name_in(packet, r, skip, &name))
        return false;
    return buf_put(out, str_of(packet.p + r->rdata, skip)) && buf_put(out, str_of(name.p, name.n));
}

struct section {
    size_t n;
    struct record r[DNS_RECORDS_MAX];
};

static bool take_section(struct walk *w, unsigned count, struct section *out)
{
    out->n = 0;
    for (unsigned i = 0; i < count; i++) {
        struct record r;
        if (!take_record(w, &r))
            return false;
        if (r.class == CLASS_IN && out->n < DNS_RECORDS_MAX)
            out->r[out->n++] = r;
    }
    return true;
}

/* Moves *name along one CNAME; false when there is none. */
static bool follow(struct str packet, const struct section *s, struct name *name, uint32_t *ttl_s,
                   bool *has_ttl)
{
    for (size_t i = 0; i < s->n; i++) {
        struct name owner, target;
        if (s->r[i].type != DNS_CNAME || !name_at(packet, s->r[i].owner, &owner) || !name_eq(&owner, name))
            continue;
        if (!name_in(packet, &s->r[i], 0, &target))
            return false;
        least(ttl_s, s->r[i].ttl_s, has_ttl);
        *name = target;
        return true;
    }
    return false;
}

/* The records of type at name; false without memory or when one is malformed. */
static bool collect(struct dns_packet *p, struct str packet, const struct section *s, enum dns_type type,
                    const struct name *name, bool *has_ttl)
{
    size_t ends[DNS_RECORDS_MAX];
    for (size_t i = 0; i < s->n; i++) {
        struct name owner;
        if (s->r[i].type != type || !name_at(packet, s->r[i].owner, &owner) || !name_eq(&owner, name))
            continue;
        if (!put_rdata(&p->bytes, packet, &s->r[i]))
            return false;
        least(&p->ttl_s, s->r[i].ttl_s, has_ttl);
        ends[p->n_rdata++] = p->bytes.n;
    }
    for (size_t i = 0, from = 0; i < p->n_rdata; from = ends[i++])
        p->rdata[i] = str_slice(buf_str(&p->bytes), from, ends[i]);
    return true;
}

/* RFC 2308 5: the lesser of the SOA's own time and its last field. */
static void negative_ttl(struct dns_packet *p, struct str packet, const struct section *s, bool *has_ttl)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct record *r = &s->r[i];
        if (r->type != TYPE_SOA || r->n_rdata < 4)
            continue;
        struct walk w = {packet, r->rdata + r->n_rdata - 4};
        uint32_t minimum;
        if (take_u32(&w, &minimum)) {
            least(&p->ttl_s, r->ttl_s, has_ttl);
            least(&p->ttl_s, minimum, has_ttl);
        }
        return;
    }
}

static void name_text(const struct name *name, char *out, size_t cap)
{
    struct buf b;
    struct str rest;
    buf_init_fixed(&b, out, cap - 1);
    if (!dnsname_decode(str_of(name->p, name->n), &b, &rest))
        b.n = 0;
    out[b.n] = 0;
}

void dns_packet_init(struct dns_packet *p)
{
    *p = (struct dns_packet){0};
    buf_init(&p->bytes, RDATA_BYTES_MAX);
}

void dns_packet_fini(struct dns_packet *p)
{
    buf_fini(&p->bytes);
}

static bool read_into(struct dns_packet *p, struct str packet, enum dns_type type)
{
    struct walk w = {packet, 0};
    uint16_t id, flags, n_questions, n_answers, n_authority, n_additional, asked_type, asked_class;
    struct name name;
    struct section s;
    if (!take_u16(&w, &id) || !take_u16(&w, &flags) || !take_u16(&w, &n_questions) ||
        !take_u16(&w, &n_answers) || !take_u16(&w, &n_authority) || !take_u16(&w, &n_additional))
        return false;
    if ((flags & 0x8000) == 0 || n_questions != 1 || !take_name(&w, &name) || !take_u16(&w, &asked_type) ||
        !take_u16(&w, &asked_class) || asked_type != type || asked_class != CLASS_IN)
        return false;
    p->rcode = flags & 15;
    if (!take_section(&w, n_answers, &s))
        return false;
    bool has_ttl = false;
    for (int i = 0; type != DNS_CNAME && i < DNS_CHAIN_MAX; i++) {
        if (!follow(packet, &s, &name, &p->ttl_s, &has_ttl))
            break;
    }
    if (!collect(p, packet, &s, type, &name, &has_ttl))
        return false;
    name_text(&name, p->canonical, sizeof p->canonical);
    if (p->n_rdata > 0)
        return true;
    if (!take_section(&w, n_authority, &s))
        return false;
    negative_ttl(p, packet, &s, &has_ttl);
    return true;
}

bool dns_packet_read(struct dns_packet *p, struct str packet, enum dns_type type)
{
    p->rcode = 0;
    p->ttl_s = 0;
    p->n_rdata = 0;
    p->canonical[0] = 0;
    buf_reset(&p->bytes);
    if (read_into(p, packet, type))
        return true;
    p->n_rdata = 0;
    p->canonical[0] = 0;
    return false;
}
