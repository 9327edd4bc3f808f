/* service/agent/sts.c: the policies of domains: asked for, fetched, remembered, answered (RFC 8461).
 *
 * Owns:     a record for each domain that was asked about, with what DNS said and the policy, if it has one.
 * Limits:   MTA_STS_DOMAINS_MAX records without and MTA_STS_POLICIES_MAX with a policy, the least used go
 * first, so that strangers' domains can't push policies out; MTA_STS_ASKS_MAX and MTA_STS_FETCHES_MAX at
 * work, the others wait. Errors:   what can't be had leaves what is known (5.1), and is not tried again for
 * MTA_STS_RETRY_S. Security: a policy is true because of the certificate of its host (ext/http.h); DNS can
 * only make us look. The text is parsed here, in a process that holds no mail and no key.
 */
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/agent/agent.h"
#include "wire/address.h"

#include <string.h>

enum {
    DNS_MIN_MS = 60 * 1000,
    DNS_MAX_MS = 60 * 60 * 1000,
    DNS_FAILED_MS = 60 * 1000,
    LIFE_MIN_S = 60, /* of a policy that says less: it must outlive the answer to who asked */
    ANSWER_MIN_S = 5,
    ANSWER_MAX_S = 60 * 60,
    RECORDS_MAX = 64,
    ADDRESSES_MAX = 8,
    SWEEP_MAX = 16,
    SWEEP_MS = 5 * 60 * 1000, /* and up to twice as long */
    URL_MAX = 2 * DNS_NAME_MAX,
};

struct asker {
    struct list link;
    uint64_t token;
};

static struct str name_of(const struct domain *d)
{
    return str_of(d->name, d->n_name);
}

static int64_t now_s(const struct agent *a)
{
    return world_wall_ms(a->world) / 1000;
}

static bool is_fetching(enum domain_phase p)
{
    return p == DOMAIN_HOST || p == DOMAIN_FETCH;
}

static void set_phase(struct domain *d, enum domain_phase to)
{
    static const bool allowed[6][6] = {
        [DOMAIN_IDLE] = {[DOMAIN_WAITING] = true},
        [DOMAIN_WAITING] = {[DOMAIN_TXT] = true},
        [DOMAIN_TXT] = {[DOMAIN_TURN] = true, [DOMAIN_IDLE] = true},
        [DOMAIN_TURN] = {[DOMAIN_HOST] = true, [DOMAIN_IDLE] = true},
        [DOMAIN_HOST] = {[DOMAIN_FETCH] = true, [DOMAIN_IDLE] = true},
        [DOMAIN_FETCH] = {[DOMAIN_IDLE] = true},
    };
    struct agent *a = d->agent;
    must(allowed[d->phase][to]);
    a->n_asking += (size_t)(to == DOMAIN_TXT) - (size_t)(d->phase == DOMAIN_TXT);
    a->n_fetching += (size_t)is_fetching(to) - (size_t)is_fetching(d->phase);
    list_remove(&d->waiting);
    if (to == DOMAIN_WAITING)
        list_push_back(&a->waiting, &d->waiting);
    if (to == DOMAIN_TURN)
        list_push_back(&a->to_fetch, &d->waiting);
    d->phase = to;
}

/* ---- records ---- */

static struct domain *domain_find(const struct agent *a, struct str name)
{
    struct idmap_node *n = idmap_find(&a->domains, str_ihash(name, a->seed));
    struct domain *d = n == NULL ? NULL : container_of(n, struct domain, by_name);
    return d != NULL && str_ieq(name_of(d), name) ? d : NULL;
}

static void domain_del(struct domain *d)
{
    struct agent *a = d->agent;
    (void)idmap_remove(&a->domains, d->by_name.id);
    list_each (l, &d->askers)
        mem_free(list_entry(l, struct asker, link));
    list_remove(&d->by_use);
    list_remove(&d->waiting);
    list_remove(&d->to_save);
    a->n_bare -= d->policy.text == NULL;
    a->n_kept -= d->policy.text != NULL;
    mem_free(d->policy.text);
    mem_free(d);
}

static bool is_at_rest(const struct domain *d)
{
    return d->phase == DOMAIN_IDLE && list_is_empty(&d->askers) && !sts_store_needs(d);
}

static void place(struct domain *d)
{
    list_remove(&d->by_use);
    list_push_back(d->policy.text == NULL ? &d->agent->bare : &d->agent->kept, &d->by_use);
}

static void policy_drop(struct domain *d)
{
    if (d->policy.text == NULL)
        return;
    mem_free(d->policy.text);
    d->policy = (struct policy){.text = NULL};
    d->agent->n_kept--;
    d->agent->n_bare++;
    place(d);
    sts_store_put(d);
}

static bool make_room(struct agent *a)
{
    if (a->n_bare < a->bare_max)
        return true;
    list_each (l, &a->bare) {
        struct domain *d = list_entry(l, struct domain, by_use);
        if (is_at_rest(d)) {
            domain_del(d);
            return true;
        }
    }
    return false;
}

static struct domain *domain_new(struct agent *a, struct str name)
{
    uint64_t hash = str_ihash(name, a->seed);
    if (idmap_find(&a->domains, hash) != NULL) /* two names with one hash: the later one goes without */
        return NULL;
    struct domain *d = make_room(a) ? mem_alloc(sizeof *d + name.n + 1) : NULL;
    if (d == NULL)
        return NULL;
    d->agent = a;
    d->n_name = name.n;
    for (size_t i = 0; i < name.n; i++)
        d->name[i] = ascii_lower(name.p[i]);
    list_init(&d->by_use);
    list_init(&d->waiting);
    list_init(&d->to_save);
    list_init(&d->askers);
    idmap_insert(&a->domains, &d->by_name, hash);
    list_push_back(&a->bare, &d->by_use);
    a->n_bare++;
    return d;
}

/* ---- policies ---- */

/* text may be what d has already. false without memory: then all is as it was. */
static bool policy_set(struct domain *d, struct str id, int64_t at_s, struct str text,
                       const struct mta_sts_policy *p)
{
    struct agent *a = d->agent;
    char *copy = mem_alloc(text.n + 1);
    if (copy == NULL)
        return false;
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    bool had = d->policy.text != NULL;
    mem_free(d->policy.text);
    d->policy = (struct policy){.text = copy, .n_text = text.n, .at_s = at_s, .mode = p->mode};
    d->policy.max_age_s = p->max_age_s < LIFE_MIN_S ? LIFE_MIN_S : p->max_age_s;
    must(str_to_c(id, d->policy.id, sizeof d->policy.id));
    if (!had) {
        a->n_bare--;
        a->n_kept++;
    }
    place(d);
    if (a->n_kept > a->kept_max) {
        list_each (l, &a->kept) {
            struct domain *old = list_entry(l, struct domain, by_use);
            if (old == d || !is_at_rest(old))
                continue;
            policy_drop(old);
            break;
        }
    }
    return true;
}

bool sts_restore(struct agent *a, struct str domain, struct str id, int64_t at_s, struct str text)
{
    struct mta_sts_policy p;
    if (!domain_is_valid(domain, false) || domain.n > DNS_NAME_MAX || id.n == 0 || id.n > MTA_STS_ID_MAX ||
        a->n_kept >= a->kept_max || domain_find(a, domain) != NULL || mta_sts_policy(text, &p) != NULL)
        return false;
    struct domain *d = domain_new(a, domain);
    if (d == NULL)
        return false;
    if (policy_set(d, id, at_s, text, &p))
        return true;
    domain_del(d);
    return false;
}

static struct mta_sts_plan plan_of(const struct domain *d)
{
    struct mta_sts_facts f = {
        .now_s = now_s(d->agent),
        .dns = d->dns,
        .id = str_from_c(d->id),
        .has_cached = d->policy.text != NULL,
        .cached_id = str_from_c(d->policy.id),
        .cached_at_s = d->policy.at_s,
        .cached_max_age_s = d->policy.max_age_s,
        .has_failed = d->has_failed,
        .failed_id = str_from_c(d->failed_id),
        .failed_at_s = d->failed_at_s,
    };
    return mta_sts_plan(&f);
}

/* ---- answers ---- */

/* What DNS announces could not be had. */
static bool is_failing(const struct domain *d)
{
    return d->has_failed && d->dns == MTA_STS_DNS_RECORD && strcmp(d->failed_id, d->id) == 0;
}

static uint32_t answer_life_s(const struct domain *d, bool apply)
{
    uint64_t now_ms = world_now_ms(d->agent->world);
    int64_t s = d->dns_until_ms > now_ms ? (int64_t)((d->dns_until_ms - now_ms) / 1000) : 0;
    int64_t left_s = d->policy.at_s + (int64_t)d->policy.max_age_s - now_s(d->agent);
    if (apply && left_s < s)
        s = left_s;
    if (is_failing(d) && s > MTA_STS_RETRY_S)
        s = MTA_STS_RETRY_S;
    return (uint32_t)(s < ANSWER_MIN_S ? ANSWER_MIN_S : s > ANSWER_MAX_S ? ANSWER_MAX_S : s);
}

static void answer_all(struct domain *d, const struct mta_sts_plan *plan)
{
    struct agent *a = d->agent;
    struct mta_sts_policy p = {.mode = MTA_STS_NONE};
    char why_mem[2 * AGENT_WHY_MAX];
    struct buf mx, why;
    if (list_is_empty(&d->askers))
        return;
    buf_init(&mx, IPC_FRAME_MAX);
    buf_init_fixed(&why, why_mem, sizeof why_mem);
    if (plan->apply)
        must(mta_sts_policy(str_of(d->policy.text, d->policy.n_text), &p) == NULL); /* it was read before */
    for (size_t i = 0; p.mode != MTA_STS_NONE && i < p.n_mx; i++)
        list_put_str(&mx, p.mx[i]);
    buf_puts(&why, plan->why);
    if (is_failing(d) && !plan->fetch)
        buf_printf(&why, " (%s)", d->failed_why);
    struct ipc_sts_answer m = {
        .mode = (uint8_t)p.mode,
        .ttl_s = answer_life_s(d, plan->apply),
        .id = plan->apply ? str_from_c(d->policy.id) : STR_NIL,
        .mx = buf_str(&mx),
        .why = buf_str(&why),
    };
    if (mx.failed) { /* without memory nothing is known: as if it matched no host */
        m.mx = STR_NIL;
        m.ttl_s = ANSWER_MIN_S;
    }
    for (struct list *l = list_pop_front(&d->askers); l != NULL; l = list_pop_front(&d->askers)) {
        struct asker *k = list_entry(l, struct asker, link);
        m.token = k->token;
        agent_answer(a, &m);
        mem_free(k);
    }
    buf_fini(&mx);
}

/* ---- work ---- */

static void look(struct domain *d);

/* as: TLS_RPT_OTHER when it is no fault of the domain's. */
static void fail(struct domain *d, enum tls_rpt_result as, const char *what, struct str text)
{
    struct agent *a = d->agent;
    struct buf why;
    buf_init_fixed(&why, d->failed_why, sizeof d->failed_why - 1);
    buf_puts(&why, what);
    for (size_t i = 0; i < text.n && why.n < AGENT_WHY_MAX; i++) /* part of it is the server's */
        buf_putc(&why, text.p[i] < ' ' || text.p[i] > '~' ? '?' : text.p[i]);
    d->failed_why[why.n] = '\0';
    memcpy(d->failed_id, d->id, sizeof d->failed_id);
    d->failed_at_s = now_s(a);
    d->has_failed = true;
    d->failed_as = as;
    a->count.failed++;
    log_warn(world_log(a->world), "mta_sts.not_fetched", LS("domain", name_of(d)), LC("why", d->failed_why));
    set_phase(d, DOMAIN_IDLE);
    look(d);
}

static void take(struct domain *d, struct str body)
{
    struct agent *a = d->agent;
    struct mta_sts_policy p;
    const char *why = mta_sts_policy(body, &p);
    if (why != NULL) {
        fail(d, TLS_RPT_STS_POLICY_INVALID, "the policy can't be used: ", str_from_c(why));
        return;
    }
    if (!policy_set(d, str_from_c(d->id), now_s(a), body, &p)) {
        fail(d, TLS_RPT_OTHER, "no memory", STR_NIL);
        return;
    }
    d->has_failed = false;
    a->count.fetched++;
    sts_store_put(d);
    log_info(world_log(a->world), "mta_sts.fetched", LS("domain", name_of(d)),
             LC("mode", mta_sts_mode_word(p.mode)), LU("max_age", p.max_age_s), LC("id", d->id));
    set_phase(d, DOMAIN_IDLE);
    look(d);
}

/* RFC 8461 3.2: "text/plain", with parameters or without. */
static bool is_plain_text(struct str type)
{
    return str_ieq(str_trim(str_cut(&type, ';')), STR("text/plain"));
}

static void on_http(void *arg, const struct http_answer *r)
{
    struct domain *d = arg;
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (r->status != HTTP_ANSWERED) {
        if (r->status == HTTP_INSECURE)
            fail(d, TLS_RPT_STS_WEBPKI_INVALID, "the policy host is not authenticated: ", r->why);
        else
            fail(d, r->status == HTTP_FAILED ? TLS_RPT_OTHER : TLS_RPT_STS_POLICY_FETCH_ERROR,
                 "the policy can't be fetched: ", r->why);
    } else if (r->code != 200) { /* 3.3: nothing else, no redirect */
        buf_printf(&b, "%u", r->code);
        fail(d, TLS_RPT_STS_POLICY_FETCH_ERROR, "the policy host answered with code ", buf_str(&b));
    } else if (!is_plain_text(r->type)) {
        fail(d, TLS_RPT_STS_POLICY_INVALID, "the policy is not text/plain but ",
             r->type.n == 0 ? STR("nothing") : r->type);
    } else {
        take(d, r->body);
    }
}

bool sts_on_host(struct agent *a, const struct ipc_host_answer *m)
{
    struct idmap_node *n = idmap_remove(&a->tokens, m->token);
    if (n == NULL)
        return false;
    struct domain *d = container_of(n, struct domain, by_token);
    if (d->phase != DOMAIN_HOST) { /* the answer to another question: lookup is broken */
        fail(d, TLS_RPT_OTHER, "no sense from the name server", STR_NIL);
        return true;
    }
    struct netaddr addresses[ADDRESSES_MAX];
    struct reader r = reader_of(m->addresses);
    size_t count = 0;
    while (count < ADDRESSES_MAX && list_next_addr(&r, &addresses[count]))
        count++;
    if (m->status != DNS_STATUS_OK || count == 0) {
        fail(d, TLS_RPT_STS_POLICY_FETCH_ERROR, "the policy host has no address: ", m->why);
        return true;
    }
    char url_mem[URL_MAX], host_mem[2 * DNS_NAME_MAX];
    struct buf url, host;
    buf_init_fixed(&url, url_mem, sizeof url_mem);
    buf_init_fixed(&host, host_mem, sizeof host_mem);
    mta_sts_policy_url(name_of(d), &url);
    mta_sts_policy_host(name_of(d), &host);
    struct http_request g = {
        .url = buf_str(&url),
        .host = buf_str(&host),
        .addresses = addresses,
        .n_addresses = count,
        .size_max = MTA_STS_POLICY_MAX,
        .timeout_ms = MTA_STS_FETCH_MS,
    };
    if (a->http->ask(a->http->self, &g, on_http, d))
        set_phase(d, DOMAIN_FETCH);
    else
        fail(d, TLS_RPT_OTHER, "no memory", STR_NIL);
    return true;
}

static void fetch(struct domain *d)
{
    struct agent *a = d->agent;
    char mem[2 * DNS_NAME_MAX];
    struct buf host;
    buf_init_fixed(&host, mem, sizeof mem);
    mta_sts_policy_host(name_of(d), &host);
    struct ipc_host_ask m = {.token = ++a->token, .name = buf_str(&host)};
    set_phase(d, DOMAIN_HOST);
    if (host.n > DNS_NAME_MAX || a->lookup == NULL || ipc_send_host_ask(a->lookup, &m, NULL) != ERR_OK)
        fail(d, TLS_RPT_OTHER, "no addresses can be asked for", STR_NIL);
    else
        idmap_insert(&a->tokens, &d->by_token, m.token);
}

static void txt_known(struct domain *d, enum mta_sts_dns dns, uint64_t ttl_ms)
{
    d->dns = dns;
    d->dns_until_ms = world_now_ms(d->agent->world) + ttl_ms;
    struct mta_sts_plan plan = plan_of(d);
    if (!plan.wait)
        answer_all(d, &plan);
    set_phase(d, plan.fetch ? DOMAIN_TURN : DOMAIN_IDLE);
    d->turn_ms = world_now_ms(d->agent->world);
}

bool sts_on_rr(struct agent *a, const struct ipc_rr_answer *m)
{
    struct idmap_node *n = idmap_remove(&a->tokens, m->token);
    if (n == NULL)
        return false;
    struct domain *d = container_of(n, struct domain, by_token);
    if (d->phase != DOMAIN_TXT) {
        fail(d, TLS_RPT_OTHER, "no sense from the name server", STR_NIL);
        return true;
    }
    struct str records[RECORDS_MAX], id = STR_NIL;
    struct reader r = reader_of(m->rdata);
    size_t count = 0;
    while (count < RECORDS_MAX && list_next_str(&r, &records[count]))
        count++;
    char mem[DNS_TXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    uint64_t ttl_ms = (uint64_t)m->ttl_s * 1000;
    ttl_ms = ttl_ms < DNS_MIN_MS ? DNS_MIN_MS : ttl_ms > DNS_MAX_MS ? DNS_MAX_MS : ttl_ms;
    bool has_answer =
        m->status == DNS_STATUS_OK || m->status == DNS_STATUS_NODATA || m->status == DNS_STATUS_NXDOMAIN;
    if (!has_answer) {
        txt_known(d, MTA_STS_DNS_FAILED, DNS_FAILED_MS);
    } else if (m->status == DNS_STATUS_OK && mta_sts_record(records, count, &b, &id) &&
               str_to_c(id, d->id, sizeof d->id)) {
        txt_known(d, MTA_STS_DNS_RECORD, ttl_ms);
    } else {
        txt_known(d, MTA_STS_DNS_NONE, ttl_ms);
    }
    return true;
}

static void begin(struct domain *d)
{
    struct agent *a = d->agent;
    char mem[2 * DNS_NAME_MAX];
    struct buf name;
    buf_init_fixed(&name, mem, sizeof mem);
    mta_sts_record_name(name_of(d), &name);
    struct ipc_rr_ask m = {.token = ++a->token, .type = DNS_TXT, .name = buf_str(&name)};
    set_phase(d, DOMAIN_TXT);
    if (name.n > DNS_NAME_MAX) /* no such name: no policy */
        txt_known(d, MTA_STS_DNS_NONE, DNS_MAX_MS);
    else if (a->lookup == NULL || ipc_send_rr_ask(a->lookup, &m, NULL) != ERR_OK)
        txt_known(d, MTA_STS_DNS_FAILED, DNS_FAILED_MS);
    else
        idmap_insert(&a->tokens, &d->by_token, m.token);
}

/* At the end of a turn, so that domains that end at once do not begin one within the other. Slow policy hosts
 * hold up nobody but those that have to be fetched too, and these not for long.
 */
static void on_turn_end(struct turn_hook *h)
{
    struct agent *a = container_of(h, struct agent, turn);
    uint64_t now_ms = world_now_ms(a->world);
    while (a->n_asking < MTA_STS_ASKS_MAX && !list_is_empty(&a->waiting))
        begin(list_entry(a->waiting.next, struct domain, waiting));
    while (a->n_fetching < MTA_STS_FETCHES_MAX && !list_is_empty(&a->to_fetch))
        fetch(list_entry(a->to_fetch.next, struct domain, waiting));
    while (!list_is_empty(&a->to_fetch)) {
        struct domain *d = list_entry(a->to_fetch.next, struct domain, waiting);
        if (now_ms - d->turn_ms < MTA_STS_FETCH_MS)
            break;
        fail(d, TLS_RPT_OTHER, "too many policies are being fetched", STR_NIL);
    }
}

static void want(struct domain *d)
{
    set_phase(d, DOMAIN_WAITING);
}

/* Who waits is answered as soon as what is known is enough. */
static void look(struct domain *d)
{
    struct mta_sts_plan plan = plan_of(d);
    bool is_known = world_now_ms(d->agent->world) < d->dns_until_ms;
    if (d->phase == DOMAIN_IDLE && (!is_known || plan.fetch)) {
        if (!list_is_empty(&d->askers) || is_known)
            want(d);
        if (!is_known)
            return;
    }
    if (is_known && !plan.wait)
        answer_all(d, &plan);
}

void sts_tell(const struct agent *a, struct str domain, struct sts_told *out)
{
    const struct domain *d = domain_find(a, domain);
    *out = (struct sts_told){.failed_as = TLS_RPT_OTHER};
    if (d == NULL)
        return;
    struct mta_sts_plan plan = plan_of(d);
    if (plan.apply) {
        out->has_policy = true;
        out->text = str_of(d->policy.text, d->policy.n_text);
        must(mta_sts_policy(out->text, &out->policy) == NULL); /* it was read before */
    } else if (is_failing(d)) {
        out->failed_as = d->failed_as;
        out->why = str_from_c(d->failed_why);
    }
}

static void answer_unknown(struct agent *a, uint64_t token, uint32_t ttl_s, const char *why)
{
    struct ipc_sts_answer m = {.token = token, .ttl_s = ttl_s, .why = str_from_c(why)};
    agent_answer(a, &m);
}

void sts_ask(struct agent *a, uint64_t token, struct str domain)
{
    a->count.asked++;
    if (!domain_is_valid(domain, false) || domain.n > DNS_NAME_MAX) {
        answer_unknown(a, token, ANSWER_MAX_S, "no name that can have a policy");
        return;
    }
    struct domain *d = domain_find(a, domain);
    if (d == NULL)
        d = domain_new(a, domain);
    struct asker *k = d == NULL ? NULL : mem_new(struct asker);
    if (k == NULL) { /* what is not known is asked again soon */
        answer_unknown(a, token, ANSWER_MIN_S, "no memory");
        return;
    }
    k->token = token;
    list_init(&k->link);
    list_push_back(&d->askers, &k->link);
    place(d);
    look(d);
}

/* ---- the world changes ---- */

static void orphan(struct idmap_node *n, void *arg)
{
    struct domain ***next = arg;
    *(*next)++ = container_of(n, struct domain, by_token);
}

void sts_lookup_gone(struct agent *a)
{
    struct domain *all[MTA_STS_ASKS_MAX + MTA_STS_FETCHES_MAX], **end = all;
    idmap_each(&a->tokens, orphan, (void *)&end);
    for (struct domain **p = all; p < end; p++)
        (void)idmap_remove(&a->tokens, (*p)->by_token.id);
    for (struct domain **p = all; p < end; p++) {
        if ((*p)->phase == DOMAIN_TXT)
            txt_known(*p, MTA_STS_DNS_FAILED, DNS_MIN_MS);
        else
            fail(*p, TLS_RPT_OTHER, "the name server went away", STR_NIL);
    }
}

static void forget_askers(struct list *head)
{
    list_each (l, head) {
        struct domain *d = list_entry(l, struct domain, by_use);
        for (struct list *k = list_pop_front(&d->askers); k != NULL; k = list_pop_front(&d->askers))
            mem_free(list_entry(k, struct asker, link));
    }
}

void sts_queue_gone(struct agent *a)
{
    forget_askers(&a->bare);
    forget_askers(&a->kept);
}

/* ---- old policies ---- */

void sts_sweep(struct agent *a)
{
    int64_t now = now_s(a);
    size_t n = config_follows_sts(a->env->config) ? 0 : SWEEP_MAX; /* nobody asks for them now */
    list_each (l, &a->kept) {
        struct domain *d = list_entry(l, struct domain, by_use);
        int64_t age = now > d->policy.at_s ? now - d->policy.at_s : 0;
        if (age >= (int64_t)d->policy.max_age_s) {
            if (is_at_rest(d))
                policy_drop(d);
        } else if (d->policy.mode != MTA_STS_NONE && n < SWEEP_MAX && d->phase == DOMAIN_IDLE &&
                   (age >= MTA_STS_REFRESH_S || age >= (int64_t)d->policy.max_age_s / 2) &&
                   now - d->failed_at_s >= MTA_STS_RETRY_S) {
            want(d);
            n++;
        }
    }
}

static void on_sweep(struct timer *t)
{
    struct agent *a = container_of(t, struct agent, sweep);
    sts_sweep(a);
    world_timer_set(a->world, t, world_now_ms(a->world) + SWEEP_MS + world_random_below(a->world, SWEEP_MS));
}

/* ---- life ---- */

bool sts_init(struct agent *a)
{
    list_init(&a->bare);
    list_init(&a->kept);
    list_init(&a->waiting);
    list_init(&a->to_fetch);
    world_random(a->world, &a->seed, sizeof a->seed);
    a->bare_max = MTA_STS_DOMAINS_MAX;
    a->kept_max = MTA_STS_POLICIES_MAX;
    if (!idmap_init(&a->domains))
        return false;
    if (!idmap_init(&a->tokens)) {
        idmap_fini(&a->domains);
        return false;
    }
    a->turn = (struct turn_hook){.run = on_turn_end};
    world_turn_end(a->world, &a->turn);
    a->sweep.fire = on_sweep;
    world_timer_set(a->world, &a->sweep, world_now_ms(a->world) + world_random_below(a->world, SWEEP_MS));
    return true;
}

void sts_fini(struct agent *a)
{
    struct list *const heads[] = {&a->bare, &a->kept};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        list_each (l, heads[i])
            domain_del(list_entry(l, struct domain, by_use));
    }
    world_timer_cancel(a->world, &a->sweep);
    list_remove(&a->turn.link);
    idmap_fini(&a->domains);
    idmap_fini(&a->tokens);
}
