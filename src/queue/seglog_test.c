#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "queue/seglog.h"
#include "tests/crash/crash_world.h"

#include <string.h>

enum { SEGMENT = 256 * 1024, BODY_MAX = 16 * 1024 };

struct fixture {
    struct sim_disk *medium;
    struct crash_world w;
    struct disk *disk;
    struct store *s;
    bool is_opened, is_closed;
    enum err open_err;
    uint64_t n_live, n_damaged, last_id;
    uint64_t body_id; /* of the last put() */
    bool is_ordered;
};

static void on_live(void *arg, const struct store_live *e)
{
    struct fixture *f = arg;
    f->is_ordered = f->is_ordered && e->id > f->last_id;
    f->last_id = e->id;
}

static void on_open(void *arg, enum err err, uint64_t n_live, uint64_t n_damaged)
{
    struct fixture *f = arg;
    f->is_opened = true;
    f->open_err = err;
    f->n_live = n_live;
    f->n_damaged = n_damaged;
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->is_closed = true;
}

static void wait_for(struct fixture *f, const bool *done)
{
    assert_true(crash_world_run(&f->w, done));
}

static void turns(struct fixture *f, unsigned n)
{
    while (n-- > 0)
        (void)crash_world_turn(&f->w);
}

static void open_sized(struct fixture *f, uint64_t segment_size)
{
    const struct store_conf conf = {.node = 7, .segment_size = segment_size, .body_segment_max = BODY_MAX};
    const struct store_user user = {.on_live = on_live, .on_open = on_open, .arg = f};
    assert_int_equal(world_disk(&f->w.world, ".", &f->disk), ERR_OK);
    f->is_opened = f->is_closed = false;
    f->last_id = 0;
    f->is_ordered = true;
    f->s = store_open(&f->w.world, f->disk, &conf, &user);
    assert_non_null(f->s);
    wait_for(f, &f->is_opened);
    assert_true(f->is_ordered);
}

static void setup(struct fixture *f, uint64_t segment_size)
{
    *f = (struct fixture){.medium = sim_disk_new(1)};
    crash_world_init(&f->w, f->medium, 1);
    open_sized(f, segment_size);
    assert_int_equal(f->open_err, ERR_OK);
}

static void close_store(struct fixture *f)
{
    store_close(f->s, on_closed, f);
    wait_for(f, &f->is_closed);
    disk_close(f->disk);
}

static void teardown(struct fixture *f)
{
    close_store(f);
    crash_world_fini(&f->w);
    sim_disk_del(&f->medium);
}

struct ticket {
    struct store_ticket ticket;
    bool is_done;
    enum err err;
    uint64_t at_us, order;
    struct fixture *f;
};

static void on_done(struct store_ticket *ticket, enum err err)
{
    struct ticket *t = container_of(ticket, struct ticket, ticket);
    t->is_done = true;
    t->err = err;
    t->at_us = t->f->w.now_us;
    t->order = ticket->seq;
}

static struct ticket ticket_of(struct fixture *f)
{
    return (struct ticket){.ticket = {.done = on_done}, .f = f};
}

static const unsigned char hint[STORE_HINT] = {1, 2, 3};

/* One envelope with a body of size octets; waits. */
static uint64_t put(struct fixture *f, size_t size)
{
    char *mem = mem_must_alloc(size + 1);
    memset(mem, 'b', size);
    const struct str body = str_of(mem, size), env = STR("from, to");
    uint64_t body_id = f->body_id = store_new_id(f->s), id = store_new_id(f->s);
    const struct store_op ops[] = {
        {.kind = STORE_PUT_BODY, .id = body_id, .pieces = &body, .n_pieces = 1},
        {.kind = STORE_PUT_ENVELOPE,
         .id = id,
         .body_id = body_id,
         .pieces = &env,
         .n_pieces = 1,
         .hint = hint},
    };
    struct ticket t = ticket_of(f);
    enum err err;
    while ((err = store_submit(f->s, ops, 2, false, &t.ticket)) == ERR_AGAIN)
        turns(f, 1);
    mem_free(mem);
    assert_int_equal(err, ERR_OK);
    wait_for(f, &t.is_done);
    assert_int_equal(t.err, ERR_OK);
    return id;
}

static void drop(struct fixture *f, uint64_t id)
{
    const struct store_op op = {.kind = STORE_DROP, .id = id};
    struct ticket t = ticket_of(f);
    assert_int_equal(store_submit(f->s, &op, 1, false, &t.ticket), ERR_OK);
    wait_for(f, &t.is_done);
    assert_int_equal(t.err, ERR_OK);
}

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

/* ---- units ---- */

static void test_refusals(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    static char big[SEGLOG_RESULT_MAX + 1];
    const struct str large = str_of(big, sizeof big);
    uint64_t id = put(&f, 10), unknown = store_new_id(f.s), body = store_new_id(f.s);
    const struct store_op alone = {.kind = STORE_PUT_BODY, .id = body};
    const struct store_op no_body = {
        .kind = STORE_PUT_ENVELOPE, .id = unknown, .body_id = body, .hint = hint};
    const struct {
        struct store_op op;
        enum err err;
    } rows[] = {
        {{.kind = STORE_DROP, .id = unknown}, ERR_NOTFOUND},
        {{.kind = STORE_PUT_RESULT, .id = unknown}, ERR_NOTFOUND},
        {{.kind = STORE_DROP, .id = id, .epoch = 5}, ERR_STALE},
        {{.kind = STORE_PUT_RESULT, .id = id, .epoch = 5}, ERR_STALE},
        {{.kind = STORE_PUT_RESULT, .id = id, .pieces = &large, .n_pieces = 1}, ERR_TOO_BIG},
        {alone, ERR_INVALID},
        {no_body, ERR_NOTFOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ticket t = ticket_of(&f);
        assert_int_equal(store_submit(f.s, &rows[i].op, 1, false, &t.ticket), rows[i].err);
        turns(&f, 20);
        assert_false(t.is_done);
    }
    teardown(&f);
}

/* More than a batch carries is refused with ERR_AGAIN and taken later; memory is bounded by it. */
static void test_batch_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    enum { N = 64 };
    setup(&f, SEGMENT);
    static char mem[8000];
    const struct str body = str_of(mem, sizeof mem), env = STR("e");
    struct ticket t[N];
    size_t n = 0;
    enum err err = ERR_OK;
    while (n < N && err == ERR_OK) {
        uint64_t body_id = store_new_id(f.s), id = store_new_id(f.s);
        const struct store_op ops[] = {
            {.kind = STORE_PUT_ENVELOPE,
             .id = id,
             .body_id = body_id,
             .pieces = &env,
             .n_pieces = 1,
             .hint = hint},
            {.kind = STORE_PUT_BODY, .id = body_id, .pieces = &body, .n_pieces = 1},
        };
        t[n] = ticket_of(&f);
        err = store_submit(f.s, ops, 2, false, &t[n].ticket);
        n += err == ERR_OK;
    }
    assert_int_equal(err, ERR_AGAIN);
    assert_true(n >= 8 && n * sizeof mem <= SEGMENT);
    for (size_t i = 0; i < n; i++) {
        wait_for(&f, &t[i].is_done);
        assert_int_equal(t[i].err, ERR_OK);
        assert_true(i == 0 || t[i].order > t[i - 1].order);
    }
    struct store_stats stats;
    store_get_stats(f.s, &stats);
    assert_int_equal(stats.n_flushes, 1); /* they all went with one */
    (void)put(&f, 100);
    teardown(&f);
}

/* A lazy unit waits for company, but not over 50 ms, and goes with the first that does not wait. */
static void test_lazy(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t id = put(&f, 10);
    turns(&f, 200);
    const struct str text = STR("4.0.0 later");
    const struct store_op op = {.kind = STORE_PUT_RESULT, .id = id, .pieces = &text, .n_pieces = 1};
    struct ticket t = ticket_of(&f), u = ticket_of(&f);
    uint64_t begin_us = f.w.now_us;
    assert_int_equal(store_submit(f.s, &op, 1, true, &t.ticket), ERR_OK);
    wait_for(&f, &t.is_done);
    assert_true(t.at_us - begin_us >= 49000 && t.at_us - begin_us < 60000);
    t = ticket_of(&f);
    begin_us = f.w.now_us;
    assert_int_equal(store_submit(f.s, &op, 1, true, &t.ticket), ERR_OK);
    assert_int_equal(store_submit(f.s, &op, 1, false, &u.ticket), ERR_OK);
    wait_for(&f, &u.is_done);
    assert_true(t.is_done && t.at_us - begin_us < 5000);
    struct reading g = {.read = {.done = on_read}};
    store_read_envelope(f.s, id, &g.read);
    wait_for(&f, &g.is_done);
    assert_int_equal(g.err, ERR_OK);
    assert_int_equal(g.read.n_results, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(str_eq(g.read.results[i], text));
    assert_true(str_eq(g.read.bytes, STR("from, to")) && g.read.body_size == 10);
    store_read_release(&g.read);
    teardown(&f);
}

/* Results that are not on disk yet are read all the same. */
static void test_read_of_what_is_in_flight(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t id = put(&f, 10);
    const struct str text = STR("x");
    const struct store_op op = {.kind = STORE_PUT_RESULT, .id = id, .pieces = &text, .n_pieces = 1};
    struct ticket t = ticket_of(&f);
    struct reading g = {.read = {.done = on_read}};
    assert_int_equal(store_submit(f.s, &op, 1, true, &t.ticket), ERR_OK);
    store_read_envelope(f.s, id, &g.read);
    wait_for(&f, &g.is_done);
    assert_false(t.is_done);
    assert_int_equal(g.read.n_results, 1);
    store_read_release(&g.read);
    g = (struct reading){.read = {.done = on_read}};
    store_read_envelope(f.s, id + 1000, &g.read);
    assert_false(g.is_done); /* never within the call */
    wait_for(&f, &g.is_done);
    assert_int_equal(g.err, ERR_NOTFOUND);
    store_read_release(&g.read);
    wait_for(&f, &t.is_done);
    teardown(&f);
}

/* ---- large bodies ---- */

struct writer {
    struct store_body body;
    bool is_done;
    enum err err;
};

static void on_step(struct store_body *b, enum err err)
{
    struct writer *w = container_of(b, struct writer, body);
    w->is_done = true;
    w->err = err;
}

static void step(struct fixture *f, struct writer *w)
{
    wait_for(f, &w->is_done);
    assert_int_equal(w->err, ERR_OK);
    w->is_done = false;
}

static void on_path(void *arg, const char *path, uint64_t size)
{
    (void)path;
    (void)size;
    ++*(size_t *)arg;
}

static size_t count_bodies(const struct fixture *f)
{
    size_t n = 0;
    sim_disk_each_file(f->medium, "body", on_path, &n);
    return n;
}

/* A finished body file; its id is w->body.id. */
static void write_body(struct fixture *f, struct writer *w, struct str octets)
{
    store_body_open(f->s, &w->body, store_new_id(f->s));
    step(f, w);
    for (size_t at = 0; at < octets.n; at += 9999) {
        store_body_append(&w->body, str_slice(octets, at, at + 9999));
        step(f, w);
    }
    store_body_finish(&w->body);
    step(f, w);
    assert_int_equal(w->body.size, octets.n);
}

/* An envelope that refers to it; its id. */
static uint64_t put_file(struct fixture *f, struct writer *w)
{
    uint64_t id = store_new_id(f->s);
    const struct store_op ops[] = {
        {.kind = STORE_PUT_BODY_FILE, .id = w->body.id, .size = w->body.size},
        {.kind = STORE_PUT_ENVELOPE, .id = id, .body_id = w->body.id, .hint = hint},
    };
    struct ticket t = ticket_of(f);
    assert_int_equal(store_submit(f->s, ops, 2, false, &t.ticket), ERR_OK);
    store_body_abort(&w->body); /* harmless: the unit has it now */
    wait_for(f, &t.is_done);
    return id;
}

static void test_body_file(void **state)
{
    (void)state;
    enum { SIZE = 3 * SEGLOG_FILE_CHUNK + 1000 };
    struct fixture f;
    setup(&f, SEGMENT);
    char *mem = mem_must_alloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        mem[i] = (char)(i * 7 + i / 251);
    struct writer w = {.body = {.done = on_step}}, aborted = w;
    store_body_open(f.s, &aborted.body, store_new_id(f.s));
    store_body_abort(&aborted.body); /* in the middle of a step */
    write_body(&f, &w, str_of(mem, SIZE));
    uint64_t body_id = w.body.id, id = put_file(&f, &w);
    close_store(&f);
    open_sized(&f, SEGMENT);
    assert_int_equal(f.n_live, 1);
    static const struct {
        uint64_t offset;
        size_t size;
    } rows[] = {{0, SIZE},       {0, 1},     {1, 70000},    {SEGLOG_FILE_CHUNK, SEGLOG_FILE_CHUNK},
                {SIZE - 1, 100}, {SIZE, 10}, {SIZE + 5, 1}, {SEGLOG_FILE_CHUNK - 1, 2}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reading g = {.read = {.done = on_read}};
        store_read_body(f.s, body_id, rows[i].offset, rows[i].size, &g.read);
        wait_for(&f, &g.is_done);
        assert_int_equal(g.err, ERR_OK);
        size_t from = rows[i].offset < SIZE ? (size_t)rows[i].offset : SIZE;
        assert_true(str_eq(g.read.bytes, str_slice(str_of(mem, SIZE), from, from + rows[i].size)));
        assert_int_equal(g.read.body_size, SIZE);
        store_read_release(&g.read);
    }
    assert_int_equal(count_bodies(&f), 1);
    drop(&f, id);
    turns(&f, 100);
    assert_int_equal(count_bodies(&f), 0);
    mem_free(mem);
    teardown(&f);
}

/* ---- restart ---- */

enum { MANY = 100 * 1000, AT_ONCE = 50 };

static void put_many(struct fixture *f)
{
    static struct ticket t[AT_ONCE];
    const struct str body = STR("a short body"), env = STR("from, to");
    for (size_t n = 0; n < MANY; n += AT_ONCE) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            uint64_t body_id = store_new_id(f->s), id = store_new_id(f->s);
            const struct store_op ops[] = {
                {.kind = STORE_PUT_BODY, .id = body_id, .pieces = &body, .n_pieces = 1},
                {.kind = STORE_PUT_ENVELOPE,
                 .id = id,
                 .body_id = body_id,
                 .pieces = &env,
                 .n_pieces = 1,
                 .hint = hint},
            };
            t[i] = ticket_of(f);
            enum err err;
            while ((err = store_submit(f->s, ops, 2, false, &t[i].ticket)) == ERR_AGAIN)
                turns(f, 1);
            assert_int_equal(err, ERR_OK);
        }
        for (size_t i = 0; i < AT_ONCE; i++)
            wait_for(f, &t[i].is_done);
    }
}

/* A restart reads a header and a summary of each segment, and nothing else of sealed ones. */
static void test_restart_reads_summaries(void **state)
{
    (void)state;
    struct fixture f;
    enum { SIZE = 4 * 1024 * 1024 };
    setup(&f, SIZE);
    put_many(&f);
    struct store_stats stats;
    store_get_stats(f.s, &stats);
    uint64_t n_segments = stats.n_segments;
    assert_true(n_segments > 4 && stats.n_live == MANY);
    close_store(&f);
    struct sim_disk_counts before, after;
    sim_disk_get_counts(f.medium, &before);
    open_sized(&f, SIZE);
    sim_disk_get_counts(f.medium, &after);
    assert_int_equal(f.open_err, ERR_OK);
    assert_int_equal(f.n_live, MANY);
    assert_true(after.n_reads - before.n_reads <= 2 * n_segments + 4);
    /* an entry for the body, one with a hint for the envelope */
    assert_true(after.octets_read - before.octets_read <= MANY * 112 + (n_segments + 4) * 2 * SEGLOG_BLOCK);
    assert_true(after.octets_written - before.octets_written <= 64 * 1024);
    /* after a crash only the segment that was not sealed is scanned on top of that */
    uint64_t id = put(&f, 5000);
    sim_disk_power_cut(f.medium);
    store_abandon(f.s);
    sim_disk_close(f.disk);
    sim_disk_get_counts(f.medium, &before);
    open_sized(&f, SIZE);
    sim_disk_get_counts(f.medium, &after);
    assert_int_equal(f.n_live, MANY + 1);
    assert_true(f.last_id == id && f.n_damaged == 0);
    assert_true(after.octets_read - before.octets_read <=
                MANY * 112 + (n_segments + 4) * 2 * SEGLOG_BLOCK + 2 * SIZE);
    teardown(&f);
}

static void test_second_process_is_refused(void **state)
{
    (void)state;
    struct fixture f, other;
    setup(&f, SEGMENT);
    other = (struct fixture){.medium = f.medium};
    crash_world_init(&other.w, f.medium, 2);
    open_sized(&other, SEGMENT);
    assert_int_equal(other.open_err, ERR_EXISTS);
    close_store(&other);
    crash_world_fini(&other.w);
    (void)put(&f, 10);
    teardown(&f);
}

/* ---- cleaning ---- */

/* Ten envelopes stay while thousands come and go: they pin one or two segments, the log stays small, and no
 * turn copies more than a window. */
static void test_cleaning_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t old[10], copied = 0;
    for (size_t i = 0; i < 3000; i++) {
        uint64_t id = put(&f, 2000);
        struct store_stats stats;
        store_get_stats(f.s, &stats);
        assert_true(stats.disk_octets <= 3 * stats.live_octets + 8 * (uint64_t)SEGMENT);
        assert_true(stats.n_copied_octets - copied <= 4 * SEGLOG_COPY_WINDOW);
        copied = stats.n_copied_octets;
        if (i % 300 == 0)
            old[i / 300] = id;
        else
            drop(&f, id);
    }
    turns(&f, 3000);
    struct store_stats stats;
    store_get_stats(f.s, &stats);
    assert_int_equal(stats.n_live, 10);
    assert_true(stats.n_segments <= 8);
    assert_true(stats.n_copied_octets > 0);
    close_store(&f);
    open_sized(&f, SEGMENT);
    assert_int_equal(f.n_live, 10);
    for (size_t i = 0; i < 10; i++)
        drop(&f, old[i]);
    /* with nothing alive no tombstone is needed for long */
    for (size_t i = 0; i < 40; i++)
        drop(&f, put(&f, 15000));
    turns(&f, 3000);
    store_get_stats(f.s, &stats);
    assert_true(stats.n_live == 0 && stats.live_octets == 0 && stats.n_segments <= 5);
    close_store(&f);
    open_sized(&f, SEGMENT);
    assert_int_equal(f.n_live, 0);
    teardown(&f);
}

/* Ids go on after everything was dropped and after restarts of both kinds. */
static void test_ids_go_on(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t max = 0;
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 50; k++) {
            uint64_t id = store_new_id(f.s);
            assert_true(id > max && id >> 54 == 7);
            max = id;
        }
        drop(&f, put(&f, 100));
        if (i % 2 == 0) {
            close_store(&f);
        } else {
            sim_disk_power_cut(f.medium);
            store_abandon(f.s);
            sim_disk_close(f.disk);
        }
        open_sized(&f, SEGMENT);
        assert_true(store_new_id(f.s) > max + 2);
    }
    teardown(&f);
}

/* Half of a header's ids used up: a new segment is opened for more. */
static void test_ids_are_reserved_ahead(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t limit = f.s->id_limit;
    f.s->id_next += SEGLOG_ID_RESERVE / 2; /* as if they had been given out */
    (void)store_new_id(f.s);
    turns(&f, 300);
    assert_true(f.s->id_limit > limit);
    assert_false(f.s->wants_rotation);
    (void)put(&f, 10);
    teardown(&f);
}

/* ---- failing ---- */

static void test_failed_flush_is_final(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t id = put(&f, 100);
    turns(&f, 300);
    const struct sim_disk_fault fault = {.at = 1, .count = 1, .err = ERR_IO, .kinds = 1u << DISK_WRITE};
    sim_disk_add_fault(f.medium, &fault);
    const struct store_op op = {.kind = STORE_PUT_RESULT, .id = id};
    struct ticket t = ticket_of(&f), u = ticket_of(&f);
    struct sim_disk_counts before, after;
    assert_int_equal(store_submit(f.s, &op, 1, false, &t.ticket), ERR_OK);
    wait_for(&f, &t.is_done);
    assert_int_equal(t.err, ERR_IO);
    sim_disk_get_counts(f.medium, &before);
    assert_int_equal(store_submit(f.s, &op, 1, false, &u.ticket), ERR_IO);
    turns(&f, 500);
    sim_disk_get_counts(f.medium, &after);
    assert_true(after.n_syncs == before.n_syncs && after.octets_written == before.octets_written);
    assert_true(f.w.n_warned > 0 && strstr(f.w.last_error, "store.failed") != NULL);
    struct store_stats stats;
    store_get_stats(f.s, &stats);
    assert_true(stats.has_failed);
    struct reading g = {.read = {.done = on_read}}; /* what is there can be read */
    store_read_envelope(f.s, id, &g.read);
    wait_for(&f, &g.is_done);
    assert_int_equal(g.err, ERR_OK);
    store_read_release(&g.read);
    close_store(&f);
    open_sized(&f, SEGMENT);
    assert_int_equal(f.n_live, 1);
    teardown(&f);
}

/* n reads of the disk fail from now on. */
static void fail_reads(struct fixture *f, uint64_t n)
{
    const struct sim_disk_fault fault = {.at = 1, .count = n, .err = ERR_IO, .kinds = 1u << DISK_READ};
    sim_disk_clear_faults(f->medium);
    sim_disk_add_fault(f->medium, &fault);
}

static enum err read_failing(struct fixture *f, uint64_t id, bool is_body, uint64_t n, uint64_t *out_n_reads)
{
    struct reading g = {.read = {.done = on_read}};
    struct sim_disk_counts before, after;
    fail_reads(f, n);
    sim_disk_get_counts(f->medium, &before);
    if (is_body)
        store_read_body(f->s, id, 0, 100, &g.read);
    else
        store_read_envelope(f->s, id, &g.read);
    wait_for(f, &g.is_done);
    sim_disk_get_counts(f->medium, &after);
    *out_n_reads = after.n_reads - before.n_reads + after.n_faults - before.n_faults;
    if (g.err == ERR_OK)
        assert_true(g.read.bytes.n > 0);
    store_read_release(&g.read);
    return g.err;
}

/* A fault that passes costs nobody anything; one that stays is an error after so many tries and no more. */
static void test_reads_are_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t n;
    setup(&f, SEGMENT);
    uint64_t id = put(&f, 100);
    for (unsigned is_body = 0; is_body < 2; is_body++) {
        uint64_t which = is_body ? f.body_id : id;
        assert_int_equal(read_failing(&f, which, is_body, SEGLOG_READ_TRIES - 1, &n), ERR_OK);
        assert_int_equal(n, SEGLOG_READ_TRIES);
        assert_int_equal(read_failing(&f, which, is_body, UINT64_MAX, &n), ERR_IO);
        assert_int_equal(n, SEGLOG_READ_TRIES);
    }
    struct writer w = {.body = {.done = on_step}};
    write_body(&f, &w, STR("a small one, and yet in a file of its own"));
    uint64_t body_id = w.body.id;
    (void)put_file(&f, &w);
    assert_int_equal(read_failing(&f, body_id, true, SEGLOG_READ_TRIES - 1, &n), ERR_OK);
    assert_int_equal(read_failing(&f, body_id, true, UINT64_MAX, &n), ERR_IO);
    assert_int_equal(n, SEGLOG_READ_TRIES);
    teardown(&f);
}

/* The process goes while a read waits for its next try. */
static void test_abandoned_between_two_tries(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t id = put(&f, 100);
    struct reading g = {.read = {.done = on_read}};
    struct sim_disk_counts before, now;
    sim_disk_get_counts(f.medium, &before);
    fail_reads(&f, UINT64_MAX);
    store_read_envelope(f.s, id, &g.read);
    do {
        turns(&f, 1);
        sim_disk_get_counts(f.medium, &now);
    } while (now.n_faults == before.n_faults);
    assert_false(g.is_done);
    sim_disk_kill(f.disk);
    store_abandon(f.s);
    sim_disk_close(f.disk);
    sim_disk_clear_faults(f.medium);
    open_sized(&f, SEGMENT);
    assert_int_equal(f.n_live, 1);
    assert_false(g.is_done);
    teardown(&f);
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

static void test_claims(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, SEGMENT);
    uint64_t id = put(&f, 10);
    struct claim a = {.claim = {.done = on_claim}}, b = a, c = a, d = a;
    store_claim(f.s, id, 1000, &a.claim);
    assert_false(a.is_done); /* never within the call */
    wait_for(&f, &a.is_done);
    store_claim(f.s, id, 1000, &b.claim);
    wait_for(&f, &b.is_done);
    assert_true(a.err == ERR_OK && b.err == ERR_OK && b.claim.epoch > a.claim.epoch);
    store_renew(f.s, id, a.claim.epoch, 1000, &c.claim);
    wait_for(&f, &c.is_done);
    assert_int_equal(c.err, ERR_STALE);
    store_renew(f.s, id, b.claim.epoch, 1000, &d.claim);
    wait_for(&f, &d.is_done);
    assert_true(d.err == ERR_OK && d.claim.epoch == b.claim.epoch);
    struct ticket t = ticket_of(&f);
    const struct store_op stale = {.kind = STORE_DROP, .id = id, .epoch = a.claim.epoch};
    const struct store_op good = {.kind = STORE_DROP, .id = id, .epoch = b.claim.epoch};
    assert_int_equal(store_submit(f.s, &stale, 1, false, &t.ticket), ERR_STALE);
    assert_int_equal(store_submit(f.s, &good, 1, false, &t.ticket), ERR_OK);
    wait_for(&f, &t.is_done);
    a.is_done = false;
    store_claim(f.s, id, 1000, &a.claim);
    wait_for(&f, &a.is_done);
    assert_int_equal(a.err, ERR_NOTFOUND);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_batch_is_bounded),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_read_of_what_is_in_flight),
        cmocka_unit_test(test_body_file),
        cmocka_unit_test(test_restart_reads_summaries),
        cmocka_unit_test(test_second_process_is_refused),
        cmocka_unit_test(test_cleaning_is_bounded),
        cmocka_unit_test(test_ids_go_on),
        cmocka_unit_test(test_ids_are_reserved_ahead),
        cmocka_unit_test(test_failed_flush_is_final),
        cmocka_unit_test(test_reads_are_tried_again),
        cmocka_unit_test(test_abandoned_between_two_tries),
        cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
