/* service/lookup/lookup.c: the lookup role: questions of smtpd, queue and relay for MX hosts, addresses and
 * records, answered by the resolver.
 *
 * Owns:     jobs (a question that one or several askers wait for) with one or two parts (a name and a type,
 * asked of the resolver), and what waits to be sent to an asker. Limits:   an asker with ASKER_OPEN_MAX
 * questions is no longer read; parts the resolver has no room for wait. Errors:   all trouble is an answer
 * with DNS_STATUS_TEMPORARY. Security: connects to name servers only, by the resolver; sees no mail.
 */
#include "service/lookup/lookup.h"

#include "base/mem.h"
#include "service/boot/role.h"

#include <stdlib.h>
#include <string.h>

enum {
    ASKER_OPEN_MAX = 256,
    BUCKETS = 1024,
    HOSTS_BYTES_MAX = DNS_MX_MAX * (DNS_NAME_MAX + 16),
    ANSWER_BYTES_MAX = LOOKUP_RDATA_MAX + LOOKUP_WHY_MAX + DNS_NAME_MAX + 64,
};

/* ---- answers, pure --------------------------------------------------------------------------- */

uint32_t lookup_ttl(uint32_t ttl_s)
{
    if (ttl_s < LOOKUP_TTL_MIN_S)
        return LOOKUP_TTL_MIN_S;
    return ttl_s > LOOKUP_TTL_MAX_S ? LOOKUP_TTL_MAX_S : ttl_s;
}

static enum dns_status status_of(const struct resolver_answer *a)
{
    switch (a->status) {
    case RESOLVER_OK:
        return a->n_rdata > 0 ? DNS_STATUS_OK : DNS_STATUS_NODATA;
    case RESOLVER_NXDOMAIN:
        return DNS_STATUS_NXDOMAIN;
    case RESOLVER_NODATA:
        return DNS_STATUS_NODATA;
    case RESOLVER_FAILED:
    case RESOLVER_BOGUS:
        break;
    }
    return DNS_STATUS_TEMPORARY;
}

static bool is_secure(const struct resolver_answer *a)
{
    return a->is_secure && a->status != RESOLVER_FAILED && a->status != RESOLVER_BOGUS;
}

static void say_why(struct buf *why, const char *what, struct str name, struct str reason)
{
    (void)buf_puts(why, what);
    (void)buf_put(why, name);
    (void)buf_puts(why, ": ");
    (void)buf_put(why, str_slice(reason, 0, LOOKUP_WHY_MAX / 2));
}

struct mx {
    uint16_t preference;
    uint16_t order; /* random place, so that qsort keeps equals shuffled */
    struct str rdata;
};

static int mx_cmp(const void *va, const void *vb)
{
    const struct mx *a = va, *b = vb;
    if (a->preference != b->preference)
        return a->preference < b->preference ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static size_t sorted_mx(struct world *w, const struct resolver_answer *a, struct mx *out)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_rdata && n < LOOKUP_MX_SEEN_MAX; i++) {
        const unsigned char *p = (const unsigned char *)a->rdata[i].p;
        if (a->rdata[i].n >= 3)
            out[n++] = (struct mx){.preference = (uint16_t)(p[0] << 8 | p[1]), .rdata = a->rdata[i]};
    }
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)world_random_below(w, i + 1);
        out[i].order = out[j].order;
        out[j].order = (uint16_t)i;
    }
    if (n > 1)
        qsort(out, n, sizeof *out, mx_cmp);
    return n;
}

static bool has_hop(struct str hosts, struct str name)
{
    struct reader r = reader_of(hosts);
    struct hop h;
    while (list_next_hop(&r, &h)) {
        if (str_ieq(h.name, name))
            return true;
    }
    return false;
}

/* From the most preferred on: names that are none, the root among others, and repetitions don't count. */
static size_t put_hops(const struct mx *mx, size_t n_mx, uint16_t port, struct buf *hosts, size_t *out_n_null)
{
    size_t n = 0, from = hosts->n;
    *out_n_null = 0;
    for (size_t i = 0; i < n_mx && n < DNS_MX_MAX; i++) {
        char mem[DNS_NAME_MAX + 1];
        struct buf name;
        struct hop h = {.port = port};
        buf_init_fixed(&name, mem, sizeof mem);
        if (!dnsrr_mx(mx[i].rdata, &h.preference, &name))
            continue;
        h.name = buf_str(&name);
        if (h.name.n == 0 || str_eq(h.name, STR("."))) {
            ++*out_n_null;
            continue;
        }
        if (!has_hop(str_skip(buf_str(hosts), from), h.name) && list_put_hop(hosts, &h))
            n++;
    }
    return n;
}

enum dns_status lookup_mx(struct world *w, struct str domain, uint16_t port, const struct resolver_answer *a,
                          struct buf *hosts, struct buf *why)
{
    enum dns_status status = status_of(a);
    if (status == DNS_STATUS_NODATA) { /* the implicit MX */
        struct hop self = {.port = port, .name = domain};
        (void)list_put_hop(hosts, &self);
    }
    if (status != DNS_STATUS_OK) {
        say_why(why, "MX of ", domain, status == DNS_STATUS_NODATA ? STR("no such records") : a->why);
        return status;
    }
    struct mx mx[LOOKUP_MX_SEEN_MAX];
    size_t n_null, n_mx = sorted_mx(w, a, mx);
    if (put_hops(mx, n_mx, port, hosts, &n_null) > 0)
        return DNS_STATUS_OK;
    if (n_null > 0 && n_null == n_mx) {
        say_why(why, "MX of ", domain, STR("the domain takes no mail (null MX)"));
        return DNS_STATUS_NULL_MX;
    }
    say_why(why, "MX of ", domain, STR("no record names a usable host"));
    return DNS_STATUS_TEMPORARY;
}

static const struct {
    enum dns_type type;
    const char *of;
} rr_types[] = {{DNS_TLSA, "TLSA of "}, {DNS_CNAME, "CNAME of "}, {DNS_TXT, "TXT of "}};

static const char *rr_of(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(rr_types); i++) {
        if (rr_types[i].type == type)
            return rr_types[i].of;
    }
    return NULL;
}

bool lookup_is_rr(uint16_t type)
{
    return rr_of(type) != NULL;
}

enum dns_status lookup_rr(struct str name, enum dns_type type, const struct resolver_answer *a,
                          struct buf *rdata, struct buf *why)
{
    enum dns_status status = status_of(a);
    size_t from = rdata->n;
    if (status != DNS_STATUS_OK) {
        say_why(why, rr_of(type), name, status == DNS_STATUS_NODATA ? STR("no such records") : a->why);
        return status;
    }
    for (size_t i = 0; i < a->n_rdata; i++) {
        if (list_put_str(rdata, a->rdata[i]))
            continue;
        rdata->n = from;
        say_why(why, rr_of(type), name, STR("too many octets of records"));
        return DNS_STATUS_TEMPORARY;
    }
    return DNS_STATUS_OK;
}

void lookup_side_take(struct world *w, struct lookup_side *s, enum dns_type type,
                      const struct resolver_answer *a)
{
    s->is_done = true;
    s->is_secure = is_secure(a);
    s->status = a->status;
    if (!str_to_c(a->canonical, s->canonical, sizeof s->canonical))
        s->canonical[0] = 0;
    s->ttl_s = a->ttl_s;
    s->n = 0;
    for (size_t i = 0; a->status == RESOLVER_OK && i < a->n_rdata && s->n < DNS_ADDRESSES_MAX; i++) {
        struct netaddr addr;
        if (!dnsrr_address(type, a->rdata[i], &addr) || netaddr_is_any(&addr))
            continue;
        size_t j = (size_t)world_random_below(w, s->n + 1); /* shuffled as it grows */
        memcpy(s->ip[s->n], s->ip[j], sizeof s->ip[j]);
        memcpy(s->ip[j], addr.ip, sizeof s->ip[j]);
        s->n++;
    }
    if (s->status == RESOLVER_OK && s->n == 0)
        s->status = RESOLVER_NODATA;
}

static void put_side(const struct lookup_side *s, size_t i, enum netaddr_kind kind, struct buf *out)
{
    struct netaddr addr = {.kind = kind};
    memcpy(addr.ip, s->ip[i], kind == NETADDR_IP4 ? 4 : 16);
    (void)list_put_addr(out, &addr);
}

static bool has_failed(const struct lookup_side *s)
{
    return s->status == RESOLVER_FAILED || s->status == RESOLVER_BOGUS;
}

enum dns_status lookup_host(const struct lookup_side *ip6, const struct lookup_side *ip4,
                            struct buf *addresses)
{
    size_t n = 0;
    for (size_t i = 0; i < DNS_ADDRESSES_MAX && n < DNS_ADDRESSES_MAX; i++) {
        if (i < ip6->n) {
            put_side(ip6, i, NETADDR_IP6, addresses);
            n++;
        }
        if (i < ip4->n && n < DNS_ADDRESSES_MAX) {
            put_side(ip4, i, NETADDR_IP4, addresses);
            n++;
        }
    }
    if (n > 0)
        return DNS_STATUS_OK;
    if (has_failed(ip6) || has_failed(ip4))
        return DNS_STATUS_TEMPORARY;
    return ip6->status == RESOLVER_NXDOMAIN && ip4->status == RESOLVER_NXDOMAIN ? DNS_STATUS_NXDOMAIN
                                                                                : DNS_STATUS_NODATA;
}

const struct lookup_side *lookup_witness(const struct lookup_side *ip6, const struct lookup_side *ip4)
{
    if (ip6->is_secure != ip4->is_secure)
        return ip6->is_secure ? ip6 : ip4;
    return ip6->canonical[0] != 0 ? ip6 : ip4;
}

/* ---- the role -------------------------------------------------------------------------------- */

struct lookup;
struct asker { /* a peer's channel */
    struct list link;
    struct lookup *lookup;
    enum role role;
    struct channel *channel;
    size_t n_open; /* questions not answered yet, answers not sent yet */
    bool is_paused;
    struct list unsent;
};
struct unsent {
    struct list link;
    uint16_t type;
    size_t n;
    char bytes[];
};
struct waiter {
    struct list link;
    struct asker *asker; /* NULL: gone meanwhile */
    uint64_t token;
};
struct part {         /* one question to the resolver */
    struct list link; /* in lookup.waiting until the resolver takes it */
    struct job *job;
    enum dns_type type;
};
enum job_kind { JOB_MX = 0, JOB_HOST, JOB_RR };
struct job {
    struct list link; /* bucket */
    struct lookup *lookup;
    enum job_kind kind;
    uint16_t type; /* JOB_RR: of the records */
    size_t n_left; /* parts without an answer */
    struct part parts[2];
    struct list waiters;
    struct lookup_side ip6, ip4;
    char why[LOOKUP_WHY_MAX]; /* of the host's side that failed */
    size_t n_why, n_name;
    char name[]; /* lower case */
};
struct lookup {
    struct role_env *env;
    struct resolver *resolver;
    struct list askers;
    struct list buckets[BUCKETS];
    uint64_t hash_seed;
    struct list waiting;    /* parts */
    size_t n_asked, n_jobs; /* parts with the resolver; jobs in the buckets */
    struct turn_hook turn;  /* starts what waits */
    struct timer drain_timer;
    bool is_draining;
};

static struct str job_name(const struct job *j)
{
    return str_of(j->name, j->n_name);
}

/* ---- to the askers --------------------------------------------------------------------------- */

static void asker_done(struct asker *k)
{
    k->n_open--;
    if (k->is_paused && k->n_open < ASKER_OPEN_MAX) {
        k->is_paused = false;
        channel_pause(k->channel, false);
    }
}

static void asker_send(struct asker *k, uint16_t type, struct str payload)
{
    if (list_is_empty(&k->unsent)) {
        enum err err = channel_send(k->channel, type, payload, NULL);
        if (err != ERR_AGAIN) { /* closed: on_closed comes */
            asker_done(k);
            return;
        }
    }
    struct unsent *u = mem_alloc(sizeof *u + payload.n);
    if (u == NULL) { /* the asker has its own deadline; nothing better is left */
        log_error(world_log(k->lookup->env->world), "lookup.answer_lost", LERR(ERR_NOMEM));
        asker_done(k);
        return;
    }
    *u = (struct unsent){.type = type, .n = payload.n};
    memcpy(u->bytes, payload.p, payload.n);
    list_init(&u->link);
    list_push_back(&k->unsent, &u->link);
}

static void look_drained(struct lookup *u)
{
    if (!u->is_draining || u->n_jobs > 0)
        return;
    list_each (l, &u->askers) {
        if (!list_is_empty(&list_entry(l, struct asker, link)->unsent))
            return;
    }
    world_timer_cancel(u->env->world, &u->drain_timer);
    u->is_draining = false;
    role_drained(u->env);
}

static void on_room(void *arg, struct channel *c)
{
    struct asker *k = arg;
    UNUSED(c);
    list_each (l, &k->unsent) {
        struct unsent *u = list_entry(l, struct unsent, link);
        if (channel_send(k->channel, u->type, str_of(u->bytes, u->n), NULL) == ERR_AGAIN)
            return;
        list_remove(&u->link);
        mem_free(u);
        asker_done(k);
    }
    look_drained(k->lookup);
}

struct reply { /* the answer of a job; the token differs by asker */
    enum dns_status status;
    bool is_secure;
    uint32_t ttl_s;
    struct str list; /* hops, addresses or record data */
    struct str canonical;
    struct str why;
};

static void send_reply(struct asker *k, enum job_kind kind, uint64_t token, const struct reply *r)
{
    char mem[ANSWER_BYTES_MAX] __attribute__((uninitialized));
    struct buf b;
    uint8_t status = (uint8_t)r->status;
    buf_init_fixed(&b, mem, sizeof mem);
    if (kind == JOB_MX) {
        struct ipc_mx_answer m = {token, status, r->is_secure, r->ttl_s, r->list, r->canonical, r->why};
        must(ipc_encode_mx_answer(&m, &b));
        asker_send(k, IPC_MX_ANSWER, buf_str(&b));
    } else if (kind == JOB_HOST) {
        struct ipc_host_answer m = {token, status, r->is_secure, r->ttl_s, r->list, r->canonical, r->why};
        must(ipc_encode_host_answer(&m, &b));
        asker_send(k, IPC_HOST_ANSWER, buf_str(&b));
    } else {
        struct ipc_rr_answer m = {token, status, r->is_secure, r->ttl_s, r->list, r->canonical, r->why};
        must(ipc_encode_rr_answer(&m, &b));
        asker_send(k, IPC_RR_ANSWER, buf_str(&b));
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void job_del(struct job *j)
{
    list_each (l, &j->waiters) {
        mem_free(list_entry(l, struct waiter, link));
    }
    for (size_t i = 0; i < ARRAY_LEN(j->parts); i++)
        list_remove(&j->parts[i].link);
    list_remove(&j->link);
    j->lookup->n_jobs--;
    mem_free(j);
}

static void job_reply(struct job *j, const struct reply *r)
{
    list_each (l, &j->waiters) {
        const struct waiter *w = list_entry(l, struct waiter, link);
        if (w->asker != NULL)
            send_reply(w->asker, j->kind, w->token, r);
    }
    job_del(j);
}

/* What answers of all kinds have. */
static struct reply reply_of(const struct resolver_answer *a)
{
    return (struct reply){.is_secure = is_secure(a),
                          .ttl_s = lookup_ttl(a->ttl_s),
                          .canonical = a->canonical.n > DNS_NAME_MAX ? STR_NIL : a->canonical};
}

static void rr_done(struct job *j, const struct resolver_answer *a)
{
    char rdata_mem[LOOKUP_RDATA_MAX] __attribute__((uninitialized));
    char why_mem[LOOKUP_WHY_MAX];
    struct buf rdata, why;
    buf_init_fixed(&rdata, rdata_mem, sizeof rdata_mem);
    buf_init_fixed(&why, why_mem, sizeof why_mem);
    struct reply r = reply_of(a);
    r.status = lookup_rr(job_name(j), (enum dns_type)j->type, a, &rdata, &why);
    r.is_secure = r.is_secure && r.status != DNS_STATUS_TEMPORARY;
    r.list = buf_str(&rdata);
    r.why = buf_str(&why);
    job_reply(j, &r);
}

static void mx_done(struct job *j, const struct resolver_answer *a)
{
    struct lookup *u = j->lookup;
    char host_mem[HOSTS_BYTES_MAX], why_mem[LOOKUP_WHY_MAX + DNS_NAME_MAX];
    struct buf hosts, why;
    buf_init_fixed(&hosts, host_mem, sizeof host_mem);
    buf_init_fixed(&why, why_mem, LOOKUP_WHY_MAX);
    struct reply r = reply_of(a);
    r.status = lookup_mx(u->env->world, job_name(j), (uint16_t)u->env->config->smtp_port, a, &hosts, &why);
    r.list = buf_str(&hosts);
    r.why = buf_str(&why);
    job_reply(j, &r);
}

static void host_side_done(struct job *j, enum dns_type type, const struct resolver_answer *a)
{
    lookup_side_take(j->lookup->env->world, type == DNS_A ? &j->ip4 : &j->ip6, type, a);
    if (j->n_why == 0 && status_of(a) != DNS_STATUS_OK) {
        struct buf why;
        buf_init_fixed(&why, j->why, sizeof j->why);
        say_why(&why, type == DNS_A ? "A of " : "AAAA of ", job_name(j), a->why);
        j->n_why = why.n;
    }
    if (j->n_left > 0)
        return;
    char mem[DNS_ADDRESSES_MAX * 32];
    struct buf addresses;
    buf_init_fixed(&addresses, mem, sizeof mem);
    const struct lookup_side *witness = lookup_witness(&j->ip6, &j->ip4);
    struct reply r = {.is_secure = witness->is_secure, .canonical = str_from_c(witness->canonical)};
    r.ttl_s = lookup_ttl(j->ip6.ttl_s < j->ip4.ttl_s ? j->ip6.ttl_s : j->ip4.ttl_s);
    r.status = lookup_host(&j->ip6, &j->ip4, &addresses);
    r.list = buf_str(&addresses);
    r.why = r.status == DNS_STATUS_OK ? STR_NIL : str_of(j->why, j->n_why);
    job_reply(j, &r);
}

static void on_part(struct part *p, const struct resolver_answer *a)
{
    struct job *j = p->job;
    struct lookup *u = j->lookup;
    j->n_left--;
    if (j->kind == JOB_MX)
        mx_done(j, a);
    else if (j->kind == JOB_RR)
        rr_done(j, a);
    else
        host_side_done(j, p->type, a);
    look_drained(u);
}

static void on_answer(void *arg, const struct resolver_answer *a)
{
    struct part *p = arg;
    p->job->lookup->n_asked--;
    on_part(p, a);
}

/* Gives the resolver what it takes; the rest waits for its answers. With none of ours under way it will never
 * take it: then it is out of memory. */
static void start_waiting(struct lookup *u)
{
    while (!list_is_empty(&u->waiting)) {
        struct part *p = list_entry(u->waiting.next, struct part, link);
        if (u->resolver->ask(u->resolver->self, job_name(p->job), p->type, on_answer, p)) {
            list_remove(&p->link);
            u->n_asked++;
            continue;
        }
        if (u->n_asked > 0)
            return;
        list_remove(&p->link);
        struct resolver_answer none = {.status = RESOLVER_FAILED, .why = STR("no memory")};
        on_part(p, &none);
    }
}

static void on_turn_end(struct turn_hook *h)
{
    start_waiting(container_of(h, struct lookup, turn));
}

static struct list *bucket_of(struct lookup *u, struct str name)
{
    return &u->buckets[str_ihash(name, u->hash_seed) % BUCKETS];
}

static struct job *job_find(struct lookup *u, enum job_kind kind, uint16_t type, struct str name)
{
    list_each (l, bucket_of(u, name)) {
        struct job *j = list_entry(l, struct job, link);
        if (j->kind == kind && j->type == type && str_ieq(job_name(j), name))
            return j;
    }
    return NULL;
}

static struct job *job_new(struct lookup *u, enum job_kind kind, uint16_t type, struct str name)
{
    struct job *j = mem_alloc(sizeof *j + name.n + 1);
    if (j == NULL)
        return NULL;
    j->lookup = u;
    j->kind = kind;
    j->type = type;
    j->n_name = name.n;
    for (size_t i = 0; i < name.n; i++)
        j->name[i] = ascii_lower(name.p[i]);
    list_init(&j->waiters);
    list_init(&j->link);
    list_push_back(bucket_of(u, name), &j->link);
    u->n_jobs++;
    j->n_left = kind == JOB_HOST ? 2 : 1;
    for (size_t i = 0; i < ARRAY_LEN(j->parts); i++) {
        enum dns_type host = i == 0 ? DNS_AAAA : DNS_A;
        j->parts[i] = (struct part){.job = j, .type = kind == JOB_HOST ? host : (enum dns_type)type};
        list_init(&j->parts[i].link);
        if (i < j->n_left)
            list_push_back(&u->waiting, &j->parts[i].link);
    }
    return j;
}

/* type: of the records; 0 for a host. */
static void ask(struct asker *k, enum job_kind kind, uint16_t type, uint64_t token, struct str name)
{
    struct lookup *u = k->lookup;
    if (str_ends(name, STR(".")))
        name.n--;
    struct job *j = job_find(u, kind, type, name);
    struct waiter *w = mem_new(struct waiter);
    if (w != NULL && j == NULL)
        j = job_new(u, kind, type, name);
    k->n_open++;
    if (w == NULL || j == NULL) {
        mem_free(w);
        struct reply r = {.status = DNS_STATUS_TEMPORARY, .ttl_s = LOOKUP_TTL_MIN_S, .why = STR("no memory")};
        send_reply(k, kind, token, &r);
        return;
    }
    *w = (struct waiter){.asker = k, .token = token};
    list_init(&w->link);
    list_push_back(&j->waiters, &w->link);
    if (k->n_open >= ASKER_OPEN_MAX && !k->is_paused) { /* who asks too much waits in its own channel */
        k->is_paused = true;
        channel_pause(k->channel, true);
    }
}

/* ---- channels -------------------------------------------------------------------------------- */

static void asker_del(struct asker *k)
{
    struct lookup *u = k->lookup;
    for (size_t i = 0; i < BUCKETS; i++) {
        list_each (jl, &u->buckets[i]) {
            list_each (wl, &list_entry(jl, struct job, link)->waiters) {
                struct waiter *w = list_entry(wl, struct waiter, link);
                if (w->asker == k)
                    w->asker = NULL;
            }
        }
    }
    list_each (l, &k->unsent) {
        mem_free(list_entry(l, struct unsent, link));
    }
    list_remove(&k->link);
    mem_free(k);
}

static void on_closed(void *arg, struct channel *c)
{
    struct asker *k = arg;
    struct lookup *u = k->lookup;
    asker_del(k);
    role_peer_closed(u->env, c);
    look_drained(u);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct asker *k = arg;
    struct lookup *u = k->lookup;
    struct ipc_mx_ask mx;
    struct ipc_host_ask host;
    struct ipc_rr_ask rr;
    UNUSED(given);
    if (!role_message_allowed(u->env, k->role, c, type)) {
        asker_del(k);
    } else if (type == IPC_MX_ASK && ipc_decode_mx_ask(payload, &mx) && mx.domain.n <= DNS_NAME_MAX) {
        ask(k, JOB_MX, DNS_MX, mx.token, mx.domain);
    } else if (type == IPC_HOST_ASK && ipc_decode_host_ask(payload, &host) && host.name.n <= DNS_NAME_MAX) {
        ask(k, JOB_HOST, 0, host.token, host.name);
    } else if (type == IPC_RR_ASK && ipc_decode_rr_ask(payload, &rr) && rr.name.n <= DNS_NAME_MAX &&
               lookup_is_rr(rr.type)) {
        ask(k, JOB_RR, rr.type, rr.token, rr.name);
    } else {
        role_message_malformed(u->env, k->role, c, type);
        asker_del(k);
    }
}

static const struct channel_user asker_user = {on_message, on_room, on_closed};

static void lookup_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct lookup *u = self;
    UNUSED(index);
    if (who != ROLE_SMTPD && who != ROLE_QUEUE && who != ROLE_RELAY && who != ROLE_AGENT &&
        who != ROLE_TABLES)
        return;
    struct asker *k = mem_new(struct asker);
    if (k == NULL) {
        log_error(world_log(u->env->world), "lookup.peer_lost", LC("role", role_name(who)), LERR(ERR_NOMEM));
        role_peer_closed(u->env, c);
        return;
    }
    *k = (struct asker){.lookup = u, .role = who, .channel = c};
    list_init(&k->unsent);
    list_init(&k->link);
    list_push_back(&u->askers, &k->link);
    channel_set_user(c, &asker_user, k);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool configure(struct lookup *u, struct buf *why)
{
    const struct config *c = u->env->config;
    struct resolver_conf conf = {.servers = c->resolvers,
                                 .n_servers = c->resolver == RESOLVER_RECURSIVE ? 0 : c->n_resolvers,
                                 .trust_anchor = c->trust_anchor,
                                 .root_hints = c->root_hints,
                                 .hosts = c->hosts};
    return u->resolver->configure == NULL || u->resolver->configure(u->resolver->self, &conf, why);
}

static bool is_same_dns(const struct config *a, const struct config *b)
{
    if (a->resolver != b->resolver || a->n_resolvers != b->n_resolvers ||
        !str_eq(a->trust_anchor, b->trust_anchor) || !str_eq(a->root_hints, b->root_hints) ||
        !str_eq(a->hosts, b->hosts))
        return false;
    for (size_t i = 0; i < a->n_resolvers; i++) {
        if (!netaddr_eq(&a->resolvers[i], &b->resolvers[i]))
            return false;
    }
    return true;
}

static void on_drain_deadline(struct timer *t)
{
    struct lookup *u = container_of(t, struct lookup, drain_timer);
    u->is_draining = false;
    role_drained(u->env);
}

static void *lookup_create(struct role_env *env)
{
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    struct lookup *u = mem_must_new(struct lookup);
    must(env->ext != NULL);
    u->env = env;
    u->resolver = env->ext;
    list_init(&u->askers);
    list_init(&u->waiting);
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&u->buckets[i]);
    world_random(env->world, &u->hash_seed, sizeof u->hash_seed);
    u->drain_timer.fire = on_drain_deadline;
    u->turn = (struct turn_hook){.run = on_turn_end};
    list_init(&u->turn.link);
    if (!configure(u, &why)) {
        mem_free(u);
        role_fail(env, buf_str(&why));
        return NULL;
    }
    world_turn_end(env->world, &u->turn);
    for (size_t r = 0; r < ROLE_N; r++) {
        for (unsigned i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] != NULL)
                lookup_peer(u, (enum role)r, i, env->peers[r][i]);
        }
    }
    role_ready(env);
    return u;
}

static void lookup_reload(void *self, const struct config *old)
{
    struct lookup *u = self;
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    if (!is_same_dns(old, u->env->config) && !configure(u, &why))
        log_error(world_log(u->env->world), "lookup.settings_kept", LS("reason", buf_str(&why)));
    role_config_release(u->env, old);
}

static void lookup_drain(void *self, uint64_t deadline_ms)
{
    struct lookup *u = self;
    u->is_draining = true;
    world_timer_set(u->env->world, &u->drain_timer, deadline_ms);
    look_drained(u);
}

/* The resolver must not answer any more. */
static void lookup_del(void *self)
{
    struct lookup *u = self;
    for (size_t i = 0; i < BUCKETS; i++) {
        list_each (l, &u->buckets[i]) {
            job_del(list_entry(l, struct job, link));
        }
    }
    list_each (l, &u->askers) {
        asker_del(list_entry(l, struct asker, link));
    }
    list_remove(&u->turn.link);
    world_timer_cancel(u->env->world, &u->drain_timer);
    mem_free(u);
}

const struct role_ops lookup_role = {.create = lookup_create,
                                     .peer = lookup_peer,
                                     .reload = lookup_reload,
                                     .drain = lookup_drain,
                                     .del = lookup_del};
