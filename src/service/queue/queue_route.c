/* service/queue/queue_route.c: where an entry belongs, and splitting one whose recipients go to several
 * places.
 *
 * The place follows from configuration and recipients alone, so it is never stored: a restart or a new
 * configuration works it out again at the next attempt. Recipients of one domain (or smart host, or local
 * delivery) stay together; the MX set of the domain decides only which site's concurrency and back-off they
 * share.
 *
 * A split is one unit: children with the same body, and the parent's drop. Nothing is attempted before it is
 * on disk.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

#include <string.h>

enum { SPLIT_RECORDS_MAX = 4 * 1024 * 1024 };

bool route_is_local(const struct route *r)
{
    return r->kind == ROUTE_MAILDIR || r->kind == ROUTE_NOWHERE ||
           (r->kind == ROUTE_LMTP && r->deliver->lmtp_host.n == 0 && r->deliver->lmtp.kind == NETADDR_UNIX);
}

struct str route_mx_site(const struct mx *mx, const struct route *r, struct buf *text)
{
    enum { END_MAX = 120 }; /* a policy, a level and a pool */
    char mem[END_MAX];
    struct buf site_end;
    buf_init_fixed(&site_end, mem, sizeof mem);
    /* what a policy forbids blocks nobody's way who has another, or none */
    if (mx->sts == MTA_STS_ENFORCE)
        buf_puts(&site_end, " mta-sts");
    if (mx->sts == MTA_STS_ENFORCE && mx->sts_some != 0)
        buf_printf(&site_end, ":%08x", (unsigned)mx->sts_some);
    policy_site_end(r, &site_end);
    if (site_end.n == 0)
        return mx->site;
    buf_put(text, str_slice(mx->site, 0, ENVELOPE_SITE_MAX - END_MAX));
    buf_put(text, buf_str(&site_end));
    return buf_str(text);
}

void route_mx_names(const struct route *r, struct buf *out)
{
    char mem[SMTP_DOMAIN_MAX + 2];
    struct buf below;
    if (r->tls == HOP_TLS_NONE)
        return;
    buf_init_fixed(&below, mem, sizeof mem);
    buf_putc(&below, '.');
    buf_put(&below, r->domain);
    (void)list_put_str(out, r->domain);
    (void)list_put_str(out, buf_str(&below));
}

void route_rcpt(struct queue *q, const struct envelope *e, const struct rcpt *rcpt, struct buf *text,
                struct routed *out)
{
    const struct policy_conf *p = &q->config->policy;
    buf_reset(text);
    struct mail_params params;
    struct route_ask ask = {.sender = e->sender, .rcpt = rcpt};
    if (mail_params_get(e->params, &params))
        ask.tag = params.tag;
    policy_route(p, &ask, text, &out->route);
    size_t at = text->n;
    policy_site(p, &out->route, text);
    out->site = str_skip(buf_str(text), at);
}

void queue_place(struct queue *q, struct schedule_entry *e, struct str name, bool is_local, uint64_t due_ms)
{
    struct schedule_site *site = schedule_site(&q->schedule, name, is_local);
    if (site == NULL) { /* rare enough: the entry is found again by the next start */
        queue_trouble(q, ERR_NOMEM, "no memory for a destination");
        return;
    }
    schedule_set_site(&q->schedule, e, site);
    entry_settle(q, e, due_ms);
}

void queue_place_mx(struct queue *q, struct schedule_entry *e, const struct mx *mx)
{
    TELL(q, .kind = EVENT_ROUTED, .id = e->id, .host = mx->site, .text = mx->why);
    queue_place(q, e, mx->site, false, world_now_ms(q->world));
}

/* Do all recipients share the site that is in first? */
static bool share_site(struct queue *q, const struct envelope *e, struct str rcpts, struct buf *text,
                       struct str first)
{
    struct reader r = reader_of(rcpts);
    struct rcpt one;
    while (rcpt_next(&r, &one)) {
        struct routed other;
        route_rcpt(q, e, &one, text, &other);
        if (!str_eq(first, other.site))
            return false;
    }
    return true;
}

/* The sender asked for a release later (RFC 4865): aliases, routes and splits are looked at when it comes. */
static bool admit_later(struct queue *q, struct schedule_entry *e, const struct envelope *env)
{
    struct mail_params params;
    int64_t wall_ms = world_wall_ms(q->world);
    if (!mail_params_get(env->params, &params) || params.hold_until_ms <= wall_ms)
        return false;
    queue_place(q, e, STR("unrouted"), true,
                world_now_ms(q->world) + (uint64_t)(params.hold_until_ms - wall_ms));
    return true;
}

void queue_admit(struct queue *q, struct fresh *f)
{
    struct schedule_entry *e = schedule_add(&q->schedule, f->id, f->created_s, f->priority);
    if (e == NULL) {
        queue_trouble(q, ERR_NOMEM, "no memory for a queue entry; it is found again by the next start");
        fresh_unref(f);
        return;
    }
    if (f->is_bounce)
        e->flags |= ENTRY_IS_BOUNCE;
    if (f->has_deadline)
        e->flags |= ENTRY_HAS_DEADLINE;
    struct envelope env;
    must(envelope_decode(fresh_record(f), &env)); /* we wrote it in this process life */
    if (admit_later(q, e, &env)) {
        cache_add(q, f);
        return;
    }
    if (expand_is_wanted(q, env.rcpts, env.n_rcpts)) {
        cache_add(q, f);
        work_start(q, e);
        return;
    }
    char mem[2][ROUTE_TEXT] __attribute__((uninitialized));
    struct buf text, other;
    buf_init_fixed(&text, mem[0], ROUTE_TEXT);
    buf_init_fixed(&other, mem[1], ROUTE_TEXT);
    struct reader r = reader_of(env.rcpts);
    struct routed first;
    struct rcpt one;
    must(rcpt_next(&r, &one));
    route_rcpt(q, &env, &one, &text, &first);
    bool is_one = env.n_rcpts == 1 || share_site(q, &env, r.rest, &other, first.site);
    cache_add(q, f); /* f may be gone now; env with it */
    if (!is_one) {
        work_start(q, e);
    } else if (first.route.kind == ROUTE_MX) {
        const struct mx *mx = mx_get(q, first.route.domain, e, NULL);
        if (mx != NULL)
            queue_place_mx(q, e, mx);
    } else {
        TELL(q, .kind = EVENT_ROUTED, .id = e->id, .host = first.site);
        queue_place(q, e, first.site, route_is_local(&first.route), world_now_ms(q->world));
    }
}

/* ---- open recipients by destination ---- */

struct group {
    uint64_t hash;
    struct str site;
    uint32_t child;
};
struct groups {
    struct group *all;
    uint32_t n;
    uint32_t *of; /* for each recipient its group */
};

static bool find_groups(struct work *w, struct groups *g)
{
    char mem[ROUTE_TEXT] __attribute__((uninitialized));
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    uint32_t n = w->state.n_rcpts;
    g->all = arena_alloc_array(&w->arena, n, sizeof *g->all);
    g->of = arena_alloc_array(&w->arena, n, sizeof *g->of);
    if (g->all == NULL || g->of == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!work_is_due(w, i)) /* one whose expansion was deferred goes with the first group */
            continue;
        struct routed r;
        route_rcpt(w->q, &w->envelope, &w->state.rcpts[i].rcpt, &text, &r);
        uint64_t hash = schedule_site_hash(r.site);
        uint32_t k = 0;
        while (k < g->n && (g->all[k].hash != hash || !str_eq(g->all[k].site, r.site)))
            k++;
        g->of[i] = k;
        if (k < g->n)
            continue;
        g->all[k] = (struct group){.hash = hash, .child = k % QUEUE_CHILDREN_MAX};
        g->n++;
        if (!arena_str(&w->arena, r.site, &g->all[k].site))
            return false;
    }
    return true;
}

/* ---- splitting ---- */

static struct fresh *make_child(struct work *w, const struct groups *g, uint32_t child, struct buf *rcpts)
{
    struct envelope e = w->envelope;
    buf_reset(rcpts);
    e.n_rcpts = 0;
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        const struct envelope_rcpt *r = &w->state.rcpts[i];
        if (!envelope_is_open(r) || g->all[g->of[i]].child != child)
            continue;
        rcpt_put(&r->rcpt, rcpts);
        e.n_rcpts++;
    }
    if (rcpts->failed)
        return NULL;
    e.rcpts = buf_str(rcpts);
    e.parent_id = w->id;
    return fresh_new(w->q, store_new_id(w->q->store), w->body_id, &e, STR_NIL);
}

static void drop_children(struct work *w)
{
    for (size_t i = 0; i < w->n_children; i++)
        fresh_unref(w->children[i]);
    w->n_children = 0;
}

static bool make_ops(struct work *w, const struct groups *g)
{
    uint32_t n = g->n < QUEUE_CHILDREN_MAX ? g->n : QUEUE_CHILDREN_MAX;
    w->ops = arena_alloc_array(&w->arena, (size_t)n + 1, sizeof *w->ops);
    w->children = arena_alloc_array(&w->arena, n, sizeof(struct fresh *));
    struct str *records = arena_alloc_array(&w->arena, n, sizeof *records);
    unsigned char *hint = arena_alloc(&w->arena, STORE_HINT);
    if (w->ops == NULL || w->children == NULL || records == NULL || hint == NULL)
        return false;
    struct envelope_hint h = {
        .flags = entry_hint_flags(w->entry),
        .n_attempts = w->entry->n_attempts,
        .created_s = w->entry->created_s,
        .priority = schedule_priority(w->entry),
        .next_ms = world_wall_ms(w->q->world),
    };
    if (h.next_ms < 0)
        h.next_ms = 0;
    hint_encode(&h, hint);
    struct buf rcpts;
    buf_init(&rcpts, STORE_ENVELOPE_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct fresh *f = make_child(w, g, i, &rcpts);
        if (f == NULL)
            break;
        w->children[w->n_children++] = f;
        records[i] = fresh_record(f);
        w->ops[i] = (struct store_op){.kind = STORE_PUT_ENVELOPE,
                                      .id = f->id,
                                      .body_id = w->body_id,
                                      .pieces = &records[i],
                                      .n_pieces = 1,
                                      .hint = hint};
    }
    buf_fini(&rcpts);
    w->ops[n] = (struct store_op){.kind = STORE_DROP, .id = w->id, .epoch = w->epoch};
    w->n_ops = (size_t)n + 1;
    return w->n_children == n;
}

static void split(struct work *w, const struct groups *g)
{
    if (!make_ops(w, g)) {
        drop_children(w);
        queue_trouble(w->q, ERR_NOMEM, "no memory to split a message by destination");
        work_postpone(w, QUEUE_LOST_MS);
        return;
    }
    w->is_split = w->is_drop = w->is_last = true;
    for (size_t i = 0; i < w->n_children; i++) {
        struct str site = g->n <= QUEUE_CHILDREN_MAX ? g->all[i].site : STR_NIL;
        TELL(w->q, .kind = EVENT_SPLIT, .id = w->id, .other_id = w->children[i]->id, .host = site);
    }
    work_submit(w);
}

bool work_route(struct work *w)
{
    struct groups g = {0};
    w->config_generation = w->q->config->generation;
    if (!find_groups(w, &g)) {
        queue_trouble(w->q, ERR_NOMEM, "no memory to route a message");
        work_postpone(w, QUEUE_LOST_MS);
        return false;
    }
    if (g.n == 0) { /* its drop was lost with a damaged record */
        w->is_last = true;
        work_record(w);
        return false;
    }
    if (g.n == 1) {
        w->site = g.all[0].site;
        return true;
    }
    split(w, &g);
    return false;
}
