#include "sim/sim_dns.h"

#include "base/mem.h"
#include "sim/sim_mem.h"

#include <string.h>

enum { NAME_CAP = 256, RDATA_CAP = 300, ANSWER_MAX = 16, TTL_S = 300 };

struct record {
    struct list link;
    enum dns_type type;
    char name[NAME_CAP];
    char rdata[RDATA_CAP];
    size_t n;
};
struct sim_dns {
    struct sim *sim;
    struct sim_dns_plan plan;
    struct list records;
    uint64_t n_questions;
};
struct asking { /* a lookup role's side */
    struct resolver resolver;
    struct sim_dns *dns;
    struct sim_proc *proc;
};
struct question {
    struct asking *from;
    char name[NAME_CAP];
    enum dns_type type;
    bool has_failed;
    void (*fn)(void *arg, const struct resolver_answer *a);
    void *arg;
};

struct sim_dns *sim_dns_new(struct sim *s)
{
    struct sim_dns *d = sim_make(struct sim_dns);
    d->sim = s;
    d->plan.delay_us = 30 * SIM_MS;
    list_init(&d->records);
    return d;
}

void sim_dns_del(struct sim_dns **dp)
{
    struct sim_dns *d = *dp;
    if (d == NULL)
        return;
    *dp = NULL;
    for (struct list *l = list_pop_front(&d->records); l != NULL; l = list_pop_front(&d->records))
        mem_free(list_entry(l, struct record, link));
    mem_free(d);
}

struct sim_dns_plan *sim_dns_plan(struct sim_dns *d)
{
    return &d->plan;
}

uint64_t sim_dns_n_questions(const struct sim_dns *d)
{
    return d->n_questions;
}

static struct record *record_new(struct sim_dns *d, enum dns_type type, const char *name)
{
    struct record *r = sim_make(struct record);
    r->type = type;
    must(str_to_c(str_from_c(name), r->name, sizeof r->name));
    list_push_back(&d->records, &r->link);
    return r;
}

void sim_dns_add_mx(struct sim_dns *d, const char *name, uint16_t preference, const char *host)
{
    struct record *r = record_new(d, DNS_MX, name);
    struct buf b;
    buf_init_fixed(&b, r->rdata, sizeof r->rdata);
    buf_putc(&b, (char)(preference >> 8));
    buf_putc(&b, (char)(preference & 0xff));
    must(dnsname_encode(str_from_c(host), &b));
    r->n = b.n;
}

void sim_dns_add_a(struct sim_dns *d, const char *name, const char *address)
{
    struct record *r = record_new(d, DNS_A, name);
    struct netaddr a;
    must(netaddr_parse_ip(str_from_c(address), 0, &a) && a.kind == NETADDR_IP4);
    memcpy(r->rdata, a.ip, 4);
    r->n = 4;
}

static void answer(void *arg)
{
    struct question *q = arg;
    struct str rdata[ANSWER_MAX];
    struct resolver_answer a = {
        .status = RESOLVER_NXDOMAIN, .ttl_s = TTL_S, .rdata = rdata, .canonical = str_from_c(q->name)};
    a.why = STR("the name does not exist");
    list_each (l, &q->from->dns->records) {
        const struct record *r = list_entry(l, struct record, link);
        if (!str_ieq(str_from_c(r->name), str_from_c(q->name)))
            continue;
        if (a.status != RESOLVER_OK) {
            a.status = RESOLVER_NODATA;
            a.why = STR("no such records");
        }
        if (r->type == q->type && a.n_rdata < ANSWER_MAX) {
            rdata[a.n_rdata++] = str_of(r->rdata, r->n);
            a.status = RESOLVER_OK;
        }
    }
    if (q->has_failed) {
        a.status = RESOLVER_FAILED;
        a.n_rdata = 0;
        a.why = STR("SERVFAIL");
    }
    q->fn(q->arg, &a);
    mem_free(q);
}

static bool chance(struct sim *s, uint32_t ppm)
{
    return ppm > 0 && rng_below(sim_rng(s), 1000000) < ppm;
}

static bool ask(void *self, struct str name, enum dns_type type,
                void (*fn)(void *arg, const struct resolver_answer *a), void *arg)
{
    struct asking *from = self;
    struct sim_dns *d = from->dns;
    struct question *q = mem_new(struct question);
    if (q == NULL || !str_to_c(name, q->name, sizeof q->name)) {
        mem_free(q);
        return false;
    }
    q->from = from;
    q->type = type;
    q->fn = fn;
    q->arg = arg;
    q->has_failed = d->plan.is_down || chance(d->sim, d->plan.failed_ppm);
    uint64_t delay = 1 + rng_below(sim_rng(d->sim), (uint64_t)d->plan.delay_us + 1);
    if (d->plan.is_down)
        delay = 5 * SIM_S;
    else if (chance(d->sim, d->plan.slow_ppm))
        delay = rng_below(sim_rng(d->sim), 20 * SIM_S);
    d->n_questions++;
    sim_proc_post(from->proc, delay, answer, q);
    return true;
}

struct resolver *sim_dns_resolver(struct sim_dns *d, struct world *w)
{
    struct asking *a = mem_must_new(struct asking);
    a->dns = d;
    a->proc = sim_proc_of(w);
    a->resolver = (struct resolver){.self = a, .ask = ask};
    return &a->resolver;
}
