#include "verify/dane.h"

#include <string.h>

enum { HEAD_N = 3, SHA256_N = 32, SHA512_N = 64, DER_SEQUENCE = 0x30 };

bool dane_parse(struct str rdata, struct dane_record *out)
{
    if (rdata.n <= HEAD_N || rdata.n - HEAD_N > DANE_DATA_MAX)
        return false;
    out->usage = (uint8_t)rdata.p[0];
    out->selector = (uint8_t)rdata.p[1];
    out->matching = (uint8_t)rdata.p[2];
    out->data = str_skip(rdata, HEAD_N);
    return true;
}

/* Certificates and keys are one SEQUENCE each, which must be all of the data; its length in the shortest form
 * (X.690 10.1). What is in it is for the TLS library. */
static bool is_der_sequence(struct str s)
{
    if (s.n < 2 || (uint8_t)s.p[0] != DER_SEQUENCE)
        return false;
    size_t first = (uint8_t)s.p[1];
    if (first < 0x80)
        return first == s.n - 2;
    size_t n_length = first & 0x7f, length = 0;
    if (n_length == 0 || n_length > 3 || s.n < 2 + n_length)
        return false;
    for (size_t i = 0; i < n_length; i++)
        length = length << 8 | (uint8_t)s.p[2 + i];
    bool is_shortest = length >= 0x80 && (n_length == 1 || length >> 8 * (n_length - 1) != 0);
    return is_shortest && length == s.n - 2 - n_length;
}

const char *dane_unusable(const struct dane_record *r)
{
    if (r->usage == DANE_PKIX_TA || r->usage == DANE_PKIX_EE)
        return "usages 0 and 1 do not apply to mail";
    if (r->usage > DANE_EE)
        return "its usage is unknown";
    if (r->selector > DANE_SPKI)
        return "its selector is unknown";
    switch (r->matching) {
    case DANE_FULL:
        return is_der_sequence(r->data) ? NULL : "it holds no certificate or key";
    case DANE_SHA256:
        return r->data.n == SHA256_N ? NULL : "its digest has the wrong length";
    case DANE_SHA512:
        return r->data.n == SHA512_N ? NULL : "its digest has the wrong length";
    default:
        return "its matching type is unknown";
    }
}

void dane_format(const struct dane_record *r, struct buf *out)
{
    buf_printf(out, "%u %u %u ", r->usage, r->selector, r->matching);
    for (size_t i = 0; i < r->data.n && !out->failed; i++)
        buf_printf(out, "%02X", (uint8_t)r->data.p[i]);
}

static void end(struct dane_verdict *v, enum dane_result result, enum dane_why why)
{
    v->result = result;
    v->why = why;
}

static bool is_alias(const struct dane_facts *f)
{
    return f->canonical.n > 0 && !str_ieq(f->canonical, f->host);
}

/* false: the name would be too long for DNS, so nothing can be there. */
static bool ask(struct dane_verdict *v, enum dns_type type, unsigned slot, const struct dane_facts *f,
                struct str name)
{
    struct dane_question *q = &v->questions[v->n_questions];
    struct buf b;
    buf_init_fixed(&b, q->name, sizeof q->name);
    if (type == DNS_TLSA) /* RFC 6698 3 */
        buf_printf(&b, "_%u._tcp.", (unsigned)f->port);
    buf_put(&b, name);
    /* in wire form a name is two octets longer than its text */
    if (b.failed || b.n + 2 > DNS_NAME_MAX)
        return false;
    q->type = type;
    q->slot = slot;
    q->n = b.n;
    v->n_questions++;
    end(v, DANE_ASK, DANE_WHY_ASKING);
    return true;
}

static void add_name(struct dane_verdict *v, struct str name)
{
    bool is_new = name.n > 0;
    for (size_t i = 0; i < v->n_names; i++)
        is_new = is_new && !str_ieq(v->names[i], name);
    if (is_new && v->n_names < DANE_NAMES_MAX)
        v->names[v->n_names++] = name;
}

/* RFC 7672 3.2.2: the base domain, and what leads there by validated records only. */
static void take_names(const struct dane_facts *f, struct dane_verdict *v)
{
    v->is_next_hop_authentic = f->mx != DANE_MX_INSECURE;
    add_name(v, v->base);
    add_name(v, f->host); /* its CNAME is validated: else it would be the base itself */
    if (v->is_next_hop_authentic) {
        add_name(v, f->next_hop);
        add_name(v, f->next_hop_canonical);
    }
}

static void take_records(const struct dane_facts *f, const struct dane_answer *a, struct str base,
                         struct dane_verdict *v)
{
    v->base = base;
    for (size_t i = 0; i < a->n_rdata && v->n_records < DANE_RECORDS_MAX; i++) {
        struct dane_record *r = &v->records[v->n_records];
        if (dane_parse(a->rdata[i], r) && dane_unusable(r) == NULL)
            v->n_records++;
    }
    take_names(f, v);
    if (v->n_records > 0)
        end(v, DANE_USABLE, DANE_WHY_TLSA_USABLE);
    else
        end(v, DANE_UNUSABLE, DANE_WHY_TLSA_UNUSABLE);
}

/* The first base with validated records counts; one that failed ends the search: behind it may stand what an
 * attacker wants hidden. */
static void judge_tlsa(const struct dane_facts *f, const bool *is_base, struct dane_verdict *v)
{
    const struct str names[DANE_BASES] = {is_alias(f) ? f->canonical : f->host, f->host};
    enum dane_why none = DANE_WHY_TLSA_ABSENT;
    bool is_open = false;
    for (unsigned i = 0; i < DANE_BASES; i++) {
        const struct dane_answer *a = &f->tlsa[i];
        if (!is_base[i])
            continue;
        if (a->status == DANE_NOT_ASKED) {
            is_open |= ask(v, DNS_TLSA, i, f, names[i]);
            continue;
        }
        if (is_open) /* an earlier one may still take precedence */
            continue;
        if (a->status == DANE_FAILED) {
            end(v, DANE_DEFER, DANE_WHY_TLSA_FAILED);
            return;
        }
        if (a->status == DANE_FOUND && a->is_secure) {
            take_records(f, a, names[i], v);
            return;
        }
        if (a->status == DANE_FOUND)
            none = DANE_WHY_TLSA_INSECURE;
    }
    if (!is_open)
        end(v, DANE_NONE, none);
}

void dane_judge(const struct dane_facts *f, struct dane_verdict *out)
{
    memset(out, 0, sizeof *out);
    bool is_base[DANE_BASES] = {false, false};
    if (f->host.n == 0) {
        end(out, DANE_NONE, DANE_WHY_NO_NAME);
        return;
    }
    if (f->mx == DANE_MX_INSECURE && f->ignore_insecure_mx) {
        end(out, DANE_NONE, DANE_WHY_MX_INSECURE);
        return;
    }
    if (f->address.status == DANE_FAILED || f->address.status == DANE_NOT_ASKED) {
        end(out, DANE_DEFER, DANE_WHY_ADDRESS_FAILED);
        return;
    }
    if (f->address.is_secure) {
        is_base[DANE_BASE_EXPANDED] = true;
        is_base[DANE_BASE_HOST] = is_alias(f);
    } else if (!is_alias(
                   f)) { /* an unsigned zone: asking it for TLSA is in vain, and some servers drop that */
        end(out, DANE_NONE, DANE_WHY_ADDRESS_INSECURE);
        return;
    } else if (f->cname.status == DANE_NOT_ASKED) {
        if (!ask(out, DNS_CNAME, 0, f, f->host))
            end(out, DANE_NONE, DANE_WHY_CNAME_INSECURE);
        return;
    } else if (f->cname.status == DANE_FAILED) {
        end(out, DANE_DEFER, DANE_WHY_CNAME_FAILED);
        return;
    } else if (f->cname.status == DANE_FOUND && f->cname.is_secure) {
        is_base[DANE_BASE_HOST] = true;
    } else {
        end(out, DANE_NONE, DANE_WHY_CNAME_INSECURE);
        return;
    }
    judge_tlsa(f, is_base, out);
}

const char *dane_why_text(enum dane_why w)
{
    static const char *const texts[DANE_WHYS] = {
        [DANE_WHY_ASKING] = "questions are open",
        [DANE_WHY_NO_NAME] = "the host has no name",
        [DANE_WHY_MX_INSECURE] = "the MX records are not signed",
        [DANE_WHY_ADDRESS_FAILED] = "the address of the host is not known",
        [DANE_WHY_ADDRESS_INSECURE] = "the zone of the host is not signed",
        [DANE_WHY_CNAME_FAILED] = "the CNAME record of the host could not be looked up",
        [DANE_WHY_CNAME_INSECURE] = "the host is an alias that is not signed",
        [DANE_WHY_TLSA_FAILED] = "the TLSA records could not be looked up",
        [DANE_WHY_TLSA_ABSENT] = "there are no TLSA records",
        [DANE_WHY_TLSA_INSECURE] = "the TLSA records are not signed",
        [DANE_WHY_TLSA_UNUSABLE] = "no TLSA record can be used",
        [DANE_WHY_TLSA_USABLE] = "TLSA records say whose the server is",
    };
    return (unsigned)w < DANE_WHYS ? texts[w] : "?";
}
