/* service/queue/queue_suppress.c: addresses that members of lists are not sent to: `reports { suppress }`.
 *
 * Learnt of any mail when a server refuses the recipient as unknown or its mailbox as closed; from reports
 * and complaints that come in; from operators. Applied to members of lists only, before each attempt: an
 * address that somebody wrote out is always tried. What a server refused ends when one takes mail for the
 * address; what a report or a complaint says does not, as many servers take everything and complain later.
 * Each ends after suppress_keep.
 *
 * Each address is an envelope of its own in the store (queue/suppressed.h), all share one tiny body. Memory
 * holds a node of 64 octets, found by the fingerprint that the hint holds, not the text; before mail is given
 * up the record is read and the address compared. Learning is a lazy unit of its own: a crash within 50 ms
 * forgets it, and the next refusal teaches it again. A removal counts at once in memory, and in the store
 * after its drop, which is repeated until it is taken.
 *
 *   node: ADDING (its unit is on the way) -> LISTED -> GONE (to be dropped; no longer in the map)
 *
 * Limits: q->suppressed_max (SUPPRESSED_MAX), then the oldest goes; SUPPRESS_OPS_MAX units on the way: what
 * is learnt beyond is left to the next refusal.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"
#include "service/queue/queue_class.h"
#include "wire/date.h"

#include <string.h>

enum {
    SUPPRESS_OPS_MAX = 512,
    SUPPRESS_DROPS_MAX = 4096,            /* and drops: a million go within a minute */
    SUPPRESS_RENEW_S = 24 * 60 * 60,      /* what is learnt again sooner is not written again */
    SUPPRESS_KEY_MAX = 2 * SMTP_PATH_MAX, /* the A-label may be longer than the U-label */
    SUPPRESS_TEXT_MAX = 800,
};
static const char body_text[] = "an address of the suppression list\r\n";

enum node_state { NODE_ADDING = 0, NODE_LISTED, NODE_GONE };
struct suppress_op;
struct suppressed_node {
    struct idmap_node by_key; /* ADDING, LISTED */
    struct list link;         /* those: by age; GONE: to be dropped */
    uint64_t id;              /* 0: not in the store yet */
    struct suppress_op *op;   /* on the way, or NULL */
    uint32_t since_s;
    uint8_t reason, state;
};
struct suppressions {
    struct idmap nodes;
    unsigned char map_key[SIPHASH_KEY]; /* of this process life: buckets can't be aimed at */
    struct list all;                    /* oldest first */
    struct list gone, ops, cursors, waiting;
    size_t n_gone, n_ops, n_drops;
    uint64_t body_id; /* of the last envelope; it may be gone */
    enum err drop_err;
};
struct suppress_op {
    struct list link;
    struct queue *q;
    struct suppressed_node *node;
    bool is_drop;
    uint64_t about_id; /* the mail that taught it, for the journal */
    uint64_t old_id;   /* to be replaced, or dropped; 0: none */
    uint64_t new_id;
    struct store_claim claim; /* of old_id */
    struct store_ticket ticket;
    void (*done)(void *arg, enum err err);
    void *arg;
    struct suppressed_hint hint;
    uint16_t n;
    char octets[]; /* the record */
};
struct waiting { /* for the end of removals */
    struct list link;
    void (*done)(void *arg, enum err err);
    void *arg;
};

/* ---- keys ---- */

/* Local parts may tell small and capital letters apart (RFC 5321 2.4), but no server of note does, and the
 * same mailbox is written both ways in lists: so they are folded, like the domain. */
static bool hash_of(const struct queue *q, struct str address, unsigned char out[SIPHASH_SIZE])
{
    char mem[SUPPRESS_KEY_MAX];
    struct buf key;
    size_t at = str_rchr(address, '@');
    if (at == STR_NPOS || at == 0 || at + 1 == address.n || address.n > SMTP_PATH_MAX || str_has_ctl(address))
        return false;
    struct str domain = str_skip(address, at + 1);
    buf_init_fixed(&key, mem, sizeof mem);
    buf_put(&key, str_slice(address, 0, at + 1));
    size_t n = key.n;
    if (str_is_ascii(domain) || q->config->policy.to_ascii == NULL ||
        !q->config->policy.to_ascii(domain, &key)) {
        key.n = n;
        key.failed = false;
        buf_put(&key, domain);
    }
    if (key.failed)
        return false;
    for (size_t i = 0; i < key.n; i++)
        key.p[i] = ascii_lower(key.p[i]);
    suppressed_hash(buf_str(&key), out);
    return true;
}

static uint64_t map_id(const struct suppressions *s, const unsigned char hash[SIPHASH_SIZE])
{
    unsigned char out[SIPHASH_SIZE];
    siphash(s->map_key, str_of(hash, SIPHASH_SIZE), out);
    return get_u64_at(out);
}

/* By its fingerprint: the record is still to be compared. */
static struct suppressed_node *find(const struct queue *q, struct str address)
{
    unsigned char hash[SIPHASH_SIZE];
    const struct suppressions *s = q->suppressions;
    if (s->nodes.n == 0 || !hash_of(q, address, hash))
        return NULL;
    struct idmap_node *n = idmap_find(&s->nodes, map_id(s, hash));
    return n == NULL ? NULL : container_of(n, struct suppressed_node, by_key);
}

static bool is_over(const struct queue *q, uint32_t since_s)
{
    return schedule_is_expired(since_s, world_wall_ms(q->world), q->config->suppress_keep_s);
}

/* The store takes units. */
static bool can_write(const struct queue *q)
{
    return (q->phase == QUEUE_OPEN || q->phase == QUEUE_DRAINING) && !store_has_failed(q->store);
}

/* ---- walks ---- */

void suppress_walk_begin(struct queue *q, struct suppress_cursor *c)
{
    list_push_back(&q->suppressions->cursors, &c->link);
    c->at = q->suppressions->all.next;
}

void suppress_walk_end(struct suppress_cursor *c)
{
    list_remove(&c->link);
}

bool suppress_walk_next(struct queue *q, struct suppress_cursor *c, uint64_t *out_id)
{
    while (c->at != &q->suppressions->all) {
        const struct suppressed_node *n = list_entry(c->at, struct suppressed_node, link);
        c->at = c->at->next;
        if (n->state != NODE_LISTED || is_over(q, n->since_s))
            continue;
        *out_id = n->id;
        return true;
    }
    return false;
}

/* Out of the list of all: whoever was about to look at it goes on behind it. */
static void unlink_node(struct suppressions *s, struct suppressed_node *n)
{
    list_each (l, &s->cursors) {
        struct suppress_cursor *c = list_entry(l, struct suppress_cursor, link);
        if (c->at == &n->link)
            c->at = n->link.next;
    }
    list_remove(&n->link);
}

/* ---- going ---- */

static void drop_step(struct queue *q);

static void bury(struct queue *q, struct suppressed_node *n)
{
    list_push_back(&q->suppressions->gone, &n->link);
    q->suppressions->n_gone++;
    drop_step(q);
}

/* Out of the list now, and of the store as soon as that can be. */
static void remove_node(struct queue *q, struct suppressed_node *n)
{
    struct suppressions *s = q->suppressions;
    (void)idmap_remove(&s->nodes, n->by_key.id);
    unlink_node(s, n);
    list_init(&n->link);
    n->state = NODE_GONE;
    if (n->op == NULL) /* else when that has ended */
        bury(q, n);
}

static bool is_settled(const struct suppressions *s)
{
    return s->n_gone == 0 && s->n_drops == 0;
}

static void tell_waiting(struct queue *q)
{
    struct suppressions *s = q->suppressions;
    if (!is_settled(s) && s->drop_err == ERR_OK)
        return;
    enum err err = s->drop_err;
    s->drop_err = ERR_OK;
    struct list *l;
    while ((l = list_pop_front(&s->waiting)) != NULL) {
        struct waiting *w = list_entry(l, struct waiting, link);
        w->done(w->arg, err);
        mem_free(w);
    }
}

static void op_free(struct suppress_op *op)
{
    struct suppressions *s = op->q->suppressions;
    list_remove(&op->link);
    s->n_ops--;
    s->n_drops -= op->is_drop;
    if (op->node != NULL)
        op->node->op = NULL;
    mem_free(op);
}

/* Not now: again by the sweep, or soon when the store is only busy. */
static void drop_failed(struct suppress_op *op, enum err err)
{
    struct queue *q = op->q;
    struct suppressions *s = q->suppressions;
    struct suppressed_node *n = op->node;
    op_free(op);
    if (err == ERR_NOTFOUND || err == ERR_STALE) { /* nothing is left of it */
        mem_free(n);
        drop_step(q);
    } else {
        list_push_front(&s->gone, &n->link);
        s->n_gone++;
        if (err == ERR_AGAIN && !q->retry.is_set)
            world_timer_set(q->world, &q->retry, world_now_ms(q->world) + QUEUE_SUBMIT_RETRY_MS);
        if (err != ERR_AGAIN)
            s->drop_err = err;
    }
    tell_waiting(q);
}

static void on_dropped(struct store_ticket *t, enum err err)
{
    struct suppress_op *op = container_of(t, struct suppress_op, ticket);
    struct queue *q = op->q;
    struct suppressed_node *n = op->node;
    queue_store_idle(q);
    if (err != ERR_OK) {
        drop_failed(op, err);
        return;
    }
    op_free(op);
    mem_free(n);
    drop_step(q);
    tell_waiting(q);
}

static void on_drop_claimed(struct store_claim *c, enum err err)
{
    struct suppress_op *op = container_of(c, struct suppress_op, claim);
    struct queue *q = op->q;
    queue_store_idle(q);
    const struct store_op drop = {.kind = STORE_DROP, .id = op->old_id, .epoch = c->epoch};
    op->ticket.done = on_dropped;
    if (err == ERR_OK)
        err = store_submit(q->store, &drop, 1, true, &op->ticket);
    if (err == ERR_OK)
        queue_store_busy(q);
    else
        drop_failed(op, err);
}

static struct suppress_op *op_new(struct queue *q, struct suppressed_node *n, struct str record)
{
    struct suppressions *s = q->suppressions;
    struct suppress_op *op = mem_alloc(sizeof *op + record.n);
    if (op == NULL)
        return NULL;
    *op = (struct suppress_op){.q = q, .node = n, .old_id = n->id, .n = (uint16_t)record.n};
    if (record.n > 0)
        memcpy(op->octets, record.p, record.n);
    list_push_back(&s->ops, &op->link);
    s->n_ops++;
    n->op = op;
    return op;
}

static void claim(struct suppress_op *op, void (*done)(struct store_claim *c, enum err err))
{
    op->claim.done = done;
    queue_store_busy(op->q);
    store_claim(op->q->store, op->old_id, QUEUE_LEASE_MS, &op->claim);
}

static void drop_step(struct queue *q)
{
    struct suppressions *s = q->suppressions;
    while (s->n_gone > 0 && s->n_drops < SUPPRESS_DROPS_MAX && can_write(q)) {
        struct suppressed_node *n = list_entry(s->gone.next, struct suppressed_node, link);
        struct suppress_op *op = n->id == 0 ? NULL : op_new(q, n, STR_NIL);
        if (op == NULL && n->id != 0)
            return; /* no memory: the sweep tries again */
        list_remove(&n->link);
        list_init(&n->link);
        s->n_gone--;
        if (op == NULL) { /* it never got into the store */
            mem_free(n);
            continue;
        }
        op->is_drop = true;
        s->n_drops++;
        claim(op, on_drop_claimed);
    }
}

/* ---- coming ---- */

static void op_end(struct suppress_op *op, enum err err)
{
    struct queue *q = op->q;
    struct suppressed_node *n = op->node;
    void (*done)(void *arg, enum err err) = op->done;
    void *arg = op->arg;
    if (err == ERR_OK) {
        struct suppressed s;
        must(suppressed_decode(str_of(op->octets, op->n), &s));
        n->id = op->new_id;
        if (n->state == NODE_ADDING)
            n->state = NODE_LISTED;
        TELL(q, .kind = EVENT_LISTED, .id = op->about_id, .rcpt = s.address, .text = s.why);
    }
    op_free(op);
    if (n->state == NODE_GONE)
        bury(q, n);
    else if (n->state == NODE_ADDING) /* it failed */
        remove_node(q, n);
    if (done != NULL)
        done(arg, err);
}

static void on_put(struct store_ticket *t, enum err err)
{
    struct suppress_op *op = container_of(t, struct suppress_op, ticket);
    queue_store_idle(op->q);
    op_end(op, err);
}

/* The envelope, with the body that all share where there is one, and the drop of what it replaces. */
static enum err submit_put(struct suppress_op *op)
{
    struct queue *q = op->q;
    struct suppressions *s = q->suppressions;
    struct str record = str_of(op->octets, op->n), body = str_of(body_text, sizeof body_text - 1);
    unsigned char hint[STORE_HINT];
    suppressed_hint_encode(&op->hint, hint);
    op->new_id = store_new_id(q->store);
    struct store_op ops[3] = {{.kind = STORE_PUT_ENVELOPE,
                               .id = op->new_id,
                               .body_id = s->body_id,
                               .pieces = &record,
                               .n_pieces = 1,
                               .hint = hint}};
    size_t n = 1;
    if (op->old_id != 0)
        ops[n++] = (struct store_op){.kind = STORE_DROP, .id = op->old_id, .epoch = op->claim.epoch};
    op->ticket.done = on_put;
    enum err err =
        s->body_id == 0 ? ERR_NOTFOUND : store_submit(q->store, ops, n, op->done == NULL, &op->ticket);
    if (err != ERR_NOTFOUND)
        return err;
    ops[0].body_id = op->new_id;
    ops[n++] = (struct store_op){.kind = STORE_PUT_BODY, .id = op->new_id, .pieces = &body, .n_pieces = 1};
    err = store_submit(q->store, ops, n, op->done == NULL, &op->ticket);
    if (err == ERR_OK)
        s->body_id = op->new_id;
    return err;
}

static void put(struct suppress_op *op)
{
    enum err err = submit_put(op);
    if (err == ERR_OK)
        queue_store_busy(op->q);
    else
        op_end(op, err);
}

static void on_put_claimed(struct store_claim *c, enum err err)
{
    struct suppress_op *op = container_of(c, struct suppress_op, claim);
    queue_store_idle(op->q);
    if (err != ERR_OK)
        op->old_id = 0; /* it is gone: a new one */
    put(op);
}

static struct suppressed_node *node_new(struct suppressions *s, const struct suppressed_hint *h)
{
    struct suppressed_node *n = mem_new(struct suppressed_node);
    if (n == NULL)
        return NULL;
    n->since_s = h->since_s;
    n->reason = (uint8_t)h->reason;
    list_push_back(&s->all, &n->link);
    idmap_insert(&s->nodes, &n->by_key, map_id(s, h->hash));
    return n;
}

static void make_room(struct queue *q)
{
    struct suppressions *s = q->suppressions;
    while (s->nodes.n > 0 && s->nodes.n >= q->suppressed_max)
        remove_node(q, list_entry(s->all.next, struct suppressed_node, link));
}

/* Is nothing new in it? */
static bool is_known(const struct suppressed_node *n, const struct suppressed *s)
{
    return n->op != NULL || s->reason < n->reason ||
           (s->reason == n->reason && s->since_s < (uint64_t)n->since_s + SUPPRESS_RENEW_S);
}

static enum err add(struct queue *q, const struct suppressed *what, uint64_t about_id,
                    void (*done)(void *arg, enum err err), void *arg)
{
    struct suppressions *s = q->suppressions;
    struct suppressed_hint h = {.reason = what->reason, .since_s = what->since_s};
    char mem[SUPPRESSED_RECORD_MAX];
    struct buf record;
    buf_init_fixed(&record, mem, sizeof mem);
    if (!hash_of(q, what->address, h.hash) || !suppressed_encode(what, &record))
        return ERR_INVALID;
    if (!can_write(q) || s->n_ops - s->n_drops >= SUPPRESS_OPS_MAX)
        return ERR_AGAIN;
    struct suppressed_node *n = find(q, what->address);
    if (n != NULL && is_known(n, what)) {
        if (done != NULL)
            done(arg, n->op != NULL ? ERR_AGAIN : ERR_OK);
        return ERR_OK;
    }
    if (n == NULL) {
        make_room(q);
        n = node_new(s, &h);
    }
    if (n == NULL)
        return ERR_NOMEM;
    struct suppress_op *op = op_new(q, n, buf_str(&record));
    if (op == NULL) {
        if (n->id == 0)
            remove_node(q, n);
        return ERR_NOMEM;
    }
    op->about_id = about_id;
    op->done = done;
    op->arg = arg;
    op->hint = h;
    n->since_s = h.since_s;
    n->reason = (uint8_t)h.reason;
    unlink_node(s, n);
    list_push_back(&s->all, &n->link); /* the youngest */
    if (op->old_id != 0)
        claim(op, on_put_claimed);
    else
        put(op);
    return ERR_OK;
}

static uint32_t now_s(const struct queue *q)
{
    int64_t s = world_wall_ms(q->world) / 1000;
    return s < 0 ? 0 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

void suppress_learn(struct queue *q, struct str address, enum suppress_reason reason, struct str why,
                    uint64_t about_id)
{
    struct suppressed s = {.reason = reason, .since_s = now_s(q), .address = address, .why = why};
    if (!q->config->suppress)
        return;
    enum err err = add(q, &s, about_id, NULL, NULL);
    if (err != ERR_OK && err != ERR_AGAIN && err != ERR_INVALID)
        queue_trouble(q, err, "an address could not be put into the suppression list");
}

enum err suppress_add(struct queue *q, struct str address, struct str why,
                      void (*done)(void *arg, enum err err), void *arg)
{
    struct suppressed s = {.reason = SUPPRESS_OPERATOR, .since_s = now_s(q), .address = address, .why = why};
    return q->config->suppress ? add(q, &s, 0, done, arg) : ERR_DENIED;
}

/* A server's word about a recipient. */
void suppress_refused(struct queue *q, const struct envelope_rcpt *r, uint64_t about_id)
{
    char mem[SUPPRESS_TEXT_MAX];
    struct buf why;
    if (!q->config->suppress || r->code < 500)
        return;
    struct code_verdict v = class_of(r);
    if (!class_is_useless(&v))
        return;
    buf_init_fixed(&why, mem, sizeof mem);
    buf_put(&why, str_slice(r->host, 0, ENVELOPE_HOST_MAX));
    buf_printf(&why, " said %u ", r->code);
    if (r->esc.subject != 0) { /* X.0.0 may be ours, where it gave none */
        esc_format(r->esc, &why);
        buf_putc(&why, ' ');
    }
    buf_put(&why, str_slice(r->text, 0, SUPPRESS_TEXT_MAX - why.n));
    suppress_learn(q, r->rcpt.address, SUPPRESS_REFUSED, buf_str(&why), about_id);
}

/* ---- asking ---- */

size_t suppress_count(const struct queue *q)
{
    return q->suppressions->nodes.n;
}

bool suppress_find(const struct queue *q, struct str address, uint64_t *out_id)
{
    const struct suppressed_node *n = find(q, address);
    if (n == NULL || n->state != NODE_LISTED || is_over(q, n->since_s))
        return false;
    *out_id = n->id;
    return true;
}

bool suppress_is_listed(const struct queue *q, struct str address)
{
    uint64_t id;
    return q->config->suppress && suppress_find(q, address, &id);
}

void suppress_worked(struct queue *q, struct str address, uint64_t about_id)
{
    struct suppressed_node *n = find(q, address);
    if (n == NULL || n->reason != SUPPRESS_REFUSED)
        return;
    TELL(q, .kind = EVENT_UNLISTED, .id = about_id, .rcpt = address,
         .text = STR("a server takes mail for it"));
    remove_node(q, n);
}

bool suppress_remove(struct queue *q, struct str address)
{
    struct suppressed_node *n = find(q, address);
    if (n == NULL)
        return false;
    TELL(q, .kind = EVENT_UNLISTED, .rcpt = address, .text = STR("operator"));
    remove_node(q, n);
    return true;
}

size_t suppress_remove_all(struct queue *q)
{
    struct suppressions *s = q->suppressions;
    size_t n = s->nodes.n;
    while (!list_is_empty(&s->all))
        remove_node(q, list_entry(s->all.next, struct suppressed_node, link));
    if (n > 0)
        TELL(q, .kind = EVENT_UNLISTED, .text = STR("operator: all addresses"));
    return n;
}

bool suppress_wait(struct queue *q, void (*done)(void *arg, enum err err), void *arg)
{
    struct suppressions *s = q->suppressions;
    struct waiting *w = is_settled(s) ? NULL : mem_new(struct waiting);
    if (w == NULL)
        return false;
    w->done = done;
    w->arg = arg;
    list_push_back(&s->waiting, &w->link);
    return true;
}

int64_t suppress_until_ms(const struct queue *q, uint32_t since_s)
{
    return ((int64_t)since_s + q->config->suppress_keep_s) * 1000;
}

/* ---- members of lists ---- */

static bool is_same(const struct queue *q, struct str a, struct str b)
{
    unsigned char ha[SIPHASH_SIZE], hb[SIPHASH_SIZE];
    return str_ieq(a, b) || (hash_of(q, a, ha) && hash_of(q, b, hb) && memcmp(ha, hb, sizeof ha) == 0 &&
                             str_ieq(str_slice(a, 0, str_rchr(a, '@')), str_slice(b, 0, str_rchr(b, '@'))));
}

/* The recipient that was looked at gets no mail: settled without an attempt and without a report. Who answers
 * for the list was told when the address was refused; another word with each message would say nothing new.
 */
static void give_up(struct work *w, const struct suppressed *s)
{
    static const char *const what[] = {[SUPPRESS_REFUSED] = "refused",
                                       [SUPPRESS_BOUNCED] = "bounced",
                                       [SUPPRESS_COMPLAINED] = "complained of",
                                       [SUPPRESS_OPERATOR] = "by an operator"};
    char mem[SUPPRESS_TEXT_MAX];
    struct buf b;
    struct envelope_rcpt *r = &w->state.rcpts[w->looked];
    int64_t wall_ms = world_wall_ms(w->q->world);
    struct str text;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "suppressed: %s on ", what[s->reason]);
    size_t n = b.n;
    date_format_rfc3339((int64_t)s->since_s * 1000, false, &b);
    b.n = b.n > n + 10 ? n + 10 : b.n; /* the day */
    buf_puts(&b, s->why.n > 0 ? ": " : "");
    buf_put(&b, s->why);
    if (!arena_str(&w->arena, buf_str(&b), &text))
        text = STR("suppressed");
    *r = (struct envelope_rcpt){
        .rcpt = r->rcpt,
        .state = ENVELOPE_FAILED,
        .esc = s->reason <= SUPPRESS_BOUNCED ? ESC(5, 1, 1) : ESC(5, 7, 1),
        .at_ms = wall_ms < 0 ? 0 : wall_ms,
        .text = text,
    };
    w->marks[w->looked] |= MARK_TRIED | MARK_NEW | MARK_QUIET;
    w->n_suppressed++;
}

static void on_read(struct store_read *r, enum err err)
{
    struct work *w = container_of(r, struct work, suppress_read);
    struct queue *q = w->q;
    struct suppressed s;
    queue_store_idle(q);
    must(w->phase == WORK_ROUTING);
    /* an address that can't be compared is tried */
    bool is_it = err == ERR_OK && suppressed_decode(r->bytes, &s) &&
                 is_same(q, s.address, w->state.rcpts[w->looked].rcpt.address);
    if (is_it)
        give_up(w, &s);
    store_read_release(r);
    work_prepare(w);
}

/* One that is left is the next recipient to be looked at: false, its record is being read. */
static bool look(struct work *w)
{
    struct queue *q = w->q;
    uint64_t id;
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        const struct rcpt *r = &w->state.rcpts[i].rcpt;
        if (!work_is_due(w, i) || (r->flags & RCPT_IS_MEMBER) == 0 || (w->marks[i] & MARK_LOOKED) != 0)
            continue;
        w->marks[i] |= MARK_LOOKED;
        if (!suppress_find(q, r->address, &id))
            continue;
        w->looked = i;
        w->suppress_read = (struct store_read){.done = on_read};
        queue_store_busy(q);
        store_read_envelope(q->store, id, &w->suppress_read);
        return false;
    }
    return true;
}

bool work_suppress(struct work *w)
{
    uint32_t n_left = 0;
    if (w->n_suppressed == 0 && (!w->q->config->suppress || w->q->suppressions->nodes.n == 0))
        return true;
    if (!look(w))
        return false;
    if (w->n_suppressed == 0)
        return true;
    for (uint32_t i = 0; i < w->state.n_rcpts; i++)
        n_left += work_is_due(w, i);
    w->n_suppressed = 0;
    w->outcome = SCHEDULE_NEUTRAL;
    w->is_expanding = true; /* routing follows the unit, as after an expansion */
    w->is_last = n_left == 0;
    work_record(w);
    return false;
}

/* ---- start, time, end ---- */

bool suppress_recover(struct queue *q, const struct store_live *live)
{
    struct suppressions *s = q->suppressions;
    struct suppressed_hint h;
    if (!suppressed_hint_decode(live->hint, &h))
        return false;
    s->body_id = live->body_id;
    struct idmap_node *old = idmap_find(&s->nodes, map_id(s, h.hash));
    if (old != NULL) /* it can't be, but for a damaged drop: the younger counts */
        remove_node(q, container_of(old, struct suppressed_node, by_key));
    make_room(q);
    struct suppressed_node *n = node_new(s, &h);
    if (n == NULL) {
        queue_trouble(q, ERR_NOMEM, "no memory for the suppression list");
        return true;
    }
    n->id = live->id;
    n->state = NODE_LISTED;
    return true;
}

void suppress_sweep(struct queue *q)
{
    struct suppressions *s = q->suppressions;
    for (size_t i = 0; i < QUEUE_SLICE && !list_is_empty(&s->all); i++) {
        struct suppressed_node *n = list_entry(s->all.next, struct suppressed_node, link);
        if (!is_over(q, n->since_s))
            break;
        remove_node(q, n);
    }
    drop_step(q);
}

void suppress_retry(struct queue *q)
{
    drop_step(q);
}

bool suppress_init(struct queue *q)
{
    struct suppressions *s = mem_new(struct suppressions);
    if (s == NULL)
        return false;
    struct list *lists[] = {&s->all, &s->gone, &s->ops, &s->cursors, &s->waiting};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    q->suppressions = s;
    q->suppressed_max = SUPPRESSED_MAX;
    world_random(q->world, s->map_key, sizeof s->map_key);
    return idmap_init(&s->nodes);
}

void suppress_fini(struct queue *q)
{
    struct suppressions *s = q->suppressions;
    struct list *l;
    if (s == NULL)
        return;
    while ((l = list_pop_front(&s->ops)) != NULL) {
        struct suppress_op *op = list_entry(l, struct suppress_op, link);
        if (op->node->state == NODE_GONE) /* in no list */
            mem_free(op->node);
        mem_free(op);
    }
    while ((l = list_pop_front(&s->all)) != NULL || (l = list_pop_front(&s->gone)) != NULL)
        mem_free(list_entry(l, struct suppressed_node, link));
    while ((l = list_pop_front(&s->waiting)) != NULL)
        mem_free(list_entry(l, struct waiting, link));
    idmap_fini(&s->nodes);
    mem_free(s);
    q->suppressions = NULL;
}
