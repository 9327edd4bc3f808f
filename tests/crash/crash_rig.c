#include "tests/crash/crash_rig.h"

#include "base/mem.h"

#include <string.h>

enum { BODY_MAX = 128 * 1024, TRIES = 400 };

static void on_live(void *arg, const struct store_live *e)
{
    struct rig *r = arg;
    if (r->n_found == r->n_found_max) {
        r->n_found_max = r->n_found_max * 2 + 64;
        r->found = mem_grow(r->found, r->n_found_max * sizeof *r->found);
        must(r->found != NULL);
    }
    struct model_found *f = &r->found[r->n_found++];
    *f = (struct model_found){.id = e->id, .body_id = e->body_id};
    memcpy(f->hint, e->hint, STORE_HINT);
}

static void on_open(void *arg, enum err err, uint64_t n_live, uint64_t n_damaged)
{
    struct rig *r = arg;
    must(err != ERR_OK || n_live == r->n_found);
    r->is_opened = true;
    r->open_err = err;
    r->n_damaged = n_damaged;
}

static void on_closed(void *arg)
{
    struct rig *r = arg;
    r->is_closed = true;
}

void rig_init(struct rig *r, struct sim_disk *medium, struct model *m, uint64_t seed)
{
    *r = (struct rig){.medium = medium, .m = m, .n_live_wanted = 50, .segment_size = RIG_SEGMENT};
    crash_world_init(&r->w, medium, seed);
    rng_seed(&r->rng, seed + 77);
}

void rig_fini(struct rig *r)
{
    must(r->s == NULL && r->disk == NULL);
    crash_world_fini(&r->w);
    mem_free(r->found);
    r->found = NULL;
}

static void start_open(struct rig *r)
{
    enum err err = world_disk(&r->w.world, ".", &r->disk);
    must(err == ERR_OK);
    const struct store_user user = {.on_live = on_live, .on_open = on_open, .arg = r};
    const struct store_conf conf = {
        .node = 5,
        .segment_size = r->segment_size,
        .body_segment_max = MODEL_BODY_SEGMENT_MAX,
    };
    r->is_opened = r->is_closed = false;
    r->n_found = 0;
    r->s = store_open(&r->w.world, r->disk, &conf, &user);
    must(r->s != NULL);
}

static void finish_close(struct rig *r)
{
    store_close(r->s, on_closed, r);
    bool ended = crash_world_run(&r->w, &r->is_closed);
    must(ended);
    r->s = NULL;
    disk_close(r->disk);
    r->disk = NULL;
}

enum err rig_open(struct rig *r)
{
    start_open(r);
    bool ended = crash_world_run(&r->w, &r->is_opened);
    must(ended);
    if (r->open_err != ERR_OK)
        finish_close(r);
    return r->open_err;
}

void rig_die(struct rig *r, bool with_power)
{
    if (with_power)
        sim_disk_power_cut(r->medium);
    else
        sim_disk_kill(r->disk);
    store_abandon(r->s);
    sim_disk_close(r->disk);
    r->s = NULL;
    r->disk = NULL;
}

bool rig_open_and_die(struct rig *r, uint64_t n_turns, bool with_power)
{
    start_open(r);
    for (uint64_t i = 0; i < n_turns && !r->is_opened; i++) {
        if (!crash_world_turn(&r->w))
            break;
    }
    bool was_open = r->is_opened;
    rig_die(r, with_power);
    return !was_open;
}

void rig_turns(struct rig *r, uint64_t n)
{
    while (n-- > 0 && crash_world_turn(&r->w)) {
    }
}

void rig_idle(struct rig *r)
{
    const struct model *m = r->m;
    for (size_t i = m->n_settled; i < m->n_units; i++) {
        while (m->units[i]->fate == MODEL_OPEN) {
            bool went_on = crash_world_turn(&r->w);
            must(went_on);
        }
    }
}

void rig_close(struct rig *r)
{
    rig_idle(r);
    finish_close(r);
}

/* ---- reading ---- */

struct reading {
    struct store_read read;
    bool is_done;
    enum err err;
};

static void on_read(struct store_read *read, enum err err)
{
    struct reading *g = container_of(read, struct reading, read);
    g->is_done = true;
    g->err = err;
}

static void wait_read(struct rig *r, struct reading *g)
{
    bool ended = crash_world_run(&r->w, &g->is_done);
    must(ended);
}

static bool is_content(struct str s, uint64_t seed, size_t n)
{
    static const size_t most = BODY_MAX;
    must(n <= most);
    if (s.n != n)
        return false;
    char *want = mem_must_alloc(n + 8);
    model_fill(seed, want, n);
    bool same = n == 0 || memcmp(want, s.p, n) == 0;
    mem_free(want);
    return same;
}

/* An injected fault, not damage: it goes, and the step is tried again. */
static bool was_fault(struct rig *r, enum err err)
{
    if (err == ERR_OK || err == ERR_CORRUPT)
        return false;
    r->n_failures++;
    sim_disk_clear_faults(r->medium);
    return true;
}

static bool has_met_damage(const struct rig *r)
{
    struct store_stats stats;
    store_get_stats(r->s, &stats);
    return stats.n_damaged > 0;
}

static void read_body(struct rig *r, struct model *m, struct model_found *f, uint64_t size)
{
    struct reading g = {.read = {.done = on_read}};
    size_t want = model_body_size(f->body_id);
    /* large ones in two pieces that do not begin at a chunk, others whole */
    store_read_body(r->s, f->body_id, 0, BODY_MAX, &g.read);
    wait_read(r, &g);
    if (was_fault(r, g.err)) {
        store_read_release(&g.read);
        read_body(r, m, f, size);
        return;
    }
    if (g.err == ERR_OK && !is_content(g.read.bytes, f->body_id, want))
        model_say(m, "body %llx has wrong octets", (unsigned long long)f->body_id);
    if (g.err != ERR_OK)
        f->is_unreadable = true;
    else if (size != want)
        model_say(m, "body %llx is told to have %llu octets", (unsigned long long)f->body_id,
                  (unsigned long long)size);
    store_read_release(&g.read);
    if (want <= MODEL_BODY_SEGMENT_MAX || f->is_unreadable)
        return;
    size_t from = want / 3;
    g = (struct reading){.read = {.done = on_read}};
    store_read_body(r->s, f->body_id, from, 1000, &g.read);
    wait_read(r, &g);
    (void)was_fault(r, g.err);
    char *all = mem_must_alloc(want + 8);
    model_fill(f->body_id, all, want);
    if (g.err == ERR_OK && !str_eq(g.read.bytes, str_slice(str_of(all, want), from, from + 1000)))
        model_say(m, "a piece of body %llx has wrong octets", (unsigned long long)f->body_id);
    mem_free(all);
    store_read_release(&g.read);
}

static void read_one(struct rig *r, struct model *m, struct model_found *f)
{
    struct reading g = {.read = {.done = on_read}};
    store_read_envelope(r->s, f->id, &g.read);
    wait_read(r, &g);
    if (was_fault(r, g.err)) {
        store_read_release(&g.read);
        read_one(r, m, f);
        return;
    }
    f->is_unreadable = g.err != ERR_OK;
    f->n_results = g.read.n_results;
    uint64_t size = g.read.body_size;
    if (g.err == ERR_OK) {
        if (g.read.body_id != f->body_id || !is_content(g.read.bytes, f->id, model_env_size(f->id)))
            model_say(m, "envelope %llx has wrong octets", (unsigned long long)f->id);
        for (size_t i = 0; i < g.read.n_results; i++) {
            if (!is_content(g.read.results[i], model_result_seed(f->id, i), model_result_size(f->id, i)) &&
                !has_met_damage(r)) /* one before may be lost */
                model_say(m, "result %zu of %llx has wrong octets", i, (unsigned long long)f->id);
        }
    }
    store_read_release(&g.read);
    if (g.err == ERR_OK)
        read_body(r, m, f, size);
}

void rig_read_all(struct rig *r, struct model *m)
{
    for (size_t i = 0; i < r->n_found; i++)
        read_one(r, m, &r->found[i]);
}

bool rig_check(struct rig *r, struct model *m, bool settles, bool tolerant, size_t *out_damaged)
{
    rig_read_all(r, m);
    uint64_t id = store_new_id(r->s);
    if (id <= m->id_max)
        model_say(m, "id %llx is given out again", (unsigned long long)id);
    if (settles)
        m->id_max = id;
    return model_check(m, r->found, r->n_found, settles, tolerant, out_damaged);
}

uint64_t rig_digest(const struct rig *r)
{
    uint64_t h = r->n_found;
    for (size_t i = 0; i < r->n_found; i++) {
        const struct model_found *f = &r->found[i];
        h = h * 0x9e3779b97f4a7c15u + f->id * 31 + f->n_results * 7 + f->is_unreadable;
    }
    return h;
}

/* ---- the history ---- */

static uint64_t new_id(struct rig *r)
{
    r->m->id_max = store_new_id(r->s);
    return r->m->id_max;
}

/* Submits; on ERR_AGAIN tries again some turns later. */
static enum err submit(struct rig *r, const struct store_op *ops, size_t n_ops, bool lazy,
                       struct model_unit *u)
{
    enum err err = ERR_AGAIN;
    for (unsigned i = 0; i < TRIES && err == ERR_AGAIN; i++) {
        err = store_submit(r->s, ops, n_ops, lazy, &u->ticket);
        if (err == ERR_AGAIN)
            rig_turns(r, 1);
    }
    if (err != ERR_OK) {
        model_unit_refused(r->m);
        r->n_failures++;
    }
    return err;
}

struct body_writer {
    struct store_body body;
    struct rig *rig;
};

static void on_body_step(struct store_body *b, enum err err)
{
    struct rig *r = container_of(b, struct body_writer, body)->rig;
    r->is_done = true;
    r->done_err = err;
}

static bool wait_step(struct rig *r)
{
    bool ended = crash_world_run(&r->w, &r->is_done);
    must(ended);
    r->is_done = false;
    return r->done_err == ERR_OK;
}

/* Writes a body file in pieces; false when that failed (and it is aborted). */
static bool write_body(struct rig *r, struct body_writer *bw, uint64_t id, const char *mem, size_t n)
{
    *bw = (struct body_writer){.body = {.done = on_body_step}, .rig = r};
    r->is_done = false;
    store_body_open(r->s, &bw->body, id);
    bool is_ok = wait_step(r);
    for (size_t at = 0; is_ok && at < n;) {
        size_t len = 1 + (size_t)rng_below(&r->rng, 40000);
        len = len < n - at ? len : n - at;
        store_body_append(&bw->body, str_of(mem + at, len));
        is_ok = wait_step(r);
        at += len;
    }
    if (is_ok && rng_below(&r->rng, 8) == 0) { /* the sender went away */
        store_body_abort(&bw->body);
        return false;
    }
    if (is_ok) {
        store_body_finish(&bw->body);
        is_ok = wait_step(r);
    }
    if (!is_ok) {
        store_body_abort(&bw->body);
        r->n_failures++;
    }
    return is_ok;
}

static void put(struct rig *r)
{
    struct model *m = r->m;
    size_t n = 1 + (size_t)rng_below(&r->rng, 3), unit;
    uint64_t body_id = new_id(r);
    size_t size = model_body_size(body_id);
    bool is_file = size > MODEL_BODY_SEGMENT_MAX;
    char *body = mem_must_alloc(size + 8);
    model_fill(body_id, body, size);
    struct body_writer bw;
    if (is_file && !write_body(r, &bw, body_id, body, size)) {
        mem_free(body);
        return;
    }
    char envs[MODEL_CHILDREN][512];
    unsigned char hints[MODEL_CHILDREN][STORE_HINT];
    struct str pieces[2] = {str_of(body, size / 2), str_of(body + size / 2, size - size / 2)},
               text[MODEL_CHILDREN];
    struct store_op ops[1 + MODEL_CHILDREN];
    ops[0] = (struct store_op){
        .kind = is_file ? STORE_PUT_BODY_FILE : STORE_PUT_BODY, .id = body_id, .size = size};
    if (!is_file) {
        ops[0].pieces = pieces;
        ops[0].n_pieces = 2;
    }
    uint64_t ids[MODEL_CHILDREN];
    for (size_t i = 0; i < n; i++) {
        ids[i] = new_id(r);
        text[i] = str_of(envs[i], model_env_size(ids[i]));
        model_fill(ids[i], envs[i], text[i].n);
        model_hint(ids[i], 0, hints[i]);
        ops[1 + i] = (struct store_op){.kind = STORE_PUT_ENVELOPE,
                                       .id = ids[i],
                                       .body_id = body_id,
                                       .pieces = &text[i],
                                       .n_pieces = 1,
                                       .hint = hints[i]};
    }
    struct model_unit *u = model_unit_new(m, &unit);
    if (submit(r, ops, 1 + n, false, u) == ERR_OK) {
        for (size_t i = 0; i < n; i++)
            (void)model_env_new(m, ids[i], body_id, unit);
    } else if (is_file) {
        store_body_abort(&bw.body);
    }
    mem_free(body);
}

/* A live envelope, or NULL when there is none. */
static struct model_env *pick(struct rig *r)
{
    struct model *m = r->m;
    size_t n = m->n_envs - m->first_live;
    size_t from = n == 0 ? 0 : (size_t)rng_below(&r->rng, n);
    for (size_t i = 0; i < n; i++) {
        struct model_env *e = &m->envs[m->first_live + (from + i) % n];
        if (model_is_live(m, e))
            return e;
    }
    return NULL;
}

static void expand(struct rig *r, size_t parent_at)
{
    struct model *m = r->m;
    size_t n = 1 + (size_t)rng_below(&r->rng, MODEL_CHILDREN), unit;
    const struct model_env parent = m->envs[parent_at];
    char envs[MODEL_CHILDREN][512];
    unsigned char hints[MODEL_CHILDREN][STORE_HINT];
    struct str text[MODEL_CHILDREN];
    struct store_op ops[1 + MODEL_CHILDREN];
    uint64_t ids[MODEL_CHILDREN];
    ops[0] =
        (struct store_op){.kind = STORE_DROP, .id = parent.id, .epoch = parent.epoch}; /* first, on purpose */
    for (size_t i = 0; i < n; i++) {
        ids[i] = new_id(r);
        text[i] = str_of(envs[i], model_env_size(ids[i]));
        model_fill(ids[i], envs[i], text[i].n);
        model_hint(ids[i], 0, hints[i]);
        ops[1 + i] = (struct store_op){.kind = STORE_PUT_ENVELOPE,
                                       .id = ids[i],
                                       .body_id = parent.body_id,
                                       .pieces = &text[i],
                                       .n_pieces = 1,
                                       .hint = hints[i]};
    }
    struct model_unit *u = model_unit_new(m, &unit);
    if (submit(r, ops, 1 + n, false, u) != ERR_OK)
        return;
    m->envs[parent_at].drop = unit;
    for (size_t i = 0; i < n; i++)
        (void)model_env_new(m, ids[i], parent.body_id, unit);
}

static void result(struct rig *r, struct model_env *e)
{
    if (e->n_results == MODEL_RESULTS)
        return;
    char mem[256];
    unsigned char hint[STORE_HINT];
    size_t i = e->n_results, unit;
    struct str text = str_of(mem, model_result_size(e->id, i));
    model_fill(model_result_seed(e->id, i), mem, text.n);
    model_hint(e->id, i + 1, hint);
    const struct store_op op = {.kind = STORE_PUT_RESULT,
                                .id = e->id,
                                .epoch = e->epoch,
                                .pieces = &text,
                                .n_pieces = 1,
                                .hint = model_result_has_hint(e->id, i) ? hint : NULL};
    size_t at = (size_t)(e - r->m->envs);
    struct model_unit *u = model_unit_new(r->m, &unit);
    if (submit(r, &op, 1, rng_below(&r->rng, 4) != 0, u) != ERR_OK)
        return;
    e = &r->m->envs[at];
    e->results[e->n_results++] = unit;
}

static void drop(struct rig *r, struct model_env *e)
{
    size_t unit, at = (size_t)(e - r->m->envs);
    const struct store_op op = {.kind = STORE_DROP, .id = e->id, .epoch = e->epoch};
    struct model_unit *u = model_unit_new(r->m, &unit);
    if (submit(r, &op, 1, rng_below(&r->rng, 2) == 0, u) == ERR_OK)
        r->m->envs[at].drop = unit;
}

struct claim {
    struct store_claim claim;
    bool is_done;
    enum err err;
};

static void on_claim(struct store_claim *claim, enum err err)
{
    struct claim *c = container_of(claim, struct claim, claim);
    c->is_done = true;
    c->err = err;
}

/* Claims; operations with the epoch before must be refused. */
static void claim(struct rig *r, struct model_env *e)
{
    struct claim c = {.claim = {.done = on_claim}};
    size_t at = (size_t)(e - r->m->envs), unit;
    uint64_t before = e->epoch;
    store_claim(r->s, e->id, 1000, &c.claim);
    bool ended = crash_world_run(&r->w, &c.is_done);
    must(ended);
    if (c.err != ERR_OK || c.claim.epoch == before)
        model_say(r->m, "a claim was not granted");
    e = &r->m->envs[at];
    e->epoch = c.claim.epoch;
    const struct store_op stale = {.kind = STORE_DROP, .id = e->id, .epoch = before};
    struct model_unit *u = model_unit_new(r->m, &unit);
    enum err err = store_submit(r->s, &stale, 1, false, &u->ticket);
    model_unit_refused(r->m);
    if (err != ERR_STALE && err != ERR_IO)
        model_say(r->m, "a stale epoch was taken");
}

static bool reopen(struct rig *r)
{
    enum err err = rig_open(r);
    if (err != ERR_OK) { /* a fault: it has passed, or goes now */
        r->n_failures++;
        sim_disk_clear_faults(r->medium);
        err = rig_open(r);
        must(err == ERR_OK);
    }
    return rig_check(r, r->m, true, false, NULL);
}

static bool has_failed(const struct rig *r)
{
    struct store_stats stats;
    store_get_stats(r->s, &stats);
    return stats.has_failed;
}

bool rig_step(struct rig *r, bool restarts)
{
    struct model *m = r->m;
    if (has_failed(r)) { /* as a supervisor does; the power may go or stay */
        r->n_failures++;
        if (rng_below(&r->rng, 2) == 0)
            rig_die(r, rng_below(&r->rng, 2) == 0);
        else
            rig_close(r);
        return reopen(r);
    }
    uint64_t what = rng_below(&r->rng, 1000);
    struct store_stats stats;
    store_get_stats(r->s, &stats);
    struct model_env *e = what < 300 ? NULL : pick(r);
    if (what < 300) {
        if (stats.n_live < r->n_live_wanted)
            put(r);
    } else if (e == NULL) {
        rig_turns(r, 1);
    } else if (what < 380) {
        if (stats.n_live < r->n_live_wanted)
            expand(r, (size_t)(e - m->envs));
    } else if (what < 600) {
        result(r, e);
    } else if (what < 960) {
        if (stats.n_live > r->n_live_wanted * 2 / 3 || e->id % 8 != 0) /* some stay long */
            drop(r, e);
    } else if (what < 985 || !restarts) {
        claim(r, e);
    } else if (what < 990) {
        rig_close(r);
        return reopen(r);
    } else {
        rig_die(r, what < 997);
        return reopen(r);
    }
    rig_turns(r, rng_below(&r->rng, 6));
    return m->wrong[0] == '\0';
}
