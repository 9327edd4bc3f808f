/* TLSA records and what they mean: the first octet says what DNS knows, the rest are records, each behind two
 * octets of length. Answering what is asked ends soon, and what is given as usable is. */
#include "base/mem.h"
#include "verify/dane.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SET_MAX = 64 };

static void check(const struct dane_facts *f, const struct dane_verdict *v)
{
    must((v->result == DANE_ASK) == (v->n_questions > 0));
    must((v->result == DANE_USABLE) == (v->n_records > 0));
    must(v->n_records <= DANE_RECORDS_MAX && v->n_names <= DANE_NAMES_MAX);
    must(v->why < DANE_WHYS && dane_why_text(v->why)[0] != '?');
    for (size_t i = 0; i < v->n_records; i++)
        must(dane_unusable(&v->records[i]) == NULL && v->records[i].usage >= DANE_TA &&
             v->records[i].data.n > 0);
    if (v->result == DANE_USABLE)
        must(str_eq(v->names[0], v->base) && v->is_next_hop_authentic == (f->mx != DANE_MX_INSECURE));
    for (size_t i = 0; i < v->n_questions; i++)
        must(v->questions[i].n + 2 <= DNS_NAME_MAX && v->questions[i].slot < DANE_BASES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rdata[SET_MAX], rest = str_of(data, size);
    size_t n = 0;
    uint8_t flags = size > 0 ? data[0] : 0;
    rest = str_skip(rest, 1);
    while (rest.n >= 2 && n < SET_MAX) {
        size_t length = (size_t)((uint8_t)rest.p[0] << 8 | (uint8_t)rest.p[1]);
        rdata[n++] = str_slice(rest, 2, 2 + length);
        rest = str_skip(rest, 2 + length);
    }
    struct dane_facts f = {.next_hop = STR("example.org"), .port = 25};
    /* names of others too, whatever is in them */
    f.host = n > 0 && (flags & 1) != 0 ? rdata[0] : STR("mx.example.net");
    f.canonical = n > 1 && (flags & 2) != 0 ? rdata[1] : STR_NIL;
    f.mx = (flags & 4) != 0 ? DANE_MX_INSECURE : DANE_MX_SECURE;
    f.address = (struct dane_answer){DANE_FOUND, (flags & 8) != 0, NULL, 0};
    struct dane_verdict *v = mem_must_new(struct dane_verdict);
    unsigned rounds = 0;
    for (dane_judge(&f, v); v->result == DANE_ASK; dane_judge(&f, v)) {
        must(++rounds <= 2);
        check(&f, v);
        for (size_t i = 0; i < v->n_questions; i++) {
            struct dane_answer *a =
                v->questions[i].type == DNS_TLSA ? &f.tlsa[v->questions[i].slot] : &f.cname;
            must(a->status == DANE_NOT_ASKED);
            *a = (struct dane_answer){(flags & 16) != 0 && i == 0 ? DANE_ABSENT : DANE_FOUND,
                                      (flags & 32) == 0, rdata, n};
        }
    }
    check(&f, v);
    mem_free(v);
    return 0;
}
