/* service/agent/rpt.c: connections of relay, counted by domain and day; who wants to know; which day is over
 * (RFC 8460 4.1).
 *
 * Owns:     a name for each domain that was met lately, and the days of those that want reports.
 * Limits:   TLS_RPT_NAMES_MAX, of which the least used goes; TLS_RPT_DAYS_MAX days, TLS_RPT_MEMORY for all
 * and TLS_RPT_DAY_MEMORY for each; TLS_RPT_ASKS_MAX questions. What is over is not counted, and said once a
 * day. Errors:   while DNS gives no answer the domain is counted for. Security: what relay says is checked:
 * it speaks with strangers. Names and reasons are theirs; how long they are is bounded here, what they hold
 * is escaped where it is written.
 */
#include "service/agent/rpt.h"

#include "base/mem.h"
#include "ipc/lists.h"
#include "wire/address.h"

#include <string.h>

enum {
    POOL_CHUNK = 2048,
    LINES_MAX = 64,   /* TLSA records of a session */
    LINE_MAX = 1024,  /* octets of one; a longer one is left out */
    HOST_MAX = 255,   /* octets of a name of a host */
    ADDRESS_MAX = 64, /* and of an address */
    NONE_MIN_MS = 5 * 60 * 1000,
    NONE_MAX_MS = 60 * 60 * 1000,
    AGAIN_MS = 60 * 1000, /* after no answer */
    TICK_MAX_MS = 60 * 1000,
    TICK_MIN_MS = 250,
    DAY_S = 86400,
    SPREAD_S = 4 * 3600, /* 4.1: of reports of all who send some */
    DAYS_KEPT = 7,       /* how old an unsent report may get, while the server was down for instance */
};

int64_t rpt_now_s(const struct agent *a)
{
    return world_wall_ms(a->world) / 1000;
}

int64_t rpt_scaled_s(uint32_t every_s, int64_t s)
{
    int64_t scaled = s * (int64_t)every_s / DAY_S;
    return scaled < 1 ? 1 : scaled;
}

uint64_t rpt_token(struct agent *a, struct rpt_ask *ask, bool is_day)
{
    uint64_t token = ++a->token;
    ask->is_day = is_day;
    idmap_insert(&a->rpt->tokens, &ask->by_token, token);
    return token;
}

/* ---- days ---------------------------------------------------------------------------------------------- */

static uint64_t day_key(const struct agent *a, struct str domain, int64_t begin_s, uint32_t every_s)
{
    return str_ihash(domain, a->seed) ^ ((uint64_t)begin_s * UINT64_C(0x9e3779b97f4a7c15)) ^ every_s;
}

static struct rpt_day *day_find(const struct agent *a, struct str domain, int64_t begin_s, uint32_t every_s)
{
    struct idmap_node *n = idmap_find(&a->rpt->days_by_key, day_key(a, domain, begin_s, every_s));
    struct rpt_day *d = n == NULL ? NULL : container_of(n, struct rpt_day, by_key);
    return d != NULL && d->begin_s == begin_s && str_ieq(rpt_domain(d), domain) ? d : NULL;
}

struct rpt_day *rpt_day_new(struct agent *a, struct str domain, int64_t begin_s, uint32_t every_s)
{
    struct rpt *r = a->rpt;
    uint64_t key = day_key(a, domain, begin_s, every_s);
    bool has_room = r->n_days < r->days_max && idmap_find(&r->days_by_key, key) == NULL;
    struct rpt_day *d = has_room ? mem_alloc(sizeof *d + domain.n + 1) : NULL;
    if (d == NULL)
        return NULL;
    d->agent = a;
    d->begin_s = begin_s;
    d->every_s = every_s;
    d->n_domain = domain.n;
    for (size_t i = 0; i < domain.n; i++)
        d->domain[i] = ascii_lower(domain.p[i]);
    d->shard = (unsigned)(str_ihash(rpt_domain(d), 0) % RPT_SHARDS); /* the same after a restart */
    arena_init(&d->arena, &r->pool, TLS_RPT_DAY_MEMORY);
    tls_rpt_tally_init(&d->tally, &d->arena);
    list_init(&d->link);
    list_init(&d->ready);
    idmap_insert(&r->days_by_key, &d->by_key, key);
    list_push_back(&r->days, &d->link);
    r->n_days++;
    return d;
}

void rpt_day_del(struct rpt_day *d)
{
    struct rpt *r = d->agent->rpt;
    r->n_at_work -= d->state == DAY_AT_WORK;
    (void)idmap_remove(&r->days_by_key, d->by_key.id);
    list_remove(&d->link);
    list_remove(&d->ready);
    r->n_days--;
    rpt_store_mark(d, d->state != DAY_COUNTING);
    arena_reset(&d->arena);
    mem_free(d->places);
    mem_free(d);
}

bool rpt_places_new(struct rpt_day *d, size_t n)
{
    must(n <= TLS_RPT_RUA_MAX && d->places == NULL);
    d->places = mem_alloc_array(n + 1, sizeof *d->places);
    return d->places != NULL;
}

void rpt_place_add(struct rpt_day *d, struct str uri, enum rpt_place_state state)
{
    struct rpt_place *p = &d->places[d->n_places++];
    must(uri.n <= sizeof p->uri);
    p->state = state;
    p->n_uri = uri.n;
    memcpy(p->uri, uri.p, uri.n);
}

void rpt_day_set(struct rpt_day *d, enum rpt_day_state to)
{
    static const bool allowed[4][4] = {
        [DAY_COUNTING] = {[DAY_WAITING] = true},
        [DAY_WAITING] = {[DAY_READY] = true},
        [DAY_READY] = {[DAY_AT_WORK] = true},
        [DAY_AT_WORK] = {[DAY_WAITING] = true},
    };
    struct rpt *r = d->agent->rpt;
    must(allowed[d->state][to]);
    r->n_at_work += (size_t)(to == DAY_AT_WORK) - (size_t)(d->state == DAY_AT_WORK);
    list_remove(&d->ready);
    if (to == DAY_READY)
        list_push_back(&r->ready, &d->ready);
    d->state = to;
}

/* ---- who wants reports --------------------------------------------------------------------------------- */

static struct str name_of(const struct rpt_name *n)
{
    return str_of(n->text, n->n);
}

static void name_set(struct rpt *r, struct rpt_name *n, enum rpt_name_state to)
{
    r->n_asking += (size_t)(to == NAME_ASKED) - (size_t)(n->state == NAME_ASKED);
    list_remove(&n->waiting);
    if (to == NAME_WAITING)
        list_push_back(&r->asking, &n->waiting);
    n->state = to;
}

static void name_del(struct rpt *r, struct rpt_name *n)
{
    (void)idmap_remove(&r->names, n->by_name.id);
    if (n->state == NAME_ASKED)
        (void)idmap_remove(&r->tokens, n->ask.by_token.id);
    name_set(r, n, NAME_UNKNOWN);
    list_remove(&n->by_use);
    r->n_names--;
    mem_free(n);
}

/* NULL: no memory, or another name has the same hash. */
static struct rpt_name *name_get(struct agent *a, struct str domain)
{
    struct rpt *r = a->rpt;
    uint64_t hash = str_ihash(domain, a->seed);
    struct idmap_node *node = idmap_find(&r->names, hash);
    struct rpt_name *n = node == NULL ? NULL : container_of(node, struct rpt_name, by_name);
    if (n != NULL) {
        list_remove(&n->by_use);
        list_push_back(&r->by_use, &n->by_use);
        return str_ieq(name_of(n), domain) ? n : NULL;
    }
    if (r->n_names == r->names_max)
        name_del(r, list_entry(r->by_use.next, struct rpt_name, by_use));
    n = mem_alloc(sizeof *n + domain.n + 1);
    if (n == NULL)
        return NULL;
    n->n = domain.n;
    for (size_t i = 0; i < domain.n; i++)
        n->text[i] = ascii_lower(domain.p[i]);
    list_init(&n->waiting);
    list_init(&n->by_use);
    list_push_back(&r->by_use, &n->by_use);
    idmap_insert(&r->names, &n->by_name, hash);
    r->n_names++;
    return n;
}

bool rpt_ask_txt(struct agent *a, struct str domain, struct rpt_ask *ask, bool is_day)
{
    char mem[2 * DNS_NAME_MAX];
    struct buf name;
    buf_init_fixed(&name, mem, sizeof mem);
    tls_rpt_record_name(domain, &name);
    if (a->lookup == NULL || name.n > DNS_NAME_MAX)
        return false;
    struct ipc_rr_ask m = {.token = rpt_token(a, ask, is_day), .type = DNS_TXT, .name = buf_str(&name)};
    if (ipc_send_rr_ask(a->lookup, &m, NULL) == ERR_OK)
        return true;
    (void)idmap_remove(&a->rpt->tokens, m.token);
    return false;
}

enum rpt_txt rpt_read_txt(const struct ipc_rr_answer *m, struct buf *mem, struct tls_rpt_record *out)
{
    struct str records[RPT_RECORDS_MAX];
    struct reader r = reader_of(m->rdata);
    size_t n = 0;
    if (m->status == DNS_STATUS_NODATA || m->status == DNS_STATUS_NXDOMAIN)
        return RPT_TXT_NONE;
    if (m->status != DNS_STATUS_OK)
        return RPT_TXT_FAILED;
    while (n < RPT_RECORDS_MAX && list_next_str(&r, &records[n]))
        n++;
    return tls_rpt_record(records, n, mem, out) ? RPT_TXT_RECORD : RPT_TXT_NONE;
}

static int64_t begin_of(const struct agent *a, uint32_t every_s)
{
    int64_t now_s = rpt_now_s(a);
    return now_s - now_s % (int64_t)every_s;
}

/* What is counted for nobody is let go. */
static void forget_day(struct agent *a, struct str domain)
{
    uint32_t every_s = a->env->config->tls_reports_every_s;
    struct rpt_day *d = every_s == 0 ? NULL : day_find(a, domain, begin_of(a, every_s), every_s);
    if (d != NULL && d->state == DAY_COUNTING)
        rpt_day_del(d);
}

static void name_known(struct agent *a, struct rpt_name *n, enum rpt_txt txt, uint64_t ttl_ms)
{
    uint64_t now_ms = world_now_ms(a->world);
    uint32_t every_s = a->env->config->tls_reports_every_s;
    if (txt == RPT_TXT_FAILED) {
        n->until_ms = now_ms + AGAIN_MS;
        name_set(a->rpt, n, NAME_UNKNOWN);
        return;
    }
    name_set(a->rpt, n, NAME_KNOWN);
    n->is_wanting = txt == RPT_TXT_RECORD;
    if (n->is_wanting) { /* asked again before the report is sent */
        int64_t left_s = every_s == 0 ? 0 : begin_of(a, every_s) + (int64_t)every_s - rpt_now_s(a);
        n->until_ms = now_ms + (uint64_t)left_s * 1000;
    } else {
        n->until_ms = now_ms + (ttl_ms < NONE_MIN_MS   ? NONE_MIN_MS
                                : ttl_ms > NONE_MAX_MS ? NONE_MAX_MS
                                                       : ttl_ms);
        forget_day(a, name_of(n));
    }
}

static void ask_names(struct agent *a)
{
    struct rpt *r = a->rpt;
    while (r->n_asking < TLS_RPT_ASKS_MAX && !list_is_empty(&r->asking)) {
        struct rpt_name *n = list_entry(r->asking.next, struct rpt_name, waiting);
        if (rpt_ask_txt(a, name_of(n), &n->ask, false))
            name_set(r, n, NAME_ASKED);
        else
            name_known(a, n, RPT_TXT_FAILED, 0);
    }
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

/* RFC 8460 4.4: each line of it is a text. */
static size_t split_lines(struct str text, struct str *lines, size_t max)
{
    size_t n = 0;
    while (text.n > 0 && n < max) {
        struct str line = str_cut(&text, '\n');
        if (str_ends(line, STR("\r")))
            line.n--;
        if (line.n > 0 && line.n <= LINE_MAX)
            lines[n++] = line;
    }
    return n;
}

/* false: malformed. */
static bool list_lines(struct str list, struct str *lines, size_t *out_n)
{
    struct reader in = reader_of(list);
    struct str line;
    size_t n = 0;
    while (list_next_str(&in, &line)) {
        if (line.n <= LINE_MAX && n < LINES_MAX)
            lines[n++] = line;
    }
    *out_n = n;
    return reader_done(&in);
}

/* What the session was counted under, and why it failed. false: malformed. */
static bool read_session(struct agent *a, const struct ipc_tls_session *m, struct sts_told *told,
                         struct tls_rpt_policy *p, struct tls_rpt_failure *f)
{
    struct rpt *r = a->rpt;
    bool is_ok = m->result == TLS_SESSION_OK;
    if (m->policy >= TLS_RPT_TYPE_OTHER || (!is_ok && m->result >= TLS_RPT_OTHER) ||
        !list_lines(m->lines, r->lines, &p->n_lines))
        return false;
    p->type = (enum tls_rpt_type)m->policy;
    p->domain = m->domain;
    p->lines = r->lines;
    f->result = is_ok ? TLS_RPT_OTHER : (enum tls_rpt_result)m->result;
    f->sending_ip = str_slice(m->sending, 0, ADDRESS_MAX);
    f->mx = str_slice(m->mx, 0, HOST_MAX);
    f->receiving_ip = str_slice(m->receiving, 0, ADDRESS_MAX);
    f->reason = str_slice(m->reason, 0, RPT_WHY_MAX);
    if (p->type == TLS_RPT_TLSA)
        return true;
    p->n_lines = 0;
    sts_tell(a, m->domain, told);
    if (p->type == TLS_RPT_STS && told->has_policy) {
        p->n_lines = split_lines(told->text, r->lines, ARRAY_LEN(r->lines));
        p->mx = told->policy.mx;
        p->n_mx = told->policy.n_mx;
    } else if (p->type == TLS_RPT_NO_POLICY && told->failed_as != TLS_RPT_OTHER) {
        /* 4.3.2.2: there would have been one; what became of the session is the smaller matter */
        p->type = TLS_RPT_STS;
        f->result = told->failed_as;
        f->reason = str_slice(told->why, 0, RPT_WHY_MAX);
    }
    return true;
}

static struct rpt_day *day_get(struct agent *a, struct str domain)
{
    uint32_t every_s = a->env->config->tls_reports_every_s;
    int64_t begin_s = begin_of(a, every_s);
    struct rpt_day *d = day_find(a, domain, begin_s, every_s);
    return d != NULL ? d : rpt_day_new(a, domain, begin_s, every_s);
}

static void count(struct agent *a, const struct tls_rpt_policy *p, const struct tls_rpt_failure *f)
{
    struct rpt *r = a->rpt;
    uint64_t now_ms = world_now_ms(a->world);
    struct rpt_name *n = name_get(a, p->domain);
    if (n != NULL && n->state == NAME_KNOWN && !n->is_wanting && now_ms < n->until_ms)
        return;
    struct rpt_day *d = day_get(a, p->domain);
    if (d == NULL || d->state != DAY_COUNTING) { /* the latter when the clock was set back */
        r->n_over++;
        return;
    }
    tls_rpt_tally_add(&d->tally, p, f->result == TLS_RPT_OTHER ? NULL : f);
    rpt_store_mark(d, false);
    if (n != NULL && (n->state == NAME_UNKNOWN || n->state == NAME_KNOWN) && now_ms >= n->until_ms)
        name_set(r, n, NAME_WAITING);
}

bool rpt_session(struct agent *a, const struct ipc_tls_session *m)
{
    struct sts_told told;
    struct tls_rpt_policy p = {.n_lines = 0};
    struct tls_rpt_failure f = {.n = 0};
    if (!read_session(a, m, &told, &p, &f))
        return false;
    bool is_name = m->domain.n < DNS_NAME_MAX && domain_is_valid(m->domain, false);
    if (!is_name || !config_reports_tls(a->env->config) || rpt_now_s(a) < 0)
        return true;
    a->rpt->count.sessions++;
    count(a, &p, &f);
    return true;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static struct rpt_day *day_of(struct rpt_ask *ask)
{
    return container_of(ask, struct rpt_day, ask);
}

/* Who asked under this token, once; NULL: nobody of ours. */
static struct rpt_ask *take_ask(struct agent *a, uint64_t token)
{
    struct idmap_node *n = idmap_remove(&a->rpt->tokens, token);
    return n == NULL ? NULL : container_of(n, struct rpt_ask, by_token);
}

static void fail_ask(struct agent *a, struct rpt_ask *ask, const char *why)
{
    if (ask->is_day)
        rpt_send_fail(day_of(ask), why);
    else
        name_known(a, container_of(ask, struct rpt_name, ask), RPT_TXT_FAILED, 0);
}

static const char no_sense[] = "no sense from the name server";

void rpt_on_rr(struct agent *a, const struct ipc_rr_answer *m)
{
    struct rpt_ask *ask = take_ask(a, m->token);
    if (ask == NULL)
        return;
    if (!ask->is_day) {
        char mem[DNS_TXT_MAX];
        struct buf b;
        struct tls_rpt_record record;
        buf_init_fixed(&b, mem, sizeof mem);
        name_known(a, container_of(ask, struct rpt_name, ask), rpt_read_txt(m, &b, &record),
                   (uint64_t)m->ttl_s * 1000);
    } else if (day_of(ask)->step == STEP_TXT) {
        rpt_send_txt(day_of(ask), m);
    } else {
        fail_ask(a, ask, no_sense);
    }
}

void rpt_on_host(struct agent *a, const struct ipc_host_answer *m)
{
    struct rpt_ask *ask = take_ask(a, m->token);
    if (ask == NULL)
        return;
    if (ask->is_day && day_of(ask)->step == STEP_HOST)
        rpt_send_host(day_of(ask), m);
    else
        fail_ask(a, ask, no_sense);
}

void rpt_on_grant(struct agent *a, const struct ipc_id_grant *m)
{
    struct rpt *r = a->rpt;
    r->id_asked = false;
    r->ids = m->first;
    r->ids_end = m->n > UINT64_MAX - m->first ? m->first : m->first + m->n;
}

void rpt_on_put_done(struct agent *a, const struct ipc_put_done *m)
{
    struct rpt_ask *ask = take_ask(a, m->token);
    if (ask == NULL)
        return;
    if (ask->is_day && day_of(ask)->step == STEP_PUT)
        rpt_send_put_done(day_of(ask), m);
    else
        fail_ask(a, ask, no_sense);
}

struct orphans {
    struct rpt_ask *all[TLS_RPT_ASKS_MAX + TLS_RPT_SENDS_MAX];
    size_t n;
    bool of_queue;
};

static void collect(struct idmap_node *node, void *arg)
{
    struct orphans *o = arg;
    struct rpt_ask *ask = container_of(node, struct rpt_ask, by_token);
    if ((ask->is_day && day_of(ask)->step == STEP_PUT) == o->of_queue)
        o->all[o->n++] = ask;
}

static void fail_all(struct agent *a, bool of_queue, const char *why)
{
    struct orphans o = {.of_queue = of_queue};
    idmap_each(&a->rpt->tokens, collect, &o);
    for (size_t i = 0; i < o.n; i++)
        (void)idmap_remove(&a->rpt->tokens, o.all[i]->by_token.id);
    for (size_t i = 0; i < o.n; i++)
        fail_ask(a, o.all[i], why);
}

void rpt_lookup_gone(struct agent *a)
{
    fail_all(a, false, "the name server went away");
}

void rpt_queue_gone(struct agent *a)
{
    struct rpt *r = a->rpt;
    r->ids = r->ids_end = 0;
    r->id_asked = false;
    fail_all(a, true, "the queue went away");
    list_each (l, &r->want_id)
        rpt_send_fail(list_entry(l, struct rpt_day, ready), "the queue went away");
}

/* ---- time ---------------------------------------------------------------------------------------------- */

/* 4.1: a day's reports leave within the first hours of the next day, not all at once. */
static void end_day(struct rpt_day *d)
{
    uint64_t spread_s = (uint64_t)rpt_scaled_s(d->every_s, SPREAD_S);
    d->due_s = d->begin_s + (int64_t)d->every_s + (int64_t)world_random_below(d->agent->world, spread_s);
    rpt_day_set(d, DAY_WAITING);
    rpt_store_mark(d, false);
}

static bool is_too_old(const struct rpt_day *d, int64_t now_s)
{
    return now_s - d->begin_s > DAYS_KEPT * (int64_t)d->every_s;
}

static void tell_missing(struct agent *a, int64_t begin_s)
{
    struct rpt *r = a->rpt;
    if (begin_s == r->told_s)
        return;
    r->told_s = begin_s;
    if (r->n_over > 0)
        log_warn(world_log(a->world), "tlsrpt.not_counted", LU("sessions", r->n_over),
                 LC("why", "too many domains, or no memory"));
    r->n_over = 0;
}

void rpt_look(struct agent *a)
{
    int64_t now_s = rpt_now_s(a);
    bool is_on = config_reports_tls(a->env->config);
    if (is_on)
        tell_missing(a, begin_of(a, a->env->config->tls_reports_every_s));
    list_each (l, &a->rpt->days) {
        struct rpt_day *d = list_entry(l, struct rpt_day, link);
        if (d->state == DAY_COUNTING && now_s >= d->begin_s + (int64_t)d->every_s)
            end_day(d);
        if (d->state == DAY_WAITING && is_too_old(d, now_s)) {
            log_warn(world_log(a->world), "tlsrpt.failed", LS("domain", rpt_domain(d)),
                     LC("why", "it is too old"));
            a->rpt->count.failed++;
            rpt_day_del(d);
        } else if (d->state == DAY_WAITING && is_on && now_s >= d->due_s) {
            rpt_day_set(d, DAY_READY);
        }
    }
}

static void on_tick(struct timer *t)
{
    struct rpt *r = container_of(t, struct rpt, tick);
    struct agent *a = r->agent;
    uint32_t every_s = a->env->config->tls_reports_every_s;
    uint64_t ms = (uint64_t)every_s * 1000 / (24 * 60); /* a minute of a day */
    rpt_look(a);
    ms = ms < TICK_MIN_MS ? TICK_MIN_MS : ms > TICK_MAX_MS ? TICK_MAX_MS : ms;
    world_timer_set(a->world, t, world_now_ms(a->world) + ms);
}

/* Questions and reports begin at the end of a turn, and not one within the other. */
static void on_turn_end(struct turn_hook *h)
{
    struct rpt *r = container_of(h, struct rpt, turn);
    struct agent *a = r->agent;
    ask_names(a);
    rpt_send_ids(a);
    while (!a->is_draining && r->n_at_work < TLS_RPT_SENDS_MAX && !list_is_empty(&r->ready)) {
        struct rpt_day *d = list_entry(r->ready.next, struct rpt_day, ready);
        rpt_day_set(d, DAY_AT_WORK);
        rpt_send(d);
        rpt_send_ids(a);
    }
    if (a->is_draining)
        agent_look_drained(a);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

void rpt_drain(struct agent *a)
{
    rpt_store_flush(a);
}

bool rpt_is_idle(const struct agent *a)
{
    return a->rpt->n_at_work == 0 && rpt_store_is_idle(a);
}

bool rpt_init(struct agent *a)
{
    struct rpt *r = mem_new(struct rpt);
    if (r == NULL)
        return false;
    struct list *const lists[] = {&r->by_use, &r->asking, &r->days, &r->ready, &r->want_id};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    r->agent = a;
    r->names_max = TLS_RPT_NAMES_MAX;
    r->days_max = TLS_RPT_DAYS_MAX;
    chunk_pool_init(&r->pool, POOL_CHUNK, TLS_RPT_MEMORY / POOL_CHUNK);
    a->rpt = r;
    bool ok = idmap_init(&r->names);
    ok = idmap_init(&r->days_by_key) && ok;
    ok = idmap_init(&r->tokens) && ok;
    r->turn = (struct turn_hook){.run = on_turn_end};
    world_turn_end(a->world, &r->turn);
    r->tick.fire = on_tick;
    world_timer_set(a->world, &r->tick, world_now_ms(a->world) + TICK_MIN_MS);
    return ok;
}

void rpt_fini(struct agent *a)
{
    struct rpt *r = a->rpt;
    list_each (l, &r->days)
        rpt_day_del(list_entry(l, struct rpt_day, link));
    list_each (l, &r->by_use)
        name_del(r, list_entry(l, struct rpt_name, by_use));
    world_timer_cancel(a->world, &r->tick);
    list_remove(&r->turn.link);
    idmap_fini(&r->names);
    idmap_fini(&r->days_by_key);
    idmap_fini(&r->tokens);
    chunk_pool_fini(&r->pool);
    a->rpt = NULL;
    mem_free(r);
}
