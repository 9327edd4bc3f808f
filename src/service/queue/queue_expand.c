/* service/queue/queue_expand.c: recipients that become others: aliases and lists of the configuration, and
 * what a user's .forward names.
 *
 * Who became what is one unit of the store: children that share the body, and with them the state EXPANDED of
 * the recipients (or the parent's drop). So a crash before it repeats the expansion, and none after it does.
 * Children are grouped by envelope sender: members of a list get mail from its owner, without what the sender
 * asked for (RFC 5321 3.9.2, RFC 3461 5.2.7.3); others keep the sender and, by the number of targets, his
 * wishes (5.2.7.1, 5.2.7.2).
 *
 * Where the configuration has VERP each member that is an address gets a child of its own, whose sender names
 * him, local ones too, as with Postfix and ezmlm; a message from the null sender does not: reports on reports
 * are nobody's. A member whose address does not fit gets the owner's as it is.
 *
 * One copy goes to each final recipient, whatever led there: keys of what the message goes to anyway and of
 * all targets so far. A recipient that became others itself is no reason to leave out a target: two users who
 * forward to each other would both get nothing, and nobody would hear of it. Limits: a unit begins no further
 * alias beyond EXPAND_UNIT_MAX addresses or EXPAND_RECORDS_MAX octets; the next unit takes it.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "service/queue/queue.h"

enum {
    EXPAND_UNIT_MAX = 2000,
    EXPAND_SENDERS_MAX = 64,
    EXPAND_RECORDS_MAX = 6 * 1024 * 1024, /* of a unit: a batch takes that and short reports */
    EXPAND_CHILD_OCTETS = STORE_ENVELOPE_MAX / 2,
    EXPAND_KEY_MAX = 2 * SMTP_PATH_MAX + 16,
    EXPAND_NONE_MEMORY = 256 * 1024,
    EXPAND_LOOK_MEMORY = 16 * 1024 * 1024,
    EXPAND_TARGET_FIXED = RCPT_RECORD_FIXED + 16, /* with what is put before an ORCPT */
};

struct target {
    struct rcpt rcpt;
    struct str sender;
    bool is_list, is_taken; /* is_taken: it is in a child */
    bool is_alone;          /* the sender names it: a child of its own */
};
struct expand {
    struct target *all;
    size_t n, cap, octets;
    struct strmap keys; /* value: of which recipient of the message, from 1; 0: a target's */
    bool is_seeded;
};

/* ---- keys ---- */

/* Does a target of recipient i need a copy of its own? It does unless one goes there already: as another
 * target, or as a recipient of the message that did not become others itself. */
static bool add_target_key(struct work *w, uint32_t i, struct str text, bool *out_is_new)
{
    struct strmap_entry *k = strmap_put(&w->expand->keys, text, 0, out_is_new);
    if (k == NULL)
        return false;
    if (*out_is_new || k->value == 0)
        return true;
    const struct envelope_rcpt *r = &w->state.rcpts[k->value - 1];
    *out_is_new = k->value - 1 == i || (!envelope_is_open(r) && r->state != ENVELOPE_DELIVERED);
    if (*out_is_new)
        k->value = 0;
    return true;
}

/* At worst a copy too many: the keys are those of another configuration, or of children that were not made.
 */
static void forget_keys(struct work *w)
{
    struct expand *x = w->expand;
    if (x == NULL)
        return;
    strmap_clear(&x->keys);
    x->is_seeded = false;
}

static struct str key_of(struct work *w, const struct rcpt *r, struct buf *mem)
{
    buf_reset(mem);
    policy_rcpt_key(&w->q->config->policy, r, mem);
    return mem->failed || mem->n == 0 ? r->address : buf_str(mem);
}

static struct expand *get_expand(struct work *w)
{
    if (w->expand != NULL)
        return w->expand;
    w->expand = arena_new(&w->arena, struct expand);
    if (w->expand != NULL)
        w->expand->keys = (struct strmap){.arena = &w->arena, .seed = w->q->seed};
    return w->expand;
}

static void set_outcome(struct work *w, uint32_t i, enum envelope_rcpt_state state, struct esc esc,
                        struct str text)
{
    struct envelope_rcpt *r = &w->state.rcpts[i];
    int64_t wall_ms = world_wall_ms(w->q->world);
    *r = (struct envelope_rcpt){
        .rcpt = r->rcpt, .state = state, .esc = esc, .at_ms = wall_ms < 0 ? 0 : wall_ms, .text = text};
    w->marks[i] |= MARK_TRIED | MARK_NEW;
}

/* What the message goes to, or went to, by itself. of: what each recipient becomes (enum expansion_kind), or
 * NULL. One that was named twice ("joe" and "Joe") is settled by the first, unless the sender wants to hear
 * other things of it (as Postfix, whose cleanup looks at NOTIFY too); out_n_doubles counts those. */
static bool seed(struct work *w, const uint8_t *of, uint32_t *out_n_doubles)
{
    char mem[EXPAND_KEY_MAX];
    struct buf text;
    bool is_new;
    buf_init_fixed(&text, mem, sizeof mem);
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        const struct envelope_rcpt *r = &w->state.rcpts[i];
        bool is_due = work_is_due(w, i);
        bool goes = envelope_is_open(r) && (of == NULL || !is_due || of[i] == EXPAND_NONE);
        if (!goes && r->state != ENVELOPE_DELIVERED)
            continue;
        const struct strmap_entry *k =
            strmap_put(&w->expand->keys, key_of(w, &r->rcpt, &text), i + 1, &is_new);
        if (k == NULL)
            return false;
        if (!is_new && goes && is_due && of != NULL &&
            w->state.rcpts[k->value - 1].rcpt.notify == r->rcpt.notify) {
            set_outcome(w, i, ENVELOPE_EXPANDED, ESC(2, 1, 5), STR("named twice"));
            w->marks[i] |= MARK_QUIET;
            ++*out_n_doubles;
        }
    }
    w->expand->is_seeded = true;
    return true;
}

/* ---- targets ---- */

/* RFC 3461 5.2.7.2: of several copies none tells of success; the alias itself is reported as expanded. */
static uint8_t notify_of_many(uint8_t notify)
{
    if ((notify & NOTIFY_SUCCESS) == 0)
        return notify;
    notify &= (uint8_t)~NOTIFY_SUCCESS;
    return notify == 0 ? NOTIFY_NEVER : notify;
}

/* The wishes of the sender for `from`, as they go on to a target that is no member of a list. */
static bool inherit(struct work *w, const struct rcpt *from, size_t n_targets, struct rcpt *out)
{
    out->notify = n_targets > 1 ? notify_of_many(from->notify) : from->notify;
    out->shown = from->shown.n > 0 ? from->shown : from->address;
    out->orcpt = from->orcpt;
    if (out->orcpt.n > 0 || from->address.n + 7 > DSN_ORCPT_MAX)
        return true;
    char mem[DSN_ORCPT_MAX]; /* so that the last host's report names what the sender wrote */
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, str_is_ascii(from->address) ? "rfc822;" : "utf-8;");
    buf_put(&b, from->address);
    return arena_str(&w->arena, buf_str(&b), &out->orcpt);
}

/* Octets of the record that a target becomes, at most, when it inherits from `from`, or not (NULL). */
static size_t record_size(const struct rcpt *from, struct str address)
{
    size_t n = address.n + EXPAND_TARGET_FIXED;
    return from == NULL ? n : n + from->shown.n + from->orcpt.n + 2 * from->address.n;
}

/* Of a child beside its recipients. */
static size_t child_size(const struct work *w)
{
    return envelope_encoded_size(&w->envelope) - w->envelope.rcpts.n;
}

static bool has_octets(const struct work *w, size_t octets)
{
    return octets <= EXPAND_RECORDS_MAX - (w->expand == NULL ? 0 : w->expand->octets);
}

static bool push(struct work *w, const struct target *t)
{
    struct expand *x = w->expand;
    if (x->n == x->cap) {
        size_t cap = x->cap == 0 ? 16 : x->cap * 2;
        struct target *all = arena_alloc_array(&w->arena, cap, sizeof *all);
        if (all == NULL)
            return false;
        for (size_t i = 0; i < x->n; i++)
            all[i] = x->all[i];
        x->all = all;
        x->cap = cap;
    }
    x->all[x->n++] = *t;
    return true;
}

static bool set_expanded(struct work *w, uint32_t i, size_t n, const char *what, bool is_quiet)
{
    char mem[80];
    struct buf b;
    struct str text;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "%s of %zu address%s", what, n, n == 1 ? "" : "es");
    if (!arena_str(&w->arena, buf_str(&b), &text))
        return false;
    set_outcome(w, i, ENVELOPE_EXPANDED, ESC(2, 1, 5), text);
    if (is_quiet)
        w->marks[i] |= MARK_QUIET;
    TELL(w->q, .kind = EVENT_EXPANDED, .id = w->id, .rcpt = w->state.rcpts[i].rcpt.address, .text = text);
    return true;
}

/* ---- aliases ---- */

/* Might two recipients be the same? By hash: a wrong yes costs a look at their keys. */
static bool has_doubles(struct queue *q, struct str rcpts)
{
    enum { SLOTS = 2048 };
    _Static_assert(SLOTS >= 2 * SMTP_RCPT_MAX, "half of them stay free");
    uint64_t slots[SLOTS] = {0};
    struct reader r = reader_of(rcpts);
    struct rcpt one;
    while (rcpt_next(&r, &one)) {
        uint64_t hash = str_ihash(one.address, q->seed) | 1;
        size_t i = (size_t)(hash >> 1) % SLOTS;
        while (slots[i] != 0 && slots[i] != hash)
            i = (i + 1) % SLOTS;
        if (slots[i] == hash)
            return true;
        slots[i] = hash;
    }
    return false;
}

bool expand_is_wanted(struct queue *q, struct str rcpts, uint32_t n_rcpts)
{
    struct arena a;
    struct reader r = reader_of(rcpts);
    struct rcpt one;
    bool is_wanted = false;
    if (n_rcpts > 1 && has_doubles(q, rcpts))
        return true;
    arena_init(&a, &q->pool, EXPAND_NONE_MEMORY);
    while (!is_wanted && rcpt_next(&r, &one)) {
        struct expansion x;
        is_wanted = !policy_expand(&q->config->policy, &one, &a, &x) || x.kind != EXPAND_NONE;
        arena_reset(&a);
    }
    return is_wanted;
}

static bool is_verp(const struct work *w, const struct expand_target *e)
{
    return e->owner.n > 0 && e->target == 0 && w->envelope.sender.n > 0 && w->q->config->policy.verp.n > 0;
}

/* Each change of the sender begins another child. */
static size_t alias_size(const struct work *w, const struct rcpt *from, const struct expansion *x)
{
    size_t n = 0;
    for (size_t k = 0; k < x->n_targets; k++) {
        const struct expand_target *e = &x->targets[k];
        if (is_verp(w, e))
            n += child_size(w) + e->owner.n + SMTP_LOCAL_PART_MAX;
        else if (k == 0 || !str_eq(e->owner, x->targets[k - 1].owner))
            n += child_size(w) + e->owner.n;
        n += record_size(e->owner.n > 0 ? NULL : from, e->address);
    }
    return n;
}

/* false: no memory. */
static bool set_verp(struct work *w, const struct expand_target *e, struct target *t)
{
    char mem[SMTP_PATH_MAX];
    struct buf sender;
    buf_init_fixed(&sender, mem, sizeof mem);
    if (!is_verp(w, e) || !verp_put_sender(w->q, e->owner, e->address, &sender))
        return true;
    t->is_alone = true;
    return arena_str(&w->arena, buf_str(&sender), &t->sender);
}

static bool add_alias(struct work *w, uint32_t i, const struct expansion *x)
{
    char mem[EXPAND_KEY_MAX];
    struct buf text;
    const struct rcpt *from = &w->state.rcpts[i].rcpt;
    size_t n_list = 0, n_before = w->expand->n;
    buf_init_fixed(&text, mem, sizeof mem);
    for (size_t k = 0; k < x->n_targets; k++) {
        const struct expand_target *e = &x->targets[k];
        struct target t = {.rcpt = {.address = e->address, .target = e->target},
                           .sender = e->owner.n > 0 ? e->owner : w->envelope.sender,
                           .is_list = e->owner.n > 0};
        t.rcpt.flags =
            (uint8_t)(e->flags | (from->flags & RCPT_FORWARD_MASK) | (t.is_list ? RCPT_IS_MEMBER : 0));
        n_list += t.is_list;
        bool is_new;
        if (!add_target_key(w, i, key_of(w, &t.rcpt, &text), &is_new))
            return false;
        if (!is_new)
            continue;
        /* Who answers for a list must see which member failed: nothing is hidden from him. */
        if ((!t.is_list && !inherit(w, from, x->n_targets, &t.rcpt)) || !set_verp(w, e, &t) || !push(w, &t))
            return false;
    }
    bool is_quiet = n_list == 0 && x->n_targets == 1 && w->expand->n > n_before;
    if (n_list == x->n_targets) /* to the sender the list is where it ends (RFC 3461 5.2.7.3) */
        w->marks[i] |= MARK_LIST;
    return set_expanded(w, i, x->n_targets, n_list > 0 ? "list" : "alias", is_quiet);
}

/* A return path of list mail: a report is read, and what else came for it goes to who answers for the list.
 * *out_is_done: false: it is left for the next unit. */
static bool add_report(struct work *w, uint32_t i, bool *out_is_done)
{
    char mem[SMTP_PATH_MAX], key_mem[EXPAND_KEY_MAX];
    struct buf member_mem, text;
    struct str owner, member;
    const struct rcpt *from = &w->state.rcpts[i].rcpt;
    buf_init_fixed(&member_mem, mem, sizeof mem);
    buf_init_fixed(&text, key_mem, sizeof key_mem);
    *out_is_done = true;
    enum verp_found found = verp_find(w->q, from->address, &member_mem, &owner, &member);
    if (found == VERP_UNKNOWN)
        set_outcome(w, i, ENVELOPE_DEFERRED, ESC(4, 3, 0), STR("the key of return paths can't be read"));
    else if (found != VERP_OURS)
        set_outcome(w, i, ENVELOPE_FAILED, ESC(5, 1, 1), STR("no list of ours has written that return path"));
    if (found != VERP_OURS)
        return true;
    struct str what;
    if (feedback_settles(w, owner, member, &what)) {
        set_outcome(w, i, ENVELOPE_DELIVERED, ESC(2, 0, 0), what);
        return true;
    }
    struct target t = {.rcpt = {.address = owner}, .sender = w->envelope.sender};
    size_t octets = child_size(w) + record_size(from, owner);
    bool is_new;
    *out_is_done = has_octets(w, octets);
    if (!*out_is_done)
        return true;
    t.rcpt.flags = from->flags & RCPT_FORWARD_MASK; /* the owner is an alias */
    if (!add_target_key(w, i, key_of(w, &t.rcpt, &text), &is_new) || !inherit(w, from, 1, &t.rcpt) ||
        (is_new && !push(w, &t)))
        return false;
    w->expand->octets += octets;
    return set_expanded(w, i, 1, "return path", is_new);
}

static size_t n_senders(const struct expand *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n && n <= EXPAND_SENDERS_MAX; i++)
        n += i == 0 || !str_eq(x->all[i].sender, x->all[i - 1].sender);
    return n;
}

/* What each recipient that is due becomes, into kinds. Most become nothing: what it took to find out is given
 * back at once. */
static bool look(struct work *w, uint8_t *kinds, bool *out_has_alias)
{
    size_t n_targets = 0;
    struct arena a;
    bool ok = true;
    arena_init(&a, &w->q->pool, EXPAND_LOOK_MEMORY);
    *out_has_alias = false;
    for (uint32_t i = 0; ok && i < w->state.n_rcpts; i++) {
        struct expansion x;
        if (!work_is_due(w, i))
            continue;
        kinds[i] = EXPAND_ALIAS;
        if (n_targets >= EXPAND_UNIT_MAX) /* the next unit's, whatever it is */
            continue;
        ok = policy_expand(&w->q->config->policy, &w->state.rcpts[i].rcpt, &a, &x);
        kinds[i] = (uint8_t)x.kind;
        n_targets += x.kind == EXPAND_ALIAS ? x.n_targets : 0;
        *out_has_alias = *out_has_alias || x.kind == EXPAND_ALIAS || x.kind == EXPAND_REPORT;
        arena_reset(&a);
    }
    return ok;
}

/* The same for one that becomes something. *out_is_done: false: it is left for the next unit. */
static bool expand_one(struct work *w, uint32_t i, size_t *n_targets, bool *out_is_done)
{
    struct expansion x;
    const struct rcpt *r = &w->state.rcpts[i].rcpt;
    *out_is_done = false;
    if (!policy_expand(&w->q->config->policy, r, &w->arena, &x))
        return false;
    size_t octets = x.kind == EXPAND_ALIAS ? alias_size(w, r, &x) : 0;
    if (x.kind == EXPAND_FAILED) {
        /* What an operator may set right (4.x.x) is tried again until it expires. */
        set_outcome(w, i, x.esc.class == 4 ? ENVELOPE_DEFERRED : ENVELOPE_FAILED, x.esc,
                    str_from_c(x.phrase));
    } else if (octets > EXPAND_RECORDS_MAX) {
        set_outcome(w, i, ENVELOPE_DEFERRED, ESC(4, 3, 5),
                    STR("the alias leads to more addresses than one step can take"));
    } else if (x.kind == EXPAND_REPORT) {
        if (!add_report(w, i, out_is_done))
            return false;
        *n_targets += 1;
        return true;
    } else if (x.kind == EXPAND_NONE || !has_octets(w, octets)) {
        return true;
    } else if (!add_alias(w, i, &x)) {
        return false;
    }
    *out_is_done = true;
    *n_targets += x.n_targets;
    if (w->expand != NULL)
        w->expand->octets += octets <= EXPAND_RECORDS_MAX ? octets : 0;
    return true;
}

/* false: no memory. *out_n_left: recipients that are still to be routed or expanded. */
static bool expand_all(struct work *w, uint32_t *out_n_done, uint32_t *out_n_left)
{
    uint32_t n = w->state.n_rcpts;
    uint8_t *kinds = arena_alloc_array(&w->arena, n, 1);
    bool has_alias;
    *out_n_done = *out_n_left = 0;
    if (kinds == NULL || !look(w, kinds, &has_alias))
        return false;
    if (has_alias || n > 1) {
        /* Once: what is left for a later unit of this attempt is in the keys by then. */
        if (get_expand(w) == NULL || (!w->expand->is_seeded && !seed(w, kinds, out_n_done)))
            return false;
    }
    size_t n_targets = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!work_is_due(w, i))
            continue;
        bool is_done = false;
        bool has_room =
            n_targets < EXPAND_UNIT_MAX && (w->expand == NULL || n_senders(w->expand) < EXPAND_SENDERS_MAX);
        if (kinds[i] != EXPAND_NONE && has_room && !expand_one(w, i, &n_targets, &is_done))
            return false;
        *out_n_done += is_done;
        *out_n_left += !is_done;
    }
    return true;
}

bool work_expand(struct work *w)
{
    uint32_t n_done = 0, n_left = 0;
    if (w->config_generation != w->q->config->generation)
        forget_keys(w);
    w->config_generation = w->q->config->generation;
    if (!expand_all(w, &n_done, &n_left)) {
        queue_trouble(w->q, ERR_NOMEM, "no memory to expand the recipients of a message");
        work_postpone(w, QUEUE_LOST_MS);
        return false;
    }
    if (n_done == 0)
        return true;
    w->outcome = SCHEDULE_NEUTRAL;
    w->is_expanding = true;
    w->is_last = n_left == 0;
    work_record(w);
    return false;
}

void work_expanded(struct work *w)
{
    w->is_expanding = false;
    work_set_phase(w, WORK_ROUTING);
    work_prepare(w);
}

/* ---- .forward ---- */

/* Behind a catch-all or a postmaster the mailbox is that of another address than the one that was written. */
static struct str mailbox_key(struct work *w, const struct rcpt *r, struct buf *mem)
{
    char text_mem[ROUTE_TEXT] __attribute__((uninitialized));
    struct buf text;
    struct routed routed;
    struct rcpt there = *r;
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    route_rcpt(w->q, &w->envelope, r, &text, &routed);
    if (routed.route.rcpt.n > 0)
        there.address = routed.route.rcpt;
    struct str key = key_of(w, &there, mem);
    return mem->failed || mem->n == 0 ? key_of(w, r, mem) : key; /* what it borrows outlives us */
}

/* Whom the message was for when the first .forward was read; nothing: this is the first. */
static struct str first_key(struct work *w, const struct rcpt *from, struct buf *mem)
{
    struct rcpt first = {.address = from->shown};
    return (from->flags & RCPT_FORWARD_MASK) == 0 || from->shown.n == 0 ? STR_NIL
                                                                        : mailbox_key(w, &first, mem);
}

/* Both addresses of the user's are his own mailbox, and the same one: it has one copy. What leads back to
 * whom the message was for is on its last step: his file names nobody who has not had his turn, and who wrote
 * hears of the circle at once (a file that was put right meanwhile is followed). Circles beside him end by
 * their number of steps. */
static bool add_forward(struct work *w, uint32_t i, struct str targets, uint32_t n)
{
    char mem[4][EXPAND_KEY_MAX];
    struct buf text, own_text, box_text, first_text;
    const struct rcpt *from = &w->state.rcpts[i].rcpt;
    struct reader r = reader_of(targets);
    struct rcpt one;
    buf_init_fixed(&text, mem[0], sizeof mem[0]);
    buf_init_fixed(&own_text, mem[1], sizeof mem[1]);
    buf_init_fixed(&box_text, mem[2], sizeof mem[2]);
    buf_init_fixed(&first_text, mem[3], sizeof mem[3]);
    struct str own = key_of(w, from, &own_text), box = mailbox_key(w, from, &box_text);
    struct str first = first_key(w, from, &first_text);
    uint8_t next = (from->flags & RCPT_FORWARD_MASK) + RCPT_FORWARD_STEP;
    if (get_expand(w) == NULL || (!w->expand->is_seeded && !seed(w, NULL, NULL)))
        return false;
    size_t n_before = w->expand->n;
    while (rcpt_next(&r, &one)) {
        struct target t = {.rcpt = {.address = one.address}, .sender = w->envelope.sender};
        struct str key = key_of(w, &t.rcpt, &text);
        bool is_own = str_eq(key, own) || str_eq(key, box), is_new;
        if (!add_target_key(w, i, is_own ? box : key, &is_new))
            return false;
        if (!is_new)
            continue;
        if (is_own)
            t.rcpt.flags = RCPT_IS_EXPANDED | RCPT_FORWARD_MASK;
        else
            t.rcpt.flags = first.n > 0 && str_eq(key, first) ? RCPT_FORWARD_MASK - RCPT_FORWARD_STEP : next;
        if (!inherit(w, from, n, &t.rcpt) || !push(w, &t))
            return false;
    }
    return set_expanded(w, i, n, ".forward", n == 1 && w->expand->n > n_before);
}

static size_t forward_size(const struct work *w, uint32_t i, struct str targets)
{
    struct reader r = reader_of(targets);
    struct rcpt one;
    size_t n = child_size(w);
    while (rcpt_next(&r, &one))
        n += record_size(&w->state.rcpts[i].rcpt, one.address);
    return n;
}

void expand_take_result(struct work *w, uint32_t i, const struct job_result *r)
{
    uint32_t n = rcpt_count(r->targets);
    uint8_t steps = w->state.rcpts[i].rcpt.flags & RCPT_FORWARD_MASK;
    size_t octets = forward_size(w, i, r->targets);
    size_t n_before = w->expand == NULL ? 0 : w->expand->n;
    if (w->worker->role != ROLE_LOCAL || n == 0 || steps == RCPT_FORWARD_MASK) {
        set_outcome(w, i, ENVELOPE_DEFERRED, ESC(4, 3, 0), STR("the answer of the delivery makes no sense"));
    } else if (steps + RCPT_FORWARD_STEP == RCPT_FORWARD_MASK) {
        set_outcome(w, i, ENVELOPE_FAILED, ESC(5, 4, 6), STR("too many users forward this to each other"));
    } else if (!has_octets(w, octets)) {
        set_outcome(w, i, ENVELOPE_DEFERRED, ESC(4, 3, 5),
                    STR("the users of this message forward it to more addresses than one step can take"));
    } else if (add_forward(w, i, r->targets, n)) {
        w->expand->octets += octets;
    } else {
        if (w->expand != NULL)
            w->expand->n = n_before;
        forget_keys(w);
        queue_trouble(w->q, ERR_NOMEM, "no memory to forward a message");
        set_outcome(w, i, ENVELOPE_DEFERRED, ESC(4, 3, 0), STR("no memory to forward the message"));
    }
}

/* ---- children ---- */

static bool list_params(struct work *w, struct str *out)
{
    struct mail_params p;
    char mem[1024];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (!mail_params_get(w->envelope.params, &p))
        return false;
    p.ret = DSN_RET_NONE;
    p.feedback = STR_NIL;
    p.envid = STR_NIL;
    p.by_mode = BY_NONE;
    p.by_trace = false;
    p.by_ms = 0;
    return mail_params_put(&p, &b) && arena_str(&w->arena, buf_str(&b), out);
}

/* A child with the targets that share a sender with the first that is in none, as many as it takes. */
static struct fresh *make_child(struct work *w, size_t first, struct str params_of_lists, struct buf *rcpts)
{
    struct expand *x = w->expand;
    const struct target *model = &x->all[first];
    struct envelope e = w->envelope;
    buf_reset(rcpts);
    e.n_rcpts = 0;
    size_t end = model->is_alone ? first + 1 : x->n;
    for (size_t i = first; i < end && e.n_rcpts < SMTP_RCPT_MAX && rcpts->n < EXPAND_CHILD_OCTETS; i++) {
        struct target *t = &x->all[i];
        if (t->is_taken || t->is_list != model->is_list || !str_eq(t->sender, model->sender))
            continue;
        rcpt_put(&t->rcpt, rcpts);
        t->is_taken = true;
        e.n_rcpts++;
        if (!str_is_ascii(t->rcpt.address))
            e.flags |= MAIL_FLAG_UTF8;
    }
    if (rcpts->failed)
        return NULL;
    if (model->is_list) {
        e.kind = ENVELOPE_MAIL;
        e.flags &= ~(uint32_t)MAIL_FLAG_BOUNCE;
        e.params = params_of_lists;
    }
    e.sender = model->sender;
    e.rcpts = buf_str(rcpts);
    e.parent_id = w->id;
    return fresh_new(w->q, store_new_id(w->q->store), w->body_id, &e, STR_NIL);
}

static bool make_children(struct work *w)
{
    struct expand *x = w->expand;
    struct str params;
    w->children = arena_alloc_array(&w->arena, x->n, sizeof(struct fresh *));
    if (w->children == NULL || !list_params(w, &params))
        return false;
    struct buf rcpts;
    bool ok = true;
    buf_init(&rcpts, STORE_ENVELOPE_MAX);
    for (size_t i = 0; ok && i < x->n; i++) {
        if (x->all[i].is_taken)
            continue;
        struct fresh *f = make_child(w, i, params, &rcpts);
        ok = f != NULL;
        if (ok)
            w->children[w->n_children++] = f;
    }
    buf_fini(&rcpts);
    return ok;
}

void expand_make_children(struct work *w)
{
    struct expand *x = w->expand;
    if (x == NULL)
        return;
    bool ok = x->n == 0 || make_children(w);
    x->n = x->octets = 0;
    for (size_t i = 0; ok && i < w->n_children; i++)
        TELL(w->q, .kind = EVENT_SPLIT, .id = w->id, .other_id = w->children[i]->id);
    if (ok)
        return;
    for (size_t i = 0; i < w->n_children; i++)
        fresh_unref(w->children[i]);
    w->n_children = 0;
    forget_keys(w);
    queue_trouble(w->q, ERR_NOMEM, "no memory for the copies of a message");
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        if ((w->marks[i] & MARK_NEW) != 0 && w->state.rcpts[i].state == ENVELOPE_EXPANDED)
            set_outcome(w, i, ENVELOPE_DEFERRED, ESC(4, 3, 0),
                        STR("no memory for the copies of the message"));
    }
}

bool expand_put_ops(struct work *w)
{
    if (w->n_children == 0)
        return true;
    struct str *records = arena_alloc_array(&w->arena, w->n_children, sizeof *records);
    unsigned char *hints = arena_alloc_array(&w->arena, w->n_children, STORE_HINT);
    if (records == NULL || hints == NULL)
        return false;
    int64_t wall_ms = world_wall_ms(w->q->world);
    for (size_t i = 0; i < w->n_children; i++) {
        const struct fresh *f = w->children[i];
        struct envelope_hint h = {.flags = fresh_hint_flags(f),
                                  .created_s = f->created_s,
                                  .priority = f->priority,
                                  .next_ms = wall_ms < 0 ? 0 : wall_ms};
        hint_encode(&h, hints + i * STORE_HINT);
        records[i] = fresh_record(f);
        w->ops[w->n_ops++] = (struct store_op){.kind = STORE_PUT_ENVELOPE,
                                               .id = f->id,
                                               .body_id = w->body_id,
                                               .pieces = &records[i],
                                               .n_pieces = 1,
                                               .hint = hints + i * STORE_HINT};
    }
    return true;
}
