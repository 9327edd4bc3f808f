/* service/queue/queue_site.c: what the mail exchangers of a domain mean for us (RFC 5321 5.1, RFC 7505).
 *
 * A domain's answer becomes hops for the relay and the name of a site: domains with the same set of hosts
 * share one. Our own name in the set removes itself and all that are not preferred to it: they would only
 * come back to us. Limits: QUEUE_MX_MAX domains, the least used go first; QUEUE_MX_OPEN_MAX questions open,
 * the others wait.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

#include <string.h>

enum { MX_TEXT_MAX = 32 * 1024, MX_WHY_MAX = 200, MX_RETRY_S = 60, STS_TTL_MIN_MS = 1000 };

static void mx_set_state(struct mx *mx, enum mx_state to)
{
    static const bool allowed[4][4] = {
        [MX_NEW] = {[MX_ASKED] = true},
        [MX_ASKED] = {[MX_STS] = true, [MX_KNOWN] = true, [MX_NEW] = true},
        [MX_STS] = {[MX_KNOWN] = true},
        [MX_KNOWN] = {[MX_NEW] = true},
    };
    must(allowed[mx->state][to]);
    mx->state = to;
}

static bool has_waiters(const struct mx *mx)
{
    return !list_is_empty(&mx->entries) || !list_is_empty(&mx->works) || !list_is_empty(&mx->callouts);
}

static void mx_free(struct queue *q, struct mx *mx)
{
    (void)idmap_remove(&q->mx, mx->by_domain.id);
    if (mx->state == MX_ASKED) {
        (void)idmap_remove(&q->mx_tokens, mx->by_token.id);
        q->n_mx_open--;
    }
    list_remove(&mx->link);
    list_remove(&mx->asking);
    mem_free(mx->octets);
    mem_free(mx);
}

static void ask_waiting(struct queue *q)
{
    while (q->lookup != NULL && q->n_mx_open < QUEUE_MX_OPEN_MAX && !list_is_empty(&q->mx_asking)) {
        struct mx *mx = list_entry(q->mx_asking.next, struct mx, asking);
        struct ipc_mx_ask m = {.token = ++q->token, .domain = mx->domain};
        if (ipc_send_mx_ask(q->lookup, &m, NULL) != ERR_OK)
            return; /* with the next answer there is room again */
        list_remove(&mx->asking);
        mx_set_state(mx, MX_ASKED);
        idmap_insert(&q->mx_tokens, &mx->by_token, m.token);
        q->n_mx_open++;
    }
}

static struct mx *mx_new(struct queue *q, struct str domain, uint64_t hash)
{
    if (q->mx.n >= QUEUE_MX_MAX) {
        list_each (l, &q->mx_by_use) {
            struct mx *old = list_entry(l, struct mx, link);
            if (old->state == MX_KNOWN && !has_waiters(old)) {
                mx_free(q, old);
                break;
            }
        }
    }
    struct mx *mx = q->mx.n >= 2 * (size_t)QUEUE_MX_MAX ? NULL : mem_new(struct mx);
    if (mx == NULL)
        return NULL;
    mx->octets = mem_alloc(domain.n);
    if (mx->octets == NULL) {
        mem_free(mx);
        return NULL;
    }
    memcpy(mx->octets, domain.p, domain.n);
    mx->domain = str_of(mx->octets, domain.n);
    list_init(&mx->asking);
    list_init(&mx->entries);
    list_init(&mx->works);
    list_init(&mx->callouts);
    list_push_back(&q->mx_by_use, &mx->link);
    idmap_insert(&q->mx, &mx->by_domain, hash);
    return mx;
}

static struct mx *find(struct queue *q, struct str domain)
{
    uint64_t hash = str_ihash(domain, q->seed);
    struct idmap_node *n = idmap_find(&q->mx, hash);
    if (n == NULL)
        return mx_new(q, domain, hash);
    struct mx *mx = container_of(n, struct mx, by_domain);
    if (str_ieq(mx->domain, domain))
        return mx;
    if (mx->state != MX_KNOWN || has_waiters(mx))
        return NULL; /* two domains with one hash at one moment: the later one waits */
    mx_free(q, mx);
    return mx_new(q, domain, hash);
}

enum waiter { WAITER_ENTRY = 0, WAITER_WORK, WAITER_CALLOUT };

static const struct mx *get(struct queue *q, struct str domain, enum waiter kind, struct list *node)
{
    static const struct mx busy = {
        .state = MX_KNOWN,
        .verdict = RESULT_TEMPORARY,
        .esc = {4, 4, 3},
        .site = {"mx:busy", 7},
        .why = {"too many domains are being looked up", 36},
    };
    struct mx *mx = domain.n == 0 || domain.n > DNS_NAME_MAX ? NULL : find(q, domain);
    if (mx == NULL)
        return &busy;
    list_remove(&mx->link);
    list_push_back(&q->mx_by_use, &mx->link);
    if (mx->state == MX_KNOWN) {
        if (world_now_ms(q->world) < mx->expires_ms)
            return mx;
        mx_set_state(mx, MX_NEW);
    }
    struct list *const lists[] = {
        [WAITER_ENTRY] = &mx->entries, [WAITER_WORK] = &mx->works, [WAITER_CALLOUT] = &mx->callouts};
    list_push_back(lists[kind], node);
    if (mx->state == MX_NEW && list_is_empty(&mx->asking)) {
        list_push_back(&q->mx_asking, &mx->asking);
        ask_waiting(q);
    }
    return NULL;
}

const struct mx *mx_get(struct queue *q, struct str domain, struct schedule_entry *e, struct work *w)
{
    return e != NULL ? get(q, domain, WAITER_ENTRY, &e->link) : get(q, domain, WAITER_WORK, &w->wait);
}

const struct mx *mx_get_callout(struct queue *q, struct str domain, struct list *node)
{
    return get(q, domain, WAITER_CALLOUT, node);
}

/* ---- an answer ---- */

struct hosts {
    struct hop hops[DNS_MX_MAX];
    size_t n;
    bool has_loop; /* we are among them */
    uint32_t own_preference;
};

static bool read_hosts(struct queue *q, struct str list, struct hosts *out)
{
    struct reader r = reader_of(list);
    struct hop h;
    *out = (struct hosts){.own_preference = UINT32_MAX};
    while (list_next_hop(&r, &h)) {
        if (h.name.n == 0 || h.name.n > DNS_NAME_MAX || str_has_ctl(h.name) || out->n == DNS_MX_MAX)
            return false;
        h.port = (uint16_t)q->config->smtp_port;
        if (str_ieq(h.name, q->config->policy.hostname)) {
            out->has_loop = true;
            if (h.preference < out->own_preference)
                out->own_preference = h.preference;
        }
        out->hops[out->n++] = h;
    }
    if (r.failed)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++) {
        if (out->hops[i].preference < out->own_preference)
            out->hops[n++] = out->hops[i];
    }
    out->n = n;
    return true;
}

/* "mx:a.example,b.example", names in order; a set too long for that gets a hash of the rest. */
static void put_site(const struct hosts *h, struct buf *out)
{
    struct str names[DNS_MX_MAX];
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        size_t at = 0;
        while (at < n && str_icmp(names[at], h->hops[i].name) < 0)
            at++;
        if (at < n && str_ieq(names[at], h->hops[i].name))
            continue;
        memmove(&names[at + 1], &names[at], (n - at) * sizeof names[0]);
        names[at] = h->hops[i].name;
        n++;
    }
    uint64_t rest = 0;
    size_t start = out->n;
    buf_puts(out, "mx:");
    for (size_t i = 0; i < n; i++) {
        if (rest != 0 || out->n - start + names[i].n > ENVELOPE_SITE_MAX - 24) {
            rest = str_ihash(names[i], rest);
            continue;
        }
        if (i > 0)
            buf_putc(out, ',');
        for (size_t k = 0; k < names[i].n; k++)
            buf_putc(out, ascii_lower(names[i].p[k]));
    }
    if (rest != 0)
        buf_printf(out, ",%016llx", (unsigned long long)rest);
}

struct verdict {
    enum result_kind kind;
    struct esc esc;
    const char *why;
};

static struct verdict judge(const struct ipc_mx_answer *m, struct hosts *h, struct str domain,
                            struct queue *q)
{
    static const struct verdict loop = {
        RESULT_PERMANENT,
        {5, 4, 6},
        "the mail exchanger of the domain is this server, which does not take its mail"};
    switch ((enum dns_status)m->status) {
    case DNS_STATUS_OK:
        if (!read_hosts(q, m->hosts, h))
            break;
        if (h->n > 0)
            return (struct verdict){.kind = RESULT_OK};
        if (h->has_loop)
            return loop;
        break;
    case DNS_STATUS_NODATA: /* the domain itself, RFC 5321 5.1 */
        *h = (struct hosts){.n = 1};
        h->hops[0] = (struct hop){.port = (uint16_t)q->config->smtp_port, .name = domain};
        if (str_ieq(domain, q->config->policy.hostname))
            return loop;
        return (struct verdict){.kind = RESULT_OK};
    case DNS_STATUS_NULL_MX:
        return (struct verdict){RESULT_PERMANENT, {5, 1, 10}, "the domain takes no mail (null MX)"};
    case DNS_STATUS_NXDOMAIN:
        return (struct verdict){RESULT_PERMANENT, {5, 1, 2}, "there is no such domain"};
    case DNS_STATUS_TEMPORARY:
        return (struct verdict){RESULT_TEMPORARY, {4, 4, 3}, NULL};
    }
    return (struct verdict){
        RESULT_TEMPORARY, {4, 4, 3}, "the answer of the domain name system makes no sense"};
}

/* RFC 7672 2.2: where there are no MX records the host is the domain itself, whoever says so. */
static enum dane_mx found_by(const struct ipc_mx_answer *m)
{
    if (m->status == DNS_STATUS_NODATA)
        return DANE_MX_NONE;
    return m->is_secure != 0 ? DANE_MX_SECURE : DANE_MX_INSECURE;
}

/* Texts into one block: domain, site, hops, why, canonical. */
static void keep(struct mx *mx, const struct verdict *v, const struct hosts *h, const struct ipc_mx_answer *m)
{
    struct buf b;
    buf_init(&b, MX_TEXT_MAX);
    buf_put(&b, mx->domain);
    size_t site = b.n;
    if (v->kind == RESULT_OK) {
        put_site(h, &b);
    } else {
        buf_puts(&b, "mx:");
        buf_put(&b, mx->domain);
    }
    size_t hops = b.n;
    for (size_t i = 0; v->kind == RESULT_OK && i < h->n; i++)
        list_put_hop(&b, &h->hops[i]);
    size_t text = b.n;
    if (v->why != NULL)
        buf_puts(&b, v->why);
    else if (v->kind != RESULT_OK)
        buf_put(&b, str_slice(m->why, 0, MX_WHY_MAX));
    size_t canonical = b.n;
    if (m->is_secure != 0 && m->canonical.n <= DNS_NAME_MAX && !str_ieq(m->canonical, mx->domain))
        buf_put(&b, m->canonical);
    mx->found = found_by(m);
    mx->verdict = v->kind;
    mx->esc = v->esc;
    mx->site = mx->hops = mx->why = mx->canonical = STR_NIL;
    if (b.failed) { /* without memory */
        buf_fini(&b);
        mx->verdict = RESULT_TEMPORARY;
        mx->esc = ESC(4, 3, 2);
        mx->site = STR("mx:busy");
        return;
    }
    size_t n_domain = mx->domain.n;
    mem_free(mx->octets);
    mx->octets = b.p; /* the block stays, the buffer that filled it ends */
    mx->domain = str_of(b.p, n_domain);
    mx->site = str_of(b.p + site, hops - site);
    mx->hops = str_of(b.p + hops, text - hops);
    mx->why = str_of(b.p + text, canonical - text);
    mx->canonical = str_of(b.p + canonical, b.n - canonical);
}

static void ask_agent(struct queue *q)
{
    while (q->agent != NULL && q->n_sts_open < QUEUE_STS_OPEN_MAX && !list_is_empty(&q->sts_asking)) {
        struct mx *mx = list_entry(q->sts_asking.next, struct mx, asking);
        struct ipc_sts_ask m = {.token = ++q->token, .domain = mx->domain};
        if (ipc_send_sts_ask(q->agent, &m, NULL) != ERR_OK)
            return; /* mx_on_agent_room() */
        list_remove(&mx->asking);
        list_push_back(&q->sts_open, &mx->asking);
        idmap_insert(&q->mx_tokens, &mx->by_token, m.token);
        q->n_sts_open++;
    }
}

static void tell_waiters(struct queue *q, struct mx *mx)
{
    struct list *l;
    while ((l = list_pop_front(&mx->entries)) != NULL)
        queue_place_mx(q, list_entry(l, struct schedule_entry, link), mx);
    while ((l = list_pop_front(&mx->works)) != NULL)
        work_prepare(list_entry(l, struct work, wait));
    while ((l = list_pop_front(&mx->callouts)) != NULL)
        callout_on_mx(q, l);
}

void mx_on_answer(struct queue *q, const struct ipc_mx_answer *m)
{
    struct idmap_node *n = idmap_remove(&q->mx_tokens, m->token);
    if (n == NULL)
        return;
    struct mx *mx = container_of(n, struct mx, by_token);
    if (mx->state != MX_ASKED) { /* lookup makes up tokens: this one is agent's */
        idmap_insert(&q->mx_tokens, n, m->token);
        return;
    }
    q->n_mx_open--;
    struct hosts h = {0};
    struct verdict v = judge(m, &h, mx->domain, q);
    keep(mx, &v, &h, m);
    uint64_t ttl_s = m->ttl_s;
    if (v.kind == RESULT_TEMPORARY)
        ttl_s = MX_RETRY_S;
    if (ttl_s < QUEUE_MX_TTL_MIN_S)
        ttl_s = QUEUE_MX_TTL_MIN_S;
    if (ttl_s > QUEUE_MX_TTL_MAX_S)
        ttl_s = QUEUE_MX_TTL_MAX_S;
    mx->expires_ms = world_now_ms(q->world) + ttl_s * 1000;
    mx->sts = MTA_STS_NONE;
    if (v.kind == RESULT_OK && config_follows_sts(q->config)) {
        mx_set_state(mx, MX_STS);
        mx->sts_since_ms = world_now_ms(q->world);
        list_push_back(&q->sts_asking, &mx->asking);
        if (!q->sts_timer.is_set)
            world_timer_set(q->world, &q->sts_timer, mx->sts_since_ms + QUEUE_STS_LOOK_MS);
        ask_agent(q);
    } else {
        mx_set_state(mx, MX_KNOWN);
        tell_waiters(q, mx);
    }
    ask_waiting(q);
}

/* ---- the domain's policy ---- */

static void match_hops(struct mx *mx, struct str patterns)
{
    struct mta_sts_policy p = {.mode = mx->sts};
    struct reader r = reader_of(patterns), hops = reader_of(mx->hops);
    struct hop h;
    bool is_all = true;
    while (p.n_mx < MTA_STS_MX_MAX && list_next_str(&r, &p.mx[p.n_mx]))
        p.n_mx++;
    mx->sts_hops = mx->sts_some = 0;
    for (size_t i = 0; i < DNS_MX_MAX && list_next_hop(&hops, &h); i++) {
        bool is_one = mta_sts_matches(&p, h.name);
        is_all = is_all && is_one;
        if (!is_one)
            continue;
        mx->sts_hops |= (uint32_t)1 << i;
        mx->sts_some ^= (uint32_t)str_ihash(h.name, 0); /* equal hosts come in any order */
    }
    mx->sts_some = is_all ? 0 : mx->sts_some | 1;
}

/* Its answer holds no longer than the records. */
void mx_on_sts(struct queue *q, const struct ipc_sts_answer *m)
{
    struct idmap_node *n = idmap_remove(&q->mx_tokens, m->token);
    struct mx *mx = n == NULL ? NULL : container_of(n, struct mx, by_token);
    if (mx == NULL)
        return;
    if (mx->state != MX_STS) { /* agent makes up tokens: this one is lookup's */
        idmap_insert(&q->mx_tokens, n, m->token);
        return;
    }
    q->n_sts_open--;
    list_remove(&mx->asking);
    mx->sts = m->mode <= MTA_STS_ENFORCE ? (enum mta_sts_mode)m->mode : MTA_STS_NONE;
    match_hops(mx, m->mx);
    uint64_t now_ms = world_now_ms(q->world);
    if (mx->expires_ms < now_ms + STS_TTL_MIN_MS) /* the fetch took its time: who waited must get by */
        mx->expires_ms = now_ms + STS_TTL_MIN_MS;
    uint64_t until_ms = now_ms + (m->ttl_s == 0 ? STS_TTL_MIN_MS : (uint64_t)m->ttl_s * 1000);
    if (until_ms < mx->expires_ms)
        mx->expires_ms = until_ms;
    mx_set_state(mx, MX_KNOWN);
    tell_waiters(q, mx);
    ask_agent(q);
}

/* What agent was asked is to be asked again. */
static void take_back(struct queue *q)
{
    while (!list_is_empty(&q->sts_open)) {
        struct mx *mx = list_entry(q->sts_open.prev, struct mx, asking);
        (void)idmap_remove(&q->mx_tokens, mx->by_token.id);
        q->n_sts_open--;
        list_remove(&mx->asking);
        list_push_front(&q->sts_asking, &mx->asking);
    }
}

void mx_on_agent(struct queue *q)
{
    take_back(q);
    ask_agent(q);
}

/* Without an answer the mail must not go. It is deferred, so that its sender learns of it in time, and agent
 * is not asked again at once what may have been its end.
 */
static void give_up_waiting(struct queue *q, struct list *head)
{
    uint64_t now_ms = world_now_ms(q->world);
    list_each (l, head) {
        struct mx *mx = list_entry(l, struct mx, asking);
        if (now_ms - mx->sts_since_ms < QUEUE_STS_WAIT_MS)
            continue;
        q->n_sts_open -= idmap_remove(&q->mx_tokens, mx->by_token.id) != NULL;
        list_remove(&mx->asking);
        mx->verdict = RESULT_TEMPORARY;
        mx->esc = ESC(4, 4, 3);
        mx->why = STR("the MTA-STS policy of the domain could not be asked for");
        mx->expires_ms = now_ms + (uint64_t)MX_RETRY_S * 1000;
        mx_set_state(mx, MX_KNOWN);
        tell_waiters(q, mx);
    }
}

void mx_on_sts_timer(struct timer *t)
{
    struct queue *q = container_of(t, struct queue, sts_timer);
    give_up_waiting(q, &q->sts_open);
    give_up_waiting(q, &q->sts_asking);
    if (!list_is_empty(&q->sts_open) || !list_is_empty(&q->sts_asking))
        world_timer_set(q->world, t, world_now_ms(q->world) + QUEUE_STS_LOOK_MS);
}

void mx_on_agent_room(struct queue *q)
{
    ask_agent(q);
}

static void expire(struct idmap_node *n, void *arg)
{
    UNUSED(arg);
    container_of(n, struct mx, by_domain)->expires_ms = 0;
}

void mx_reload(struct queue *q, bool wanted)
{
    if (wanted == config_follows_sts(q->config))
        return;
    idmap_each(&q->mx, expire, NULL);
    if (!wanted)
        return; /* each is asked about when its turn comes */
    take_back(q);
    struct list *l;
    while ((l = list_pop_front(&q->sts_asking)) != NULL) {
        struct mx *mx = list_entry(l, struct mx, asking);
        mx_set_state(mx, MX_KNOWN);
        tell_waiters(q, mx);
    }
}

static void ask_again(struct idmap_node *n, void *arg)
{
    struct queue *q = arg;
    struct mx *mx = container_of(n, struct mx, by_domain);
    if (mx->state != MX_ASKED)
        return;
    (void)idmap_remove(&q->mx_tokens, mx->by_token.id);
    q->n_mx_open--;
    mx_set_state(mx, MX_NEW);
    list_push_back(&q->mx_asking, &mx->asking);
}

void mx_on_lookup(struct queue *q)
{
    idmap_each(&q->mx, ask_again, q);
    ask_waiting(q);
}

void mx_clear(struct queue *q)
{
    list_each (l, &q->mx_by_use) {
        struct mx *mx = list_entry(l, struct mx, link);
        list_remove(&mx->link);
        mem_free(mx->octets);
        mem_free(mx);
    }
}
