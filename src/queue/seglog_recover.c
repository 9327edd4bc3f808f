/* Opening. Nothing is acted upon before all of it is on disk and sealed:
 *
 *   LOCK, MKDIR log, MKDIR body, SYNC_DIR of ., log and body, LIST log, LIST body
 *   for each file of log: OPEN, READ of its header
 *   in order of generation, for each that holds records: by its summary or by a scan (seglog_walk.c), into
 * the tables settle: what is live, what is dead, which bodies are files SYNC of each segment whose end was
 * not yet in its own header; each free header is written again a free segment gets the next generation; its
 * header says where the last one ends the last batch of each segment of the first kind is copied forward
 *   on_live for each envelope, on_open
 * then the headers of the unsealed, orphaned body files and the cleaner get their turn.
 *
 * Why the copy and the writing again: the process before may have died of a failed flush. What it wrote then
 * is still seen by readers although it may never reach the medium, and a flush now would say nothing of it.
 */
#include "base/mem.h"
#include "queue/seglog.h"

#include <stdlib.h>
#include <string.h>

struct seglog_recover {
    struct store *store;
    struct disk_op op;
    struct buf log_names, body_names;
    struct str rest;               /* of log_names */
    struct seglog_segment *seg;    /* being looked at */
    struct seglog_segment **order; /* those with records, by generation */
    size_t n_order, at;
    struct seglog_walk walk;
    bool is_walking;
    uint64_t *files; /* ids of body files, ascending */
    size_t n_files;
    struct found {
        uint64_t id;
        struct idmap_node *node;
    } * live; /* envelopes, in ascending order of id */
    size_t n_live;
    struct tail {
        struct seglog_segment *seg;
        struct buf entries;
        struct str rest;
        uint64_t at, end;
    } * tails; /* last batches that may not be on disk */
    size_t n_tails, tail;
    unsigned char *tail_mem;
    bool is_reading;
    uint64_t n_damaged;
    uint64_t generation, seq, id_limit, env_max, body_max; /* greatest seen */
};

static void finish(struct store *s, enum err err)
{
    struct seglog_recover *r = s->recover;
    uint64_t n_damaged = r->n_damaged;
    if (err == ERR_OK) {
        s->stats.n_damaged = n_damaged;
        for (size_t i = 0; i < r->n_live; i++) {
            const struct seglog_env *e = container_of(r->live[i].node, struct seglog_env, node);
            const struct store_live live = {.id = e->node.id, .body_id = e->body->node.id, .hint = e->hint};
            s->user.on_live(s->user.arg, &live);
        }
    } else {
        s->has_failed = true;
        s->is_open = false;
        s->flush = FLUSH_FAILED;
        log_error(world_log(s->world), "store.not_opened", LERR(err));
    }
    seglog_recover_fini(s);
    s->user.on_open(s->user.arg, err, s->n_live, n_damaged);
}

void seglog_recover_fini(struct store *s)
{
    struct seglog_recover *r = s->recover;
    if (r == NULL)
        return;
    if (r->is_walking)
        seglog_walk_fini(&r->walk);
    for (size_t i = 0; i < r->n_tails; i++)
        buf_fini(&r->tails[i].entries);
    mem_free(r->tails);
    mem_free(r->tail_mem);
    buf_fini(&r->log_names);
    buf_fini(&r->body_names);
    mem_free(r->order);
    mem_free(r->files);
    mem_free(r->live);
    mem_free(r);
    s->recover = NULL;
}

static void submit(struct seglog_recover *r, const struct disk_op *op)
{
    r->op = *op;
    r->op.lane = DISK_LANE_READ;
    seglog_busy_add(r->store);
    disk_submit(r->store->disk, &r->op);
}

/* ---- names ---- */

/* Exactly n lower case hexadecimal digits at the front of name. */
static bool parse_hex(struct str name, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (name.n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name.p[i];
        if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'f'))
            return false;
        v = v << 4 | (uint64_t)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    *out = v;
    return true;
}

static bool next_name(struct str *rest, struct str *out)
{
    size_t n = str_chr(*rest, '\0');
    if (n == STR_NPOS)
        return false;
    *out = str_slice(*rest, 0, n);
    *rest = str_skip(*rest, n + 1);
    return true;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static bool take_body_names(struct seglog_recover *r)
{
    struct str rest = buf_str(&r->body_names), name;
    size_t n = 0;
    while (next_name(&rest, &name))
        n++;
    r->files = mem_alloc_array(n + 1, sizeof *r->files);
    if (r->files == NULL)
        return false;
    rest = buf_str(&r->body_names);
    while (next_name(&rest, &name)) {
        uint64_t id;
        if (name.n == 16 && parse_hex(name, 16, &id))
            r->files[r->n_files++] = id;
    }
    qsort(r->files, r->n_files, sizeof *r->files, compare_u64);
    return true;
}

/* ---- records into the tables ---- */

/* Most records come in ascending order of id: one over all seen so far need not be looked for. */
static bool is_new(uint64_t *max, uint64_t id)
{
    bool is_over = id > *max;
    *max = is_over ? id : *max;
    return is_over;
}

static struct seglog_body *body_of(struct store *s, uint64_t id)
{
    struct seglog_body *b = is_new(&s->recover->body_max, id) ? NULL : seglog_body_find(&s->table, id);
    return b != NULL ? b : seglog_body_add(&s->table, id);
}

static struct seglog_env *env_of(struct store *s, uint64_t id)
{
    struct seglog_env *e = is_new(&s->recover->env_max, id) ? NULL : seglog_env_find(&s->table, id);
    return e != NULL ? e : seglog_env_add(&s->table, id);
}

static bool apply_envelope(struct store *s, const struct seglog_entry *e, const struct seglog_loc *at)
{
    struct seglog_env *v = env_of(s, e->id);
    struct seglog_body *b = v == NULL ? NULL : body_of(s, e->aux);
    if (b == NULL)
        return false;
    v->at = *at;
    v->n_holders++;
    if (v->body == NULL) {
        v->body = b;
        b->n_refs++;
    }
    if (b->at.slot == SEGLOG_SLOT_NONE) { /* its size, should it turn out to be a file */
        b->at.offset = (uint32_t)e->size;
        b->at.len = (uint32_t)(e->size >> 32);
    }
    if (e->has_hint && e->seq >= v->hint_seq) {
        v->hint_seq = e->seq;
        memcpy(v->hint, e->hint, STORE_HINT);
    }
    return true;
}

static bool apply_result(struct store *s, const struct seglog_entry *e, const struct seglog_loc *at)
{
    struct seglog_env *v = env_of(s, e->id); /* not there yet: its put was copied to a later segment */
    struct seglog_result *n = v == NULL ? NULL : seglog_result_add(&s->table, v, e->seq);
    if (n == NULL)
        return false;
    n->at = *at;
    v->n_holders++;
    if (e->has_hint && e->seq >= v->hint_seq) {
        v->hint_seq = e->seq;
        memcpy(v->hint, e->hint, STORE_HINT);
    }
    return true;
}

/* A live or half-seen envelope becomes a dead one. */
static struct seglog_tomb *bury(struct store *s, uint64_t id)
{
    struct seglog_tomb *t = seglog_tomb_find(&s->table, id);
    if (t == NULL)
        t = seglog_tomb_add(&s->table, id);
    struct seglog_env *v = seglog_env_find(&s->table, id);
    if (t != NULL && v != NULL) {
        t->n_holders += v->n_holders;
        if (v->body != NULL)
            v->body->n_refs--;
        seglog_env_del(&s->table, v);
    }
    return t;
}

/* A tombstone beats any put, copy and result of its id, whatever their order in the log. */
static bool apply(struct store *s, const struct seglog_segment *g, const struct seglog_entry *e)
{
    const struct seglog_loc at = {e->offset, e->len, g->slot};
    struct seglog_tomb *t = e->kind == SEGLOG_BODY ? NULL : seglog_tomb_find(&s->table, e->id);
    struct seglog_body *b;
    if (t != NULL && e->kind != SEGLOG_TOMB) {
        t->n_holders++;
        return true;
    }
    switch (e->kind) {
    case SEGLOG_BODY:
        b = body_of(s, e->id);
        if (b != NULL)
            b->at = at;
        return b != NULL;
    case SEGLOG_ENVELOPE:
        return apply_envelope(s, e, &at);
    case SEGLOG_RESULT:
        return apply_result(s, e, &at);
    case SEGLOG_TOMB:
        t = bury(s, e->id);
        if (t != NULL)
            t->at = at;
        return t != NULL;
    }
    must_not_reach();
}

static bool apply_entries(struct seglog_recover *r, const struct seglog_segment *g, struct str in)
{
    struct store *s = r->store;
    struct seglog_entry e;
    while (in.n > 0) {
        must(seglog_entry_decode(&in, &e)); /* the walk has checked them */
        if (!apply(s, g, &e))
            return false;
        if (e.kind != SEGLOG_BODY && e.id >> 54 == s->conf.node && e.id >= r->id_limit)
            r->id_limit = e.id + 1;
    }
    return true;
}

/* ---- settling ---- */

struct nodes {
    struct found *p;
    size_t n;
};

static void collect(struct idmap_node *node, void *arg)
{
    struct nodes *nodes = arg;
    nodes->p[nodes->n++] = (struct found){.id = node->id, .node = node};
}

static bool all_nodes(struct idmap *m, struct nodes *out)
{
    *out = (struct nodes){.p = mem_alloc_array(m->n + 1, sizeof *out->p)};
    if (out->p != NULL)
        idmap_each(m, collect, out);
    return out->p != NULL;
}

/* By id, octet by octet from the lowest; octets that are the same in all ids cost one look. */
static bool sort_nodes(struct nodes *nodes)
{
    struct found *to = mem_alloc_array(nodes->n + 1, sizeof *to);
    if (to == NULL)
        return false;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t at[256] = {0}, sum = 0;
        for (size_t i = 0; i < nodes->n; i++)
            at[nodes->p[i].id >> shift & 255]++;
        if (nodes->n == 0 || at[nodes->p[0].id >> shift & 255] == nodes->n)
            continue;
        for (size_t d = 0; d < 256; d++) {
            size_t n = at[d];
            at[d] = sum;
            sum += n;
        }
        for (size_t i = 0; i < nodes->n; i++)
            to[at[nodes->p[i].id >> shift & 255]++] = nodes->p[i];
        struct found *from = nodes->p;
        nodes->p = to;
        to = from;
    }
    mem_free(to);
    return true;
}

static void use(struct store *s, const struct seglog_loc *at, bool is_data)
{
    struct seglog_segment *g = at->slot < SEGLOG_SLOT_MAX ? seglog_segment_at(s, at->slot) : NULL;
    if (g == NULL)
        return;
    g->live += at->len;
    if (is_data)
        s->live_octets += at->len;
}

static void lost(struct seglog_recover *r, uint64_t id, const char *what)
{
    r->n_damaged++;
    log_error(world_log(r->store->world), "store.lost", LID("id", id), LC("what", what));
}

static bool settle_envelopes(struct seglog_recover *r)
{
    struct store *s = r->store;
    struct nodes nodes;
    if (!all_nodes(&s->table.envs, &nodes))
        return false;
    bool is_ok = sort_nodes(&nodes);
    r->live = nodes.p;
    for (size_t i = 0; is_ok && i < nodes.n; i++) {
        struct seglog_env *e = container_of(nodes.p[i].node, struct seglog_env, node);
        if (e->at.slot == SEGLOG_SLOT_NONE) {
            lost(r, e->node.id, "results are there and their envelope is not");
            is_ok = bury(s, e->node.id) != NULL;
            continue;
        }
        r->live[r->n_live++] = nodes.p[i];
        use(s, &e->at, true);
        const struct seglog_result *n = e->last;
        if (n != NULL) {
            do {
                use(s, &n->at, true);
                n = n->next;
            } while (n != e->last);
        }
    }
    s->n_live = r->n_live;
    return is_ok;
}

static bool settle_bodies(struct seglog_recover *r)
{
    struct store *s = r->store;
    struct nodes nodes;
    if (!all_nodes(&s->table.bodies, &nodes))
        return false;
    for (size_t i = 0; i < nodes.n; i++) {
        struct seglog_body *b = container_of(nodes.p[i].node, struct seglog_body, node);
        if (b->n_refs == 0) {
            seglog_body_del(&s->table, b);
        } else if (b->at.slot != SEGLOG_SLOT_NONE) {
            use(s, &b->at, true);
        } else if (r->n_files > 0 &&
                   bsearch(&nodes.p[i].id, r->files, r->n_files, sizeof *r->files, compare_u64) != NULL) {
            b->at.slot = SEGLOG_SLOT_FILE;
            s->body_file_octets += seglog_file_size(b);
        } else {
            lost(r, nodes.p[i].id, "a body is gone and its envelopes are there");
        }
    }
    mem_free(nodes.p);
    return true;
}

static bool settle_tombs(struct seglog_recover *r)
{
    struct store *s = r->store;
    struct nodes nodes;
    if (!all_nodes(&s->table.tombs, &nodes))
        return false;
    for (size_t i = 0; i < nodes.n; i++) {
        struct seglog_tomb *t = container_of(nodes.p[i].node, struct seglog_tomb, node);
        if (t->n_holders == 0)
            seglog_tomb_del(&s->table, t);
        else
            use(s, &t->at, false);
    }
    mem_free(nodes.p);
    return true;
}

static bool settle(struct seglog_recover *r)
{
    struct store *s = r->store;
    if (!settle_envelopes(r) || !settle_bodies(r) || !settle_tombs(r))
        return false;
    uint64_t first = (uint64_t)s->conf.node << 54 | 1;
    s->id_next = r->id_limit > first ? r->id_limit : first;
    s->generation = r->generation + SEGLOG_SEQ_SKIP;
    s->seq = r->seq + SEGLOG_SEQ_SKIP;
    s->epoch = s->seq;
    return true;
}

/* ---- opening the first segment ---- */

static void next_segment(struct seglog_recover *r)
{
    struct store *s = r->store;
    if (seglog_segment_find_free(s) == NULL) {
        seglog_make(s, s->conf.segment_size < SEGLOG_FIRST_SIZE ? s->conf.segment_size : SEGLOG_FIRST_SIZE);
        return;
    }
    seglog_flush_open(s, r->n_order == 0 ? NULL : r->order[r->n_order - 1]);
}

/* Without space for a segment, one that holds nothing needed can be had. */
static struct seglog_segment *find_releasable(struct seglog_recover *r)
{
    for (size_t i = 0; i + 1 < r->n_order; i++) { /* the last one's end must stand in a header of the next */
        struct seglog_segment *g = r->order[i];
        if (g->state == SEGMENT_SEALED && g->live == 0 && g->header_sealed && !g->is_pinned && !g->is_damaged)
            return g;
    }
    return NULL;
}

void seglog_recover_made(struct store *s, enum err err)
{
    struct seglog_recover *r = s->recover;
    if (r == NULL)
        return;
    if (err == ERR_OK) {
        next_segment(r);
        return;
    }
    struct seglog_segment *g = err == ERR_NOSPACE ? find_releasable(r) : NULL;
    if (g == NULL) {
        finish(s, err);
        return;
    }
    world_timer_cancel(s->world, &s->retry);
    seglog_release(s,
                   g); /* the counts of its ids stay too high: their tombstones live until the next start */
}

void seglog_recover_released(struct store *s, enum err err)
{
    if (err == ERR_OK)
        next_segment(s->recover);
    else
        finish(s, err);
}

static void unlink_orphans(struct seglog_recover *r)
{
    struct store *s = r->store;
    struct buf ids;
    buf_init(&ids, SIZE_MAX);
    for (size_t i = 0; i < r->n_files; i++) {
        if (seglog_body_find(&s->table, r->files[i]) == NULL)
            (void)buf_put_u64(&ids, r->files[i]); /* without memory: at the next start */
    }
    if (ids.n > 0)
        log_info(world_log(s->world), "store.orphans", LU("n", ids.n / 8));
    seglog_body_unlink(s, buf_str(&ids));
    buf_fini(&ids);
}

/* ---- last batches ---- */

static void finish_open(struct seglog_recover *r)
{
    struct store *s = r->store;
    for (size_t i = 0; i < r->n_order; i++) {
        if (!r->order[i]->header_sealed)
            seglog_write_sealed(s, r->order[i]);
    }
    unlink_orphans(r);
    finish(s, ERR_OK);
    seglog_clean_kick(s);
}

static void on_tail(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    r->is_reading = false;
    if (op->err != ERR_OK || op->n_done < op->size)
        finish(s, op->err != ERR_OK ? op->err : ERR_CORRUPT);
    else
        seglog_recover_step(s);
    seglog_busy_sub(s);
}

/* Copies what is left of the present tail; false when it has to go on after the next flush. */
static bool copy_tail(struct seglog_recover *r, struct tail *t)
{
    while (t->rest.n > 0) {
        struct str rest = t->rest;
        struct seglog_entry e;
        must(seglog_entry_decode(&rest, &e));
        struct seglog_loc *at = seglog_needed(r->store, t->seg, &e);
        const unsigned char *p = r->tail_mem + (e.offset - t->at);
        struct seglog_record record; /* sound a moment ago; if no more, it stays where it is */
        if (at != NULL && seglog_record_decode(p, e.len, true, &record) &&
            !seglog_copy_record(r->store, &e, at, p))
            return false;
        t->rest = rest;
    }
    return true;
}

void seglog_recover_step(struct store *s)
{
    struct seglog_recover *r = s->recover;
    if (!s->is_open || r->is_reading || s->has_failed)
        return;
    for (; r->tail < r->n_tails; r->tail++) {
        struct tail *t = &r->tails[r->tail];
        if (r->tail_mem == NULL) {
            r->tail_mem = mem_alloc((size_t)(t->end - t->at));
            if (r->tail_mem == NULL) {
                finish(s, ERR_NOMEM);
                return;
            }
            r->is_reading = true;
            submit(r, &(struct disk_op){.kind = DISK_READ,
                                        .file = t->seg->file,
                                        .offset = t->at,
                                        .mem = (char *)r->tail_mem,
                                        .size = t->end - t->at,
                                        .done = on_tail});
            return;
        }
        if (!copy_tail(r, t)) {
            if (s->is_full)
                finish(s, ERR_NOSPACE);
            return; /* a flush or a segment that was made calls again */
        }
        mem_free(r->tail_mem);
        r->tail_mem = NULL;
    }
    if (s->n_flushed >= s->clean.wait_flush)
        finish_open(r);
}

/* Keeps the entries of the last batch of a segment that is not sealed. */
static bool keep_tail(struct seglog_recover *r, const struct seglog_walk *k)
{
    if (k->seg->header_sealed || k->tail_at == 0)
        return true;
    struct tail *tails = mem_grow(r->tails, (r->n_tails + 1) * sizeof *tails);
    if (tails == NULL)
        return false;
    r->tails = tails;
    struct tail *t = &tails[r->n_tails++];
    *t = (struct tail){.seg = k->seg, .at = k->tail_at, .end = k->end};
    buf_init(&t->entries, SIZE_MAX);
    struct str in = buf_str(&k->entries);
    while (in.n > 0) {
        struct seglog_entry e;
        struct str from = in;
        must(seglog_entry_decode(&in, &e));
        if (e.offset >= t->at && !buf_put(&t->entries, str_slice(from, 0, from.n - in.n)))
            return false;
        if (e.offset >= t->at && e.offset + e.len > t->end)
            t->end = e.offset + e.len;
    }
    t->rest = buf_str(&t->entries);
    return true;
}

void seglog_recover_opened(struct store *s, enum err err)
{
    if (err != ERR_OK) {
        finish(s, err);
        return;
    }
    s->is_open = true; /* for ourselves: units can be flushed */
    seglog_recover_step(s);
}

/* ---- free headers ---- */

static void free_next(struct seglog_recover *r);

static void on_free_header(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    if (op->err != ERR_OK) {
        log_error(world_log(s->world), "store.unwritable", LC("file", r->seg->name), LERR(op->err));
        finish(s, op->err);
    } else {
        if (r->seg->capacity != s->conf.segment_size)
            seglog_segment_unlink(s, r->seg);
        free_next(r);
    }
    seglog_busy_sub(s);
}

static void free_next(struct seglog_recover *r)
{
    struct store *s = r->store;
    while (r->at < s->n_slots) {
        struct seglog_segment *g = seglog_segment_at(s, r->at++);
        if (g == NULL || g->state != SEGMENT_FREE)
            continue;
        r->seg = g;
        g->header = seglog_free_header(s, g);
        seglog_header_encode(&g->header, g->block);
        g->piece = str_of(g->block, SEGLOG_BLOCK);
        submit(r, &(struct disk_op){.kind = DISK_WRITE,
                                    .sync = true,
                                    .file = g->file,
                                    .pieces = &g->piece,
                                    .n_pieces = 1,
                                    .done = on_free_header});
        return;
    }
    next_segment(r);
}

/* ---- what was read is made durable before anybody acts on it ---- */

static void sync_next(struct seglog_recover *r);

static void on_synced(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    if (op->err != ERR_OK) {
        finish(s, op->err);
    } else {
        r->at++;
        sync_next(r);
    }
    seglog_busy_sub(s);
}

static void sync_next(struct seglog_recover *r)
{
    while (r->at < r->n_order && r->order[r->at]->header_sealed)
        r->at++;
    if (r->at == r->n_order) {
        r->at = 0;
        free_next(r);
        return;
    }
    submit(r, &(struct disk_op){.kind = DISK_SYNC, .file = r->order[r->at]->file, .done = on_synced});
}

/* ---- walking ---- */

static void walk_next(struct seglog_recover *r);

static void on_walked(struct seglog_walk *k)
{
    struct seglog_recover *r = container_of(k, struct seglog_recover, walk);
    struct seglog_segment *g = k->seg;
    enum err err = k->err;
    if (err == ERR_OK && (!apply_entries(r, g, buf_str(&k->entries)) || !keep_tail(r, k)))
        err = ERR_NOMEM;
    r->n_damaged += k->n_damaged;
    r->seq = k->seq_max > r->seq ? k->seq_max : r->seq;
    g->end = k->end;
    seglog_walk_fini(k);
    r->is_walking = false;
    if (err != ERR_OK) {
        finish(r->store, err);
        return;
    }
    r->at++;
    walk_next(r);
}

static void walk_next(struct seglog_recover *r)
{
    if (r->at == r->n_order) {
        r->at = 0;
        if (settle(r))
            sync_next(r);
        else
            finish(r->store, ERR_NOMEM);
        return;
    }
    struct seglog_segment *g = r->order[r->at];
    r->walk = (struct seglog_walk){.store = r->store, .seg = g, .knows_end = g->end != 0, .done = on_walked};
    r->is_walking = true;
    seglog_walk_start(&r->walk);
}

static int compare_opened(const void *a, const void *b)
{
    struct seglog_segment *x, *y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x->opened < y->opened ? -1 : x->opened > y->opened;
}

/* Where a segment ends stands in its own header or in that of the one after it. */
static void find_ends(struct seglog_recover *r)
{
    for (size_t i = 0; i < r->n_order; i++) {
        struct seglog_segment *g = r->order[i];
        struct seglog_segment *next = i + 1 < r->n_order ? r->order[i + 1] : NULL;
        bool follows = next != NULL && next->prev_opened == g->opened;
        if (g->header_sealed || !follows)
            continue;
        next->is_pinned = true;
        if (next->header.prev_end < SEGLOG_DATA || next->header.prev_end > g->capacity)
            continue;
        g->end = next->header.prev_end;
        g->summary = next->header.prev_summary;
    }
}

static void all_read(struct seglog_recover *r)
{
    struct store *s = r->store;
    r->order = mem_alloc_array(s->n_slots + 1, sizeof *r->order);
    if (r->order == NULL || !take_body_names(r)) {
        finish(s, ERR_NOMEM);
        return;
    }
    for (size_t i = 0; i < s->n_slots; i++) {
        struct seglog_segment *g = seglog_segment_at(s, i);
        if (g != NULL && g->state == SEGMENT_SEALED)
            r->order[r->n_order++] = g;
    }
    qsort(r->order, r->n_order, sizeof(struct seglog_segment *), compare_opened);
    find_ends(r);
    r->at = 0;
    walk_next(r);
}

/* ---- headers ---- */

static void read_next_header(struct seglog_recover *r);

static void take_header(struct seglog_recover *r, struct seglog_segment *g)
{
    const struct seglog_header *h = &g->header;
    seglog_segment_set_capacity(g, h->capacity);
    r->generation = h->generation > r->generation ? h->generation : r->generation;
    r->seq = h->seq > r->seq ? h->seq : r->seq;
    if (h->node == r->store->conf.node && h->id_limit > r->id_limit)
        r->id_limit = h->id_limit;
    g->salt = h->salt;
    g->opened = h->opened;
    g->prev_opened = h->prev_opened;
    g->end = h->end;
    g->summary = h->summary;
    switch (h->state) {
    case SEGLOG_HEADER_FREE:
        seglog_segment_set_state(g, SEGMENT_FREE);
        break;
    case SEGLOG_HEADER_SEALED:
        g->header_sealed = true;
        seglog_segment_set_state(g, SEGMENT_SEALED);
        break;
    case SEGLOG_HEADER_OPEN:
        seglog_segment_set_state(g, SEGMENT_SEALED);
        break;
    }
}

static void on_bad_renamed(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    seglog_segment_unlink(s, r->seg); /* is_damaged: closed only */
    read_next_header(r);
    seglog_busy_sub(s);
}

static void on_header(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    struct seglog_segment *g = r->seg;
    if (op->err != ERR_OK) {
        log_error(world_log(s->world), "store.unreadable", LC("file", g->name), LERR(op->err));
        finish(s, op->err);
        seglog_busy_sub(s);
        return;
    }
    switch (seglog_header_decode(g->block, op->n_done, &g->header)) {
    case SEGLOG_HEADER_GOOD:
        take_header(r, g);
        break;
    case SEGLOG_HEADER_ZERO: /* its making was not finished: it was never used */
        seglog_segment_unlink(s, g);
        break;
    case SEGLOG_HEADER_BAD:
        r->n_damaged++;
        g->is_damaged = true;
        seglog_aside_name(g);
        log_error(world_log(s->world), "store.damaged", LC("file", g->name),
                  LC("what", "both copies of the header"), LC("renamed", g->aside));
        submit(r, &(struct disk_op){
                      .kind = DISK_RENAME, .name = g->name, .name2 = g->aside, .done = on_bad_renamed});
        seglog_busy_sub(s);
        return;
    }
    read_next_header(r);
    seglog_busy_sub(s);
}

static void on_opened(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    if (op->err != ERR_OK) {
        finish(s, op->err);
    } else {
        struct seglog_segment *g = r->seg;
        g->file = op->file;
        submit(r, &(struct disk_op){.kind = DISK_READ,
                                    .file = g->file,
                                    .mem = (char *)g->block,
                                    .size = SEGLOG_BLOCK,
                                    .done = on_header});
    }
    seglog_busy_sub(s);
}

static void read_next_header(struct seglog_recover *r)
{
    struct store *s = r->store;
    struct str name;
    uint64_t number;
    while (next_name(&r->rest, &name)) {
        if (!parse_hex(name, 8, &number))
            continue;
        if (number >= s->number_next)
            s->number_next = (uint32_t)number + 1; /* also of those set aside */
        if (name.n != 8)
            continue;
        r->seg = seglog_segment_new(s, (uint32_t)number);
        if (r->seg == NULL) {
            finish(s, ERR_NOMEM);
            return;
        }
        submit(r, &(struct disk_op){.kind = DISK_OPEN, .name = r->seg->name, .done = on_opened});
        return;
    }
    all_read(r);
}

/* ---- folders ---- */

/* The first steps are one operation each. */
static const struct {
    enum disk_kind kind;
    const char *name;
} first_steps[] = {
    {DISK_LOCK, "lock"},    {DISK_MKDIR, "log"},     {DISK_MKDIR, "body"}, {DISK_SYNC_DIR, "."},
    {DISK_SYNC_DIR, "log"}, {DISK_SYNC_DIR, "body"}, {DISK_LIST, "log"},   {DISK_LIST, "body"},
};

static void first_step(struct seglog_recover *r);

static void on_first_step(struct disk_op *op)
{
    struct seglog_recover *r = container_of(op, struct seglog_recover, op);
    struct store *s = r->store;
    if (op->err != ERR_OK) {
        finish(s, op->err);
    } else if (++r->at < ARRAY_LEN(first_steps)) {
        first_step(r);
    } else {
        r->rest = buf_str(&r->log_names);
        read_next_header(r);
    }
    seglog_busy_sub(s);
}

static void first_step(struct seglog_recover *r)
{
    struct buf *names =
        str_eq(str_from_c(first_steps[r->at].name), STR("log")) ? &r->log_names : &r->body_names;
    submit(r, &(struct disk_op){.kind = first_steps[r->at].kind,
                                .name = first_steps[r->at].name,
                                .names = names,
                                .done = on_first_step});
}

void seglog_recover_start(struct store *s)
{
    struct seglog_recover *r = mem_must_new(struct seglog_recover);
    r->store = s;
    buf_init(&r->log_names, SIZE_MAX);
    buf_init(&r->body_names, SIZE_MAX);
    s->recover = r;
    first_step(r);
}
