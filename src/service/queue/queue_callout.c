/* service/queue/queue_callout.c: does the next hop of a recipient take it? Asked by smtpd before it accepts
 * mail for a domain that we only pass on; answered from memory, or by a relay that goes as far as RCPT with
 * the null sender.
 *
 *   OPEN (waits for MX, then for the relay) --> KNOWN (until it expires)
 *
 * One question is open per recipient; who else asks for it meanwhile waits for the same answer. Postfix
 * (verify(8)) keeps what it learnt for weeks on disk; here it is memory of a day, so that a mailbox which was
 * made or deleted is noticed soon, and a restart only costs the questions. Trouble of ours is temporary and
 * not remembered. Limits: CALLOUT_MAX recipients, the least used go first; CALLOUT_OPEN_MAX questions,
 * CALLOUT_ASKERS_MAX who wait.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

#include <string.h>

enum {
    CALLOUT_MAX = 100000,
    CALLOUT_OPEN_MAX = 1000,
    CALLOUT_ASKERS_MAX = 10000,
    CALLOUT_MS = 30 * 1000,
    CALLOUT_TEXT_MAX = 256,
    CALLOUT_KEY_MAX = 2 * SMTP_PATH_MAX + 16,
    CALLOUT_GOOD_MS = 24 * 60 * 60 * 1000,
    CALLOUT_BAD_MS = 60 * 60 * 1000,
    CALLOUT_LATER_MS = 5 * 60 * 1000,
};

struct asker {
    struct list link;
    uint64_t token;
    uint32_t smtpd, life;
};
struct answer {
    enum result_kind kind;
    uint16_t code;
    struct esc esc;
    struct str text;
};
struct callout {
    struct idmap_node by_key, by_token; /* by_token.id 0: not out at a relay */
    struct list link;                   /* by use */
    struct list open;                   /* by start; in no list: KNOWN */
    struct list wait;                   /* in mx->callouts */
    struct list askers;
    struct worker *worker;
    bool is_stale;     /* asked under another configuration: the answer serves those who wait, no others */
    uint64_t until_ms; /* OPEN: the deadline; KNOWN: it expires */
    struct answer answer;
    char text[CALLOUT_TEXT_MAX];
    uint32_t n_rcpt, n_key;
    char octets[]; /* recipient, then key */
};
struct callouts {
    struct queue *q;
    struct idmap by_key, by_token;
    struct list by_use, open;
    size_t n_open, n_askers;
    struct timer timer;
};

static struct str rcpt_of(const struct callout *c)
{
    return str_of(c->octets, c->n_rcpt);
}

static void on_timer(struct timer *t);

bool callout_init(struct queue *q)
{
    struct callouts *s = mem_new(struct callouts);
    if (s == NULL)
        return false;
    q->callouts = s;
    s->q = q;
    list_init(&s->by_use);
    list_init(&s->open);
    s->timer.fire = on_timer;
    bool ok = idmap_init(&s->by_key);
    return idmap_init(&s->by_token) && ok;
}

static void drop(struct queue *q, struct callout *c)
{
    must(list_is_empty(&c->open) && list_is_empty(&c->askers));
    (void)idmap_remove(&q->callouts->by_key, c->by_key.id);
    list_remove(&c->link);
    mem_free(c);
}

void callout_fini(struct queue *q)
{
    struct callouts *s = q->callouts;
    if (s == NULL)
        return;
    world_timer_cancel(q->world, &s->timer);
    list_each (l, &s->by_use) {
        struct callout *c = list_entry(l, struct callout, link);
        struct list *a;
        while ((a = list_pop_front(&c->askers)) != NULL)
            mem_free(list_entry(a, struct asker, link));
        list_remove(&c->wait);
        list_remove(&c->open);
        drop(q, c);
    }
    idmap_fini(&s->by_key);
    idmap_fini(&s->by_token);
    mem_free(s);
    q->callouts = NULL;
}

void callout_forget(struct queue *q)
{
    list_each (l, &q->callouts->by_use) {
        struct callout *c = list_entry(l, struct callout, link);
        if (list_is_empty(&c->open))
            drop(q, c);
        else
            c->is_stale = true;
    }
}

/* ---- answers ---- */

static void tell(struct queue *q, uint32_t smtpd, uint32_t life, uint64_t token, const struct answer *a)
{
    struct smtpd_link *l = &q->smtpd[smtpd];
    struct ipc_callout_answer m = {.token = token,
                                   .kind = (uint8_t)a->kind,
                                   .code = a->code,
                                   .class = a->esc.class,
                                   .subject = a->esc.subject,
                                   .detail = a->esc.detail,
                                   .text = a->text};
    if (l->channel != NULL && l->life == life && ipc_send_callout_answer(l->channel, &m, NULL) != ERR_OK)
        log_warn(q->world->log, "queue.callout-unheard", LU("smtpd", smtpd));
}

static void set_timer(struct callouts *s)
{
    if (list_is_empty(&s->open))
        world_timer_cancel(s->q->world, &s->timer);
    else
        world_timer_set(s->q->world, &s->timer, list_entry(s->open.next, struct callout, open)->until_ms);
}

/* keep_ms 0: asked again next time. */
static void settle(struct queue *q, struct callout *c, const struct answer *a, uint64_t keep_ms)
{
    struct callouts *s = q->callouts;
    if (c->by_token.id != 0)
        (void)idmap_remove(&s->by_token, c->by_token.id);
    c->by_token.id = 0;
    c->worker = NULL;
    if (c->is_stale)
        keep_ms = 0;
    list_remove(&c->open);
    list_remove(&c->wait);
    s->n_open--;
    set_timer(s);
    size_t n = a->text.n < CALLOUT_TEXT_MAX ? a->text.n : CALLOUT_TEXT_MAX;
    if (n > 0)
        memmove(c->text, a->text.p, n);
    c->answer = *a;
    c->answer.text = str_of(c->text, n);
    c->until_ms = world_now_ms(q->world) + keep_ms;
    struct list *l;
    while ((l = list_pop_front(&c->askers)) != NULL) {
        struct asker *k = list_entry(l, struct asker, link);
        tell(q, k->smtpd, k->life, k->token, &c->answer);
        s->n_askers--;
        mem_free(k);
    }
    if (keep_ms == 0)
        drop(q, c);
}

static void settle_ours(struct queue *q, struct callout *c, struct esc esc, struct str text)
{
    settle(q, c, &(struct answer){.kind = RESULT_TEMPORARY, .esc = esc, .text = text}, 0);
}

static uint64_t keep_ms(enum result_kind kind)
{
    return kind == RESULT_OK ? CALLOUT_GOOD_MS : kind == RESULT_PERMANENT ? CALLOUT_BAD_MS : CALLOUT_LATER_MS;
}

static void on_timer(struct timer *t)
{
    struct callouts *s = container_of(t, struct callouts, timer);
    uint64_t now_ms = world_now_ms(s->q->world);
    while (!list_is_empty(&s->open)) {
        struct callout *c = list_entry(s->open.next, struct callout, open);
        if (c->until_ms > now_ms)
            break;
        settle(s->q, c,
               &(struct answer){.kind = RESULT_TEMPORARY,
                                .esc = ESC(4, 4, 1),
                                .text = STR("the host that knows the recipient does not answer in time")},
               CALLOUT_LATER_MS);
    }
    set_timer(s);
}

/* ---- asking ---- */

static void send_job(struct queue *q, struct callout *c, const struct ipc_relay_job *job)
{
    char mem[RCPT_RECORD_MAX];
    struct buf rcpts;
    struct ipc_relay_job m = *job;
    uint64_t hash = schedule_site_hash(m.site);
    struct idmap_node *n = idmap_find(&q->schedule.sites, hash);
    const struct schedule_site *site = n == NULL ? NULL : container_of(n, struct schedule_site, by_hash);
    if (site != NULL && schedule_site_is_blocked(site, world_now_ms(q->world))) {
        struct str why = site->why == NULL ? STR("the destination is not reachable") : str_from_c(site->why);
        settle_ours(q, c, ESC(4, 4, 1), why);
        return;
    }
    buf_init_fixed(&rcpts, mem, sizeof mem);
    struct worker *k = &q->relays[hash % (q->config->n_relay < 1 ? 1 : q->config->n_relay)];
    struct rcpt one = {.address = rcpt_of(c)};
    m.token = q->token + 1;
    m.is_callout = 1;
    m.flags = str_is_ascii(one.address) ? 0 : MAIL_FLAG_UTF8;
    bool ok = rcpt_put(&one, &rcpts);
    m.rcpts = buf_str(&rcpts);
    if (!ok || k->channel == NULL || ipc_send_relay_job(k->channel, &m, NULL) != ERR_OK) {
        settle_ours(q, c, ESC(4, 3, 0), STR("the recipient can't be checked at present"));
        return;
    }
    c->worker = k;
    idmap_insert(&q->callouts->by_token, &c->by_token, ++q->token);
}

/* What relay is told of the domain besides its hosts. */
static void tell_found(struct ipc_relay_job *m, const struct mx *mx, const struct route *r)
{
    m->trusts_hops = mx->found != DANE_MX_INSECURE;
    m->mx = (uint8_t)mx->found;
    m->next_hop = r->domain;
    m->canonical = mx->canonical;
    m->sts = (uint8_t)mx->sts;
    m->sts_hops = mx->sts_hops;
    m->hosts = mx->hops;
}

static void prepare(struct queue *q, struct callout *c)
{
    char mem[ROUTE_TEXT] __attribute__((uninitialized)), site_mem[ENVELOPE_SITE_MAX + 1];
    char hop_mem[SMTP_DOMAIN_MAX + NETADDR_PATH_MAX + 64], name_mem[2 * SMTP_DOMAIN_MAX + 16];
    struct buf text, site, hops, names;
    struct envelope nobody = {.kind = ENVELOPE_MAIL};
    struct rcpt one = {.address = rcpt_of(c)};
    struct routed r;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_init_fixed(&site, site_mem, sizeof site_mem);
    buf_init_fixed(&hops, hop_mem, sizeof hop_mem);
    route_rcpt(q, &nobody, &one, &text, &r);
    struct ipc_relay_job m = {.site = r.site,
                              .tls = (uint8_t)(r.route.kind == ROUTE_LMTP ? HOP_TLS_NONE : r.route.tls),
                              .trusts_hops = 1,
                              .mx = DANE_MX_NONE,
                              .user = r.route.auth.user,
                              .secret = r.route.auth.secret,
                              .certificate = r.route.certificate};
    struct hop hop = {.port = r.route.via.addr.port, .name = r.route.via.host, .addr = r.route.via.addr};
    if (r.route.source != NULL)
        m.source = r.route.source->name;
    switch (r.route.kind) {
    case ROUTE_MAILDIR:
    case ROUTE_PIPE: /* nobody else is to be asked */
        settle(q, c, &(struct answer){.kind = RESULT_OK, .esc = ESC(2, 1, 5)}, 0);
        return;
    case ROUTE_NOWHERE:
        settle(q, c,
               &(struct answer){
                   .kind = RESULT_PERMANENT, .esc = ESC(5, 1, 1), .text = STR("there is no such user")},
               0);
        return;
    case ROUTE_LMTP:
        m.is_lmtp = 1;
        hop = (struct hop){.port = r.route.deliver->lmtp.port,
                           .name = r.route.deliver->lmtp_host,
                           .addr = r.route.deliver->lmtp};
        break;
    case ROUTE_HOST:
        m.is_lmtp = r.route.via.lmtp;
        m.is_smtps = r.route.via.is_smtps;
        break;
    case ROUTE_MX: {
        const struct mx *mx = mx_get_callout(q, r.route.domain, &c->wait);
        if (mx == NULL)
            return;
        if (mx->verdict != RESULT_OK) {
            settle(q, c, &(struct answer){.kind = mx->verdict, .esc = mx->esc, .text = mx->why},
                   mx->verdict == RESULT_TEMPORARY ? 0 : CALLOUT_LATER_MS);
            return;
        }
        buf_init_fixed(&names, name_mem, sizeof name_mem);
        route_mx_names(&r.route, &names);
        m.names = buf_str(&names);
        tell_found(&m, mx, &r.route);
        m.site = route_mx_site(mx, &r.route, &site);
        send_job(q, c, &m);
        return;
    }
    }
    if (hop.name.n > 0)
        hop.addr = (struct netaddr){0};
    if (!list_put_hop(&hops, &hop)) {
        settle_ours(q, c, ESC(4, 3, 5), STR("the recipient can't be checked: its route has no usable host"));
        return;
    }
    m.hosts = buf_str(&hops);
    send_job(q, c, &m);
}

void callout_on_mx(struct queue *q, struct list *node)
{
    prepare(q, list_entry(node, struct callout, wait));
}

bool callout_on_done(struct worker *k, const struct ipc_job_done *m)
{
    struct queue *q = k->q;
    struct idmap_node *n = idmap_find(&q->callouts->by_token, m->token);
    if (n == NULL)
        return false;
    struct callout *c = container_of(n, struct callout, by_token);
    struct reader r = reader_of(m->results);
    struct job_result one;
    if (c->worker != k)
        return false; /* another relay's token: the caller finds nothing under it */
    if (!list_next_result(&r, &one) || !reader_done(&r) || one.kind > RESULT_PERMANENT) {
        settle_ours(q, c, ESC(4, 3, 0), STR("the answer about the recipient makes no sense"));
        return true;
    }
    settle(q, c, &(struct answer){.kind = one.kind, .code = one.code, .esc = one.esc, .text = one.text},
           keep_ms(one.kind));
    return true;
}

void callout_worker_lost(struct worker *k)
{
    list_each (l, &k->q->callouts->open) {
        struct callout *c = list_entry(l, struct callout, open);
        if (c->worker == k)
            settle_ours(k->q, c, ESC(4, 3, 0), STR("the recipient can't be checked at present"));
    }
}

/* ---- questions ---- */

static struct callout *make(struct queue *q, struct str rcpt, struct str key, uint64_t hash)
{
    struct callouts *s = q->callouts;
    if (s->by_key.n >= CALLOUT_MAX) {
        list_each (l, &s->by_use) {
            struct callout *old = list_entry(l, struct callout, link);
            if (list_is_empty(&old->open)) {
                drop(q, old);
                break;
            }
        }
    }
    struct callout *c = mem_alloc(sizeof *c + rcpt.n + key.n);
    if (c == NULL)
        return NULL;
    *c = (struct callout){.n_rcpt = (uint32_t)rcpt.n, .n_key = (uint32_t)key.n};
    memcpy(c->octets, rcpt.p, rcpt.n);
    memcpy(c->octets + rcpt.n, key.p, key.n);
    list_init(&c->open);
    list_init(&c->wait);
    list_init(&c->askers);
    list_push_back(&s->by_use, &c->link);
    idmap_insert(&s->by_key, &c->by_key, hash);
    return c;
}

/* What is known or open; NULL: nothing, or what has the same hash. *out_is_free: a new one may be made. */
static struct callout *find(struct queue *q, struct str key, uint64_t hash, bool *out_is_free)
{
    struct idmap_node *n = idmap_find(&q->callouts->by_key, hash);
    *out_is_free = true;
    if (n == NULL)
        return NULL;
    struct callout *c = container_of(n, struct callout, by_key);
    bool is_known = list_is_empty(&c->open);
    bool is_same = str_eq(str_of(c->octets + c->n_rcpt, c->n_key), key);
    if (is_same && (!is_known || world_now_ms(q->world) < c->until_ms)) {
        list_remove(&c->link);
        list_push_back(&q->callouts->by_use, &c->link);
        return c;
    }
    *out_is_free = is_known;
    if (is_known)
        drop(q, c);
    return NULL;
}

static bool wait_for(struct smtpd_link *l, struct callout *c, uint64_t token)
{
    struct callouts *s = l->q->callouts;
    struct asker *a = s->n_askers >= CALLOUT_ASKERS_MAX ? NULL : mem_new(struct asker);
    if (a == NULL)
        return false;
    *a = (struct asker){.token = token, .smtpd = l->index, .life = l->life};
    list_push_back(&c->askers, &a->link);
    s->n_askers++;
    return true;
}

/* A return path of list mail: we know ourselves. */
static bool answer_verp(struct smtpd_link *l, const struct ipc_callout_ask *m)
{
    static const struct answer answers[] = {
        [VERP_UNKNOWN] = {.kind = RESULT_TEMPORARY, .esc = {4, 3, 0}, .text = STR_INIT("no key yet")},
        [VERP_FORGED] = {.kind = RESULT_PERMANENT, .esc = {5, 1, 1}, .text = STR_INIT("not written by us")},
        [VERP_OURS] = {.kind = RESULT_OK, .esc = {2, 1, 5}},
    };
    char mem[SMTP_PATH_MAX];
    struct buf member_mem;
    struct str owner, member;
    buf_init_fixed(&member_mem, mem, sizeof mem);
    enum verp_found found = verp_find(l->q, m->rcpt, &member_mem, &owner, &member);
    if (found != VERP_NO)
        tell(l->q, l->index, l->life, m->token, &answers[found]);
    return found != VERP_NO;
}

bool callout_on_ask(struct smtpd_link *l, const struct ipc_callout_ask *m)
{
    static const struct answer busy = {
        .kind = RESULT_TEMPORARY, .esc = {4, 3, 2}, .text = {"too many recipients are being checked", 37}};
    struct queue *q = l->q;
    struct callouts *s = q->callouts;
    char mem[CALLOUT_KEY_MAX];
    struct buf key;
    bool is_free;
    if (m->rcpt.n == 0 || m->rcpt.n > SMTP_PATH_MAX || str_has_ctl(m->rcpt))
        return false;
    buf_init_fixed(&key, mem, sizeof mem);
    if (answer_verp(l, m))
        return true;
    policy_rcpt_key(&q->config->policy, &(struct rcpt){.address = m->rcpt}, &key);
    uint64_t hash = str_ihash(buf_str(&key), q->seed);
    struct callout *c = find(q, buf_str(&key), hash, &is_free);
    if (c != NULL && list_is_empty(&c->open)) {
        tell(q, l->index, l->life, m->token, &c->answer);
        return true;
    }
    bool is_new = c == NULL;
    if (is_new && is_free && s->n_open < CALLOUT_OPEN_MAX && q->phase == QUEUE_OPEN)
        c = make(q, m->rcpt, buf_str(&key), hash);
    if (c == NULL || !wait_for(l, c, m->token)) {
        if (c != NULL && is_new)
            drop(q, c);
        tell(q, l->index, l->life, m->token, &busy);
        return true;
    }
    if (!is_new)
        return true;
    c->until_ms = world_now_ms(q->world) + CALLOUT_MS;
    list_push_back(&s->open, &c->open);
    s->n_open++;
    set_timer(s);
    prepare(q, c);
    return true;
}
