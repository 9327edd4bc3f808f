/* policy/expand.c: what a recipient becomes when aliases and lists are followed to their ends.
 *
 * A queue of addresses, each followed once: what was met before is dropped, so that lists which name each
 * other end, as in Postfix (a duplicate filter per delivery) and Exim (no router twice for one ancestor).
 * An alias that leads back to itself, under whichever of its addresses and by way of whichever other alias,
 * means the mailbox of that name when there is one: Postfix lets an address expand into itself once
 * (cleanup_map1n.c) and Exim passes what an ancestor had to its next router. Two that name each other and are
 * reached side by side, so that none is the other's ancestor, are told by the circles of the graph once all
 * is followed. A circle that leads to nobody is an error of the configuration and is told so, where Postfix
 * would defer the mail for ever.
 *
 * The hash needs no secret: all addresses but the first come from the configuration.
 */
#include "base/strmap.h"
#include "policy/lookup.h"

#include <string.h>

enum { KEY_MAX = 2 * SMTP_PATH_MAX };
#define NO_ITEM SIZE_MAX

struct item { /* an address to follow */
    struct str address, owner;
    unsigned depth;
    uint32_t first_edge;       /* of those that leave it; they end where the next item's begin */
    size_t up;                 /* the item that led here, NO_ITEM for the first */
    const struct alias *alias; /* what it was, once it was looked at */
};
struct edge {
    uint32_t from; /* items */
    uint32_t to : 31;
    uint32_t is_dropped : 1; /* `to` was met before */
};
struct work {
    const struct policy_conf *p;
    struct arena *a;
    struct item *items; /* a queue: [next, n_items) is still to do */
    size_t n_items, next, cap_items;
    struct expand_target *targets;
    size_t n_targets, cap_targets;
    struct edge *edges; /* by item */
    size_t n_edges, cap_edges;
    bool has_dropped;   /* an edge */
    struct strmap keys; /* met so far; value of an address: its item, from 1 */
    bool has_alias;     /* something else than redirections was followed */
    bool has_failed;    /* no memory */
    const char *over;   /* a limit was reached */
};

/* ---- keys -------------------------------------------------------------------------------------- */

static void put_key(const struct policy_conf *p, struct str address, uint8_t target, struct buf *out)
{
    struct address a;
    struct ours o;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX], name_mem[LOOKUP_NAME_MAX];
    struct buf local, name;
    buf_init_fixed(&local, mem, sizeof mem);
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    if (address_parse(address, true, &a) != NULL || !lookup_user(&a, &local)) {
        buf_put(out, address);
        return;
    }
    bool is_ours = lookup_domain(p, &a, &name, &o);
    for (size_t i = 0; i < local.n; i++)
        buf_putc(out, is_ours ? ascii_lower(local.p[i]) : local.p[i]);
    buf_putc(out, '@');
    if (is_ours)
        buf_put(out, o.home == o.domain ? o.name : o.home->name);
    else if (!lookup_ascii(p, a.domain, out))
        buf_put(out, a.domain);
    if (target != 0)
        buf_printf(out, "|%u", (unsigned)target);
}

void policy_rcpt_key(const struct policy_conf *p, const struct rcpt *r, struct buf *out)
{
    put_key(p, r->address, r->target, out);
}

/* kind: '@' an address that was followed, '=' a final recipient. The value that it has in *out_value. */
static bool is_first(struct work *w, char kind, struct str address, uint8_t target, uint32_t *out_value)
{
    char mem[KEY_MAX];
    struct buf key;
    buf_init_fixed(&key, mem, sizeof mem);
    buf_putc(&key, kind);
    put_key(w->p, address, target, &key);
    bool is_new = false;
    const struct strmap_entry *e =
        key.failed ? NULL : strmap_put(&w->keys, buf_str(&key), (uint32_t)w->n_items + 1, &is_new);
    if (e == NULL)
        w->has_failed = true;
    else
        *out_value = e->value;
    return is_new && !w->has_failed;
}

/* ---- lists ------------------------------------------------------------------------------------- */

/* Room for one more; NULL without memory. The old list stays in the arena: at most as much again. */
static void *more(struct work *w, void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    size_t wider = *cap == 0 ? 16 : *cap * 2;
    void *fresh = arena_alloc_array(w->a, wider, size);
    if (fresh == NULL) {
        w->has_failed = true;
        return NULL;
    }
    if (n > 0)
        memcpy(fresh, list, n * size);
    *cap = wider;
    return fresh;
}

static void add_edge(struct work *w, size_t from, size_t to, bool is_dropped)
{
    struct edge *edges = more(w, w->edges, w->n_edges, &w->cap_edges, sizeof *edges);
    if (edges == NULL)
        return;
    w->edges = edges;
    edges[w->n_edges++] =
        (struct edge){.from = (uint32_t)from, .to = to & INT32_MAX, .is_dropped = is_dropped};
    w->has_dropped = w->has_dropped || is_dropped;
}

static void follow(struct work *w, struct str address, struct str owner, size_t up)
{
    unsigned depth = up == NO_ITEM ? 0 : w->items[up].depth + 1;
    uint32_t place = 0;
    if (!is_first(w, '@', address, 0, &place)) {
        if (!w->has_failed)
            add_edge(w, up, place - 1, true);
        return;
    }
    if (depth > EXPAND_DEPTH_MAX)
        w->over = "the alias leads on too often: more than 20 steps";
    else if (w->n_items >= EXPAND_TARGETS_MAX)
        w->over = "the alias leads to too many addresses: more than 10000";
    struct item *items = w->over != NULL ? NULL : more(w, w->items, w->n_items, &w->cap_items, sizeof *items);
    if (items == NULL)
        return;
    w->items = items;
    if (up != NO_ITEM)
        add_edge(w, up, w->n_items, false);
    items[w->n_items++] = (struct item){.address = address, .owner = owner, .depth = depth, .up = up};
}

static void add_target(struct work *w, struct str address, struct str owner, uint8_t target)
{
    uint32_t any;
    if (!is_first(w, '=', address, target, &any))
        return;
    if (w->n_targets >= EXPAND_TARGETS_MAX) {
        w->over = "the alias leads to too many addresses: more than 10000";
        return;
    }
    struct expand_target *list = more(w, w->targets, w->n_targets, &w->cap_targets, sizeof *list);
    if (list == NULL)
        return;
    w->targets = list;
    list[w->n_targets++] = (struct expand_target){
        .address = address, .owner = owner, .target = target, .flags = RCPT_IS_EXPANDED};
}

/* ---- steps ------------------------------------------------------------------------------------- */

static struct str full_address(struct work *w, struct str local, struct str domain)
{
    char mem[SMTP_PATH_MAX + SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf text;
    struct str out = STR_NIL;
    buf_init_fixed(&text, mem, sizeof mem);
    address_format(local, domain, &text);
    if (text.failed || !arena_str(w->a, buf_str(&text), &out))
        w->has_failed = true;
    return out;
}

/* "\joe" within the alias joe means the mailbox of the address that led here, with its plus part. */
static struct str own_mailbox(const struct item *it, const struct alias *alias, struct str wanted)
{
    bool is_own = wanted.n > alias->name.n && wanted.p[alias->name.n] == '@' &&
                  str_ieq(str_slice(wanted, 0, alias->name.n), alias->name);
    return is_own ? it->address : wanted;
}

/* Is this address the alias at work or one that led to it, and is there a mailbox of its name? */
static bool leads_back(const struct work *w, size_t from, struct str address)
{
    struct address a;
    struct ours o;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX], name_mem[LOOKUP_NAME_MAX];
    struct buf local, name;
    buf_init_fixed(&local, mem, sizeof mem);
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    if (address_parse(address, true, &a) != NULL || !lookup_user(&a, &local) ||
        !lookup_domain(w->p, &a, &name, &o))
        return false;
    struct found f = lookup_local(w->p, &o, buf_str(&local), address, LOOKUP_USE_ALIASES);
    while (f.kind == FOUND_ALIAS && from != NO_ITEM && w->items[from].alias != f.alias)
        from = w->items[from].up;
    return f.kind == FOUND_ALIAS && from != NO_ITEM &&
           lookup_local(w->p, &o, buf_str(&local), address, 0).kind == FOUND_USER;
}

static void follow_alias(struct work *w, size_t i_item, const struct alias *alias)
{
    const struct item one = w->items[i_item], *it = &one; /* the list may move */
    w->items[i_item].alias = alias;
    struct str owner = alias->owner.n > 0 ? alias->owner : it->owner;
    unsigned n_pipes = 0;
    w->has_alias = true;
    for (size_t i = 0; i < alias->n_targets && !w->has_failed && w->over == NULL; i++) {
        const struct alias_target *t = &alias->targets[i];
        switch (t->kind) {
        case ALIAS_ADDRESS:
            if (leads_back(w, i_item, t->text))
                add_target(w, own_mailbox(it, alias, t->text), owner, 0);
            else
                follow(w, t->text, owner, i_item);
            break;
        case ALIAS_SELF:
            add_target(w, own_mailbox(it, alias, t->text), owner, 0);
            break;
        case ALIAS_PIPE:
            add_target(w, it->address, owner, (uint8_t)++n_pipes);
            break;
        }
    }
}

static void redirect(struct work *w, size_t from, const struct ours *o, struct str to)
{
    if (str_chr(to, '@') == STR_NPOS)
        to = full_address(w, to, o->home == o->domain ? o->name : o->home->name);
    if (!w->has_failed)
        follow(w, to, w->items[from].owner, from);
}

static bool is_postmaster_here(const struct work *w, const struct address *a, struct str local)
{
    return str_ieq(local, STR("postmaster")) &&
           (a->kind == DOMAIN_NONE ||
            (a->kind == DOMAIN_LITERAL && lookup_is_own_address(w->p, &a->literal)));
}

static void step(struct work *w, size_t i_item)
{
    w->items[i_item].first_edge = (uint32_t)w->n_edges;
    const struct item one = w->items[i_item], *it = &one;
    struct address a;
    struct ours o;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX], name_mem[LOOKUP_NAME_MAX];
    struct buf local, name;
    buf_init_fixed(&local, mem, sizeof mem);
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    bool is_address = address_parse(it->address, true, &a) == NULL;
    bool is_bare = !is_address && str_chr(it->address, '@') == STR_NPOS;
    if (is_bare)
        a = (struct address){.text = it->address, .local = it->address};
    if ((!is_address && !is_bare) || !lookup_user(&a, &local)) {
        add_target(w, it->address, it->owner, 0);
        return;
    }
    if (!lookup_domain(w->p, &a, &name, &o)) {
        const struct local_domain *d =
            is_postmaster_here(w, &a, buf_str(&local)) ? lookup_postmaster_domain(w->p) : NULL;
        if (d != NULL) {
            o = (struct ours){d, d, str_eq(d->name, STR("*")) ? w->p->hostname : d->name};
            redirect(w, i_item, &o, w->p->postmaster.n > 0 ? w->p->postmaster : STR("postmaster"));
        } else if (is_postmaster_here(w, &a, buf_str(&local)) && w->p->postmaster.n > 0) {
            follow(w, w->p->postmaster, it->owner, i_item);
        } else {
            add_target(w, it->address, it->owner, 0);
        }
        return;
    }
    struct found f = lookup_local(w->p, &o, buf_str(&local), it->address, LOOKUP_USE_ALIASES);
    if (f.kind == FOUND_ALIAS)
        follow_alias(w, i_item, f.alias);
    else if (f.kind == FOUND_REDIRECT)
        redirect(w, i_item, &o, f.redirect);
    else /* a user; or nobody any more, which policy_route() will say */
        add_target(w, it->address, it->owner, 0);
}

static bool is_report(const struct policy_conf *p, struct str address)
{
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf local;
    struct verp_path path;
    buf_init_fixed(&local, mem, sizeof mem);
    return p->verp.n > 0 && policy_verp(p, address, &local, &path);
}

/* ---- circles ----------------------------------------------------------------------------------- */

struct mark {
    uint32_t next_edge;
    uint32_t order, low, circle; /* from 1 */
};
struct walk {
    struct mark *marks;    /* of each item */
    uint32_t *path, *open; /* items on the way, and those whose circle is not known yet */
    uint32_t n_path, n_open, n_met, n_circles;
};

static void enter(const struct work *w, struct walk *k, uint32_t i)
{
    k->n_met++;
    k->marks[i] = (struct mark){.next_edge = w->items[i].first_edge, .order = k->n_met, .low = k->n_met};
    k->path[k->n_path++] = k->open[k->n_open++] = i;
}

static void leave(struct walk *k)
{
    uint32_t i = k->path[--k->n_path], last;
    const struct mark *m = &k->marks[i];
    if (k->n_path > 0) {
        struct mark *before = &k->marks[k->path[k->n_path - 1]];
        before->low = m->low < before->low ? m->low : before->low;
    }
    if (m->low != m->order)
        return;
    k->n_circles++;
    do {
        last = k->open[--k->n_open];
        k->marks[last].circle = k->n_circles;
    } while (last != i);
}

/* Tarjan's components: two items have one number when each leads to the other. All are reached from the
 * first. NULL without memory. */
static const struct mark *mark_circles(struct work *w)
{
    struct walk k = {.marks = arena_alloc_array(w->a, w->n_items, sizeof *k.marks),
                     .path = arena_alloc_array(w->a, w->n_items, sizeof *k.path),
                     .open = arena_alloc_array(w->a, w->n_items, sizeof *k.open)};
    if (k.marks == NULL || k.path == NULL || k.open == NULL)
        return NULL;
    memset(k.marks, 0, w->n_items * sizeof *k.marks);
    enter(w, &k, 0);
    while (k.n_path > 0) {
        uint32_t i = k.path[k.n_path - 1];
        struct mark *m = &k.marks[i];
        size_t end = i + 1 < w->n_items ? w->items[i + 1].first_edge : w->n_edges;
        if (m->next_edge == end) {
            leave(&k);
            continue;
        }
        uint32_t to = w->edges[m->next_edge++].to;
        const struct mark *other = &k.marks[to];
        if (other->order == 0)
            enter(w, &k, to);
        else if (other->circle == 0 && other->order < m->low)
            m->low = other->order;
    }
    return k.marks;
}

/* Who is named by one that he leads to, and has a mailbox, gets a copy in it: as he would if the message had
 * come to him alone. */
static void add_mailboxes(struct work *w)
{
    const struct mark *marks = mark_circles(w);
    w->has_failed = marks == NULL;
    for (size_t i = 0; i < w->n_edges && !w->has_failed && w->over == NULL; i++) {
        const struct edge *e = &w->edges[i];
        const struct item *from = &w->items[e->from], *to = &w->items[e->to];
        bool is_circle = e->is_dropped && marks[e->from].circle == marks[e->to].circle;
        if (!is_circle || !leads_back(w, e->to, to->address))
            continue;
        bool has_owner = from->alias != NULL && from->alias->owner.n > 0;
        add_target(w, to->address, has_owner ? from->alias->owner : from->owner, 0);
    }
}

bool policy_expand(const struct policy_conf *p, const struct rcpt *in, struct arena *a, struct expansion *out)
{
    struct work w = {.p = p, .a = a, .keys = {.arena = a}};
    *out = (struct expansion){.kind = EXPAND_NONE};
    if ((in->flags & RCPT_IS_EXPANDED) != 0 || in->target != 0)
        return true;
    if (is_report(p, in->address)) {
        *out = (struct expansion){.kind = EXPAND_REPORT};
        return true;
    }
    follow(&w, in->address, STR_NIL, NO_ITEM);
    while (w.next < w.n_items && !w.has_failed && w.over == NULL)
        step(&w, w.next++);
    if (w.has_dropped && !w.has_failed && w.over == NULL)
        add_mailboxes(&w);
    if (w.has_failed)
        return false;
    if (w.over != NULL) {
        *out = (struct expansion){.kind = EXPAND_FAILED, .esc = ESC(4, 3, 5), .phrase = w.over};
    } else if (w.has_alias && w.n_targets == 0) {
        *out = (struct expansion){.kind = EXPAND_FAILED,
                                  .esc = ESC(5, 4, 6),
                                  .phrase = "the alias leads in a circle and to nobody"};
    } else if (w.has_alias) {
        *out = (struct expansion){.kind = EXPAND_ALIAS, .targets = w.targets, .n_targets = w.n_targets};
    }
    return true;
}

const struct deliver *policy_pipe(const struct policy_conf *p, struct str address, uint8_t target)
{
    struct address a;
    struct ours o;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX], name_mem[LOOKUP_NAME_MAX];
    struct buf local, name;
    buf_init_fixed(&local, mem, sizeof mem);
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    if (target == 0 || address_parse(address, true, &a) != NULL || !lookup_user(&a, &local) ||
        !lookup_domain(p, &a, &name, &o))
        return NULL;
    struct found f = lookup_local(p, &o, buf_str(&local), address, LOOKUP_USE_ALIASES);
    if (f.kind != FOUND_ALIAS)
        return NULL;
    unsigned n = 0;
    for (size_t i = 0; i < f.alias->n_targets; i++) {
        if (f.alias->targets[i].kind == ALIAS_PIPE && ++n == target)
            return f.alias->targets[i].pipe;
    }
    return NULL;
}

bool policy_is_arf(const struct policy_conf *p, struct str address)
{
    char mem[2][KEY_MAX];
    struct buf keys[2];
    if (p->arf.n == 0)
        return false;
    buf_init_fixed(&keys[0], mem[0], sizeof mem[0]);
    buf_init_fixed(&keys[1], mem[1], sizeof mem[1]);
    put_key(p, p->arf, 0, &keys[0]);
    put_key(p, address, 0, &keys[1]);
    return !keys[0].failed && !keys[1].failed && str_eq(buf_str(&keys[0]), buf_str(&keys[1]));
}
