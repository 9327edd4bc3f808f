#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/world_io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const struct log quiet = {.min = LOG_ERROR};

struct probe {
    struct io_world *io;
    struct world *w;
    struct disk *d;
    struct disk_file *file;
    char dir[64];
    unsigned n_done, stop_at;
};

struct job { /* one operation of a test */
    struct disk_op op;
    struct probe *p;
    unsigned order; /* in which it was done */
};

static void on_done(struct disk_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->order = ++j->p->n_done;
    if (j->p->n_done == j->p->stop_at)
        io_stop(j->p->io);
}

static void submit(struct probe *p, struct job *j)
{
    j->p = p;
    j->op.done = on_done;
    disk_submit(p->d, &j->op);
}

/* One operation, waited for. */
static enum err run(struct probe *p, struct job *j)
{
    p->n_done = 0;
    p->stop_at = 1;
    submit(p, j);
    assert_int_equal(p->n_done, 0); /* not within the call */
    io_run(p->io);
    return j->op.err;
}

static enum err run_named(struct probe *p, enum disk_kind kind, const char *name, const char *name2)
{
    struct job j = {.op = {.kind = kind, .name = name, .name2 = name2}};
    return run(p, &j);
}

static enum err open_file(struct probe *p, const char *name, enum disk_create create, uint64_t *out_size)
{
    struct job j = {.op = {.kind = DISK_OPEN, .name = name, .create = create}};
    enum err err = run(p, &j);
    p->file = j.op.file;
    *out_size = j.op.size;
    return err;
}

static enum err close_file(struct probe *p)
{
    struct job j = {.op = {.kind = DISK_CLOSE, .file = p->file}};
    p->file = NULL;
    return run(p, &j);
}

static enum err write_at(struct probe *p, uint64_t offset, const char *text, bool sync)
{
    struct str piece = str_from_c(text);
    struct job j = {.op = {.kind = DISK_WRITE,
                           .file = p->file,
                           .offset = offset,
                           .pieces = &piece,
                           .n_pieces = 1,
                           .sync = sync}};
    enum err err = run(p, &j);
    if (err == ERR_OK)
        assert_int_equal(j.op.n_done, piece.n);
    return err;
}

static void setup(struct probe *p)
{
    memset(p, 0, sizeof *p);
    p->io = io_world_new(&quiet, NULL);
    assert_non_null(p->io);
    p->w = io_world_base(p->io);
    (void)strcpy(p->dir, "/tmp/io-disk-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(world_disk(p->w, p->dir, &p->d), ERR_OK);
}

static void teardown(struct probe *p)
{
    static const char *const files[] = {"a", "b", "c", "lock", "link", "fifo", "sub/a", "sub/deep"};
    disk_close(p->d);
    io_world_del(&p->io);
    int dir = open(p->dir, O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (unlinkat(dir, files[i], 0) == -1)
            (void)unlinkat(dir, files[i], AT_REMOVEDIR);
    }
    (void)unlinkat(dir, "sub", AT_REMOVEDIR);
    (void)close(dir);
    assert_int_equal(rmdir(p->dir), 0); /* a test leaves nothing behind */
}

static void opens_and_closes(void **state)
{
    UNUSED(state);
    struct probe p;
    uint64_t size = 7;
    setup(&p);
    assert_int_equal(open_file(&p, "a", DISK_MUST_EXIST, &size), ERR_NOTFOUND);
    assert_int_equal(open_file(&p, "a", DISK_CREATE_NEW, &size), ERR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(write_at(&p, 0, "0123456789", true), ERR_OK);
    assert_int_equal(close_file(&p), ERR_OK);
    assert_int_equal(open_file(&p, "a", DISK_CREATE_NEW, &size), ERR_EXISTS);
    assert_int_equal(open_file(&p, "a", DISK_CREATE, &size), ERR_OK);
    assert_int_equal(size, 10); /* not truncated */
    teardown(&p);               /* an open file is closed with the disk */
}

static void writes_pieces_and_reads(void **state)
{
    UNUSED(state);
    enum { PIECES = 1500, PIECE = 7 }; /* more than go into one call */
    struct probe p;
    uint64_t size;
    char text[PIECES * PIECE], in[PIECES * PIECE + 10];
    struct str pieces[PIECES];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < PIECES; i++)
        pieces[i] = i % 100 == 0 ? STR_NIL : str_of(text + i * PIECE, PIECE);
    for (size_t i = 0; i < PIECES; i += 100) /* an empty piece, and the next one twice as long */
        pieces[i + 1] = str_of(text + i * PIECE, 2 * PIECE);
    setup(&p);
    assert_int_equal(open_file(&p, "a", DISK_CREATE, &size), ERR_OK);
    struct job j = {
        .op = {.kind = DISK_WRITE, .file = p.file, .offset = 5, .pieces = pieces, .n_pieces = PIECES}};
    assert_int_equal(run(&p, &j), ERR_OK);
    assert_int_equal(j.op.n_done, sizeof text);
    struct job r = {
        .op = {.kind = DISK_READ, .lane = DISK_LANE_READ, .file = p.file, .mem = in, .size = sizeof in}};
    assert_int_equal(run(&p, &r), ERR_OK);
    assert_int_equal(r.op.n_done, sizeof text + 5); /* short: the end of the file */
    assert_memory_equal(in, "\0\0\0\0\0", 5);
    assert_memory_equal(in + 5, text, sizeof text);
    r.op.offset = 1 << 20;
    assert_int_equal(run(&p, &r), ERR_OK);
    assert_int_equal(r.op.n_done, 0);
    struct job s = {.op = {.kind = DISK_SYNC, .file = p.file}};
    assert_int_equal(run(&p, &s), ERR_OK);
    struct job w = {.op = {.kind = DISK_WRITE, .file = p.file, .sync = true}}; /* nothing but the flush */
    assert_int_equal(run(&p, &w), ERR_OK);
    assert_int_equal(w.op.n_done, 0);
    teardown(&p);
}

static void zeroes(void **state)
{
    UNUSED(state);
    enum { SIZE = 5 * 1024 * 1024 + 123 };
    struct probe p;
    uint64_t size;
    char *in = mem_must_alloc(SIZE);
    setup(&p);
    assert_int_equal(open_file(&p, "a", DISK_CREATE, &size), ERR_OK);
    assert_int_equal(write_at(&p, 1000, "not zero", false), ERR_OK);
    struct job z = {.op = {.kind = DISK_ZERO, .file = p.file, .size = SIZE}};
    assert_int_equal(run(&p, &z), ERR_OK);
    memset(in, 1, SIZE);
    struct job r = {.op = {.kind = DISK_READ, .file = p.file, .mem = in, .size = SIZE}};
    assert_int_equal(run(&p, &r), ERR_OK);
    assert_int_equal(r.op.n_done, SIZE);
    assert_int_equal(in[0], 0);
    assert_memory_equal(in, in + 1, SIZE - 1);
    mem_free(in);
    teardown(&p);
}

static void names_and_folders(void **state)
{
    UNUSED(state);
    struct probe p;
    uint64_t size;
    setup(&p);
    assert_int_equal(run_named(&p, DISK_MKDIR, "sub", NULL), ERR_OK);
    assert_int_equal(run_named(&p, DISK_MKDIR, "sub", NULL), ERR_OK);
    assert_int_equal(run_named(&p, DISK_MKDIR, "none/sub", NULL), ERR_NOTFOUND);
    assert_int_equal(open_file(&p, "sub/a", DISK_CREATE, &size), ERR_OK);
    assert_int_equal(close_file(&p), ERR_OK);
    assert_int_equal(run_named(&p, DISK_MKDIR, "sub/a", NULL), ERR_EXISTS); /* a file */
    assert_int_equal(run_named(&p, DISK_RENAME, "sub/a", "b"), ERR_OK);
    assert_int_equal(run_named(&p, DISK_RENAME, "sub/a", "b"), ERR_NOTFOUND);
    assert_int_equal(run_named(&p, DISK_LINK, "b", "sub/a"), ERR_OK);
    assert_int_equal(run_named(&p, DISK_LINK, "b", "sub/a"), ERR_EXISTS);
    assert_int_equal(run_named(&p, DISK_RENAME, "b", "c"), ERR_OK);
    assert_int_equal(run_named(&p, DISK_SYNC_DIR, ".", NULL), ERR_OK);
    assert_int_equal(run_named(&p, DISK_SYNC_DIR, "sub", NULL), ERR_OK);
    assert_int_equal(run_named(&p, DISK_SYNC_DIR, "none", NULL), ERR_NOTFOUND);
    assert_int_equal(run_named(&p, DISK_UNLINK, "sub/a", NULL), ERR_OK);
    assert_int_equal(run_named(&p, DISK_UNLINK, "sub/a", NULL), ERR_NOTFOUND);
    assert_int_equal(run_named(&p, DISK_UNLINK, "sub", NULL), ERR_INVALID); /* a folder */
    teardown(&p);
}

static void refuses_names(void **state)
{
    UNUSED(state);
    static const char *const bad[] = {"",     "/",      "/etc/passwd", "..",       ".",
                                      "../a", "a/../b", "a/..",        "./a",      "a//b",
                                      "a/",   "a\nb",   "a\x7f",       "a/."};
    static const enum disk_kind kinds[] = {DISK_OPEN, DISK_UNLINK, DISK_MKDIR, DISK_LOCK, DISK_READ_SMALL};
    struct probe p;
    struct buf names;
    char longest[300];
    setup(&p);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            assert_int_equal(run_named(&p, kinds[k], bad[i], NULL), ERR_INVALID);
        assert_int_equal(run_named(&p, DISK_RENAME, bad[i], "b"), ERR_INVALID);
        assert_int_equal(run_named(&p, DISK_RENAME, "b", bad[i]), ERR_INVALID);
        assert_int_equal(run_named(&p, DISK_LINK, "b", bad[i]), ERR_INVALID);
        if (strcmp(bad[i], ".") != 0)
            assert_int_equal(run_named(&p, DISK_SYNC_DIR, bad[i], NULL), ERR_INVALID);
    }
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(run_named(&p, DISK_UNLINK, longest, NULL), ERR_INVALID);
    buf_init(&names, 1000);
    struct job j = {.op = {.kind = DISK_LIST, .name = "..", .names = &names}};
    assert_int_equal(run(&p, &j), ERR_INVALID);
    buf_fini(&names);
    teardown(&p);
}

/* Whoever may write to the folder can plant a link or a fifo: neither leads anywhere, nor blocks a thread. */
static void follows_no_link(void **state)
{
    UNUSED(state);
    struct probe p;
    uint64_t size;
    setup(&p);
    int dir = open(p.dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(symlinkat("/tmp", dir, "link"), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(open_file(&p, "link", DISK_MUST_EXIST, &size), ERR_INVALID);
    assert_int_equal(open_file(&p, "link/x", DISK_CREATE, &size), ERR_INVALID);
    assert_int_equal(run_named(&p, DISK_UNLINK, "link/x", NULL), ERR_NOTFOUND);
    assert_int_equal(run_named(&p, DISK_MKDIR, "link", NULL), ERR_EXISTS);
    assert_int_equal(run_named(&p, DISK_MKDIR, "link/x", NULL), ERR_NOTFOUND);
    assert_int_equal(run_named(&p, DISK_LOCK, "link", NULL), ERR_INVALID);
    assert_int_equal(run_named(&p, DISK_SYNC_DIR, "link", NULL), ERR_NOTFOUND);
    assert_int_equal(open_file(&p, "fifo", DISK_MUST_EXIST, &size), ERR_INVALID);
    assert_int_equal(run_named(&p, DISK_UNLINK, "link", NULL), ERR_OK); /* the link itself may go */
    (void)close(dir);
    teardown(&p);
}

static enum err read_small(struct probe *p, const char *name, char *mem, size_t cap, struct disk_op *out)
{
    struct job j = {.op = {.kind = DISK_READ_SMALL, .name = name, .mem = mem, .size = cap}};
    enum err err = run(p, &j);
    *out = j.op;
    return err;
}

static void reads_small_files(void **state)
{
    UNUSED(state);
    struct probe p;
    struct disk_op op;
    uint64_t size;
    char in[64];
    setup(&p);
    assert_int_equal(read_small(&p, "a", in, sizeof in, &op), ERR_NOTFOUND);
    assert_int_equal(read_small(&p, "none/a", in, sizeof in, &op), ERR_NOTFOUND);
    assert_int_equal(open_file(&p, "a", DISK_CREATE_NEW, &size), ERR_OK);
    assert_int_equal(read_small(&p, "a", in, sizeof in, &op), ERR_OK);
    assert_int_equal(op.n_done, 0);
    assert_int_equal(write_at(&p, 0, "0123456789", false), ERR_OK);
    assert_int_equal(close_file(&p), ERR_OK);
    for (size_t cap = 0; cap < 12; cap++) {
        memset(in, '-', sizeof in);
        assert_int_equal(read_small(&p, "a", in, cap, &op), cap < 10 ? ERR_TOO_BIG : ERR_OK);
        assert_int_equal(in[cap], '-');
        if (cap >= 10)
            assert_true(str_eq(str_of(in, op.n_done), STR("0123456789")));
    }
    assert_true(op.about.is_regular && op.about.uid == geteuid() && op.about.mode == 0600);
    int dir = open(p.dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(fchmodat(dir, "a", 0464, 0), 0);
    assert_int_equal(read_small(&p, "a", in, sizeof in, &op), ERR_OK);
    assert_int_equal(op.about.mode, 0464);
    if (geteuid() != 0) {
        assert_int_equal(fchmodat(dir, "a", 0, 0), 0);
        assert_int_equal(read_small(&p, "a", in, sizeof in, &op), ERR_DENIED);
    }
    (void)close(dir);
    teardown(&p);
}

/* None of these blocks a thread, and none leads out of the folder. */
static void reads_no_other_files(void **state)
{
    UNUSED(state);
    struct probe p;
    struct disk_op op;
    char in[64];
    setup(&p);
    int dir = open(p.dir, O_RDONLY | O_DIRECTORY);
    int plug = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct buf path;
    buf_init_fixed(&path, at.sun_path, sizeof at.sun_path - 1);
    buf_printf(&path, "%s/c", p.dir);
    assert_false(path.failed);
    assert_int_equal(bind(plug, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(symlinkat("/etc/passwd", dir, "link"), 0);
    assert_int_equal(symlinkat("/", dir, "b"), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(mkdirat(dir, "sub", 0700), 0);
    static const char *const others[] = {"fifo", "sub", "c"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        op.about.is_regular = true;
        assert_int_equal(read_small(&p, others[i], in, sizeof in, &op), ERR_OK);
        assert_false(op.about.is_regular);
        assert_int_equal(op.n_done, 0);
    }
    assert_int_equal(read_small(&p, "link", in, sizeof in, &op), ERR_INVALID);
    assert_int_equal(read_small(&p, "b/etc/passwd", in, sizeof in, &op), ERR_INVALID);
    (void)close(plug);
    (void)close(dir);
    teardown(&p);
}

static void lists_in_order(void **state)
{
    UNUSED(state);
    struct probe p;
    uint64_t size;
    struct buf names;
    static const char *const make[] = {"c", "a", "b"};
    setup(&p);
    buf_init(&names, 1000);
    struct job j = {.op = {.kind = DISK_LIST, .name = ".", .names = &names}};
    assert_int_equal(run(&p, &j), ERR_OK);
    assert_int_equal(names.n, 0);
    for (size_t i = 0; i < ARRAY_LEN(make); i++) {
        assert_int_equal(open_file(&p, make[i], DISK_CREATE, &size), ERR_OK);
        assert_int_equal(close_file(&p), ERR_OK);
    }
    assert_int_equal(run_named(&p, DISK_MKDIR, "sub", NULL), ERR_OK);
    assert_int_equal(run(&p, &j), ERR_OK);
    assert_int_equal(names.n, 10);
    assert_memory_equal(names.p, "a\0b\0c\0sub", 10);
    buf_fini(&names);
    buf_init(&names, 9); /* one octet too few */
    assert_int_equal(run(&p, &j), ERR_TOO_BIG);
    j.op.name = "a";
    assert_int_equal(run(&p, &j), ERR_NOTFOUND); /* not a folder */
    buf_fini(&names);
    teardown(&p);
}

static void locks(void **state)
{
    UNUSED(state);
    struct probe p;
    struct disk *first;
    setup(&p);
    assert_int_equal(run_named(&p, DISK_LOCK, "lock", NULL), ERR_OK);
    first = p.d;
    assert_int_equal(world_disk(p.w, p.dir, &p.d), ERR_OK);
    assert_int_equal(run_named(&p, DISK_LOCK, "lock", NULL), ERR_EXISTS);
    disk_close(first);
    assert_int_equal(run_named(&p, DISK_LOCK, "lock", NULL), ERR_OK);
    teardown(&p);
}

static void root_must_exist(void **state)
{
    UNUSED(state);
    struct probe p;
    struct disk *d;
    setup(&p);
    assert_int_equal(world_disk(p.w, "/nonexistent/folder", &d), ERR_NOTFOUND);
    assert_null(d);
    teardown(&p);
}

/* What is refused by the medium is told with what was done: here the file's size limit. */
static void tells_write_errors(void **state)
{
    UNUSED(state);
    struct probe p;
    uint64_t size;
    struct rlimit old, tight;
    setup(&p);
    assert_int_equal(open_file(&p, "a", DISK_CREATE, &size), ERR_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = (struct rlimit){4, old.rlim_max};
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    struct str piece = {"0123456789", 10};
    struct job j = {
        .op = {.kind = DISK_WRITE, .file = p.file, .pieces = &piece, .n_pieces = 1, .sync = true}};
    enum err err = run(&p, &j);
    struct job z = {.op = {.kind = DISK_ZERO, .file = p.file, .size = 100}};
    enum err zero_err = run(&p, &z);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, before);
    assert_int_equal(err, ERR_TOO_BIG);
    assert_int_equal(j.op.n_done, 4);
    assert_int_equal(zero_err, ERR_TOO_BIG);
    teardown(&p);
}

/* A lane keeps its order, and all of many come back. */
static void keeps_order_in_a_lane(void **state)
{
    UNUSED(state);
    enum { JOBS = 300 };
    struct probe p;
    uint64_t size;
    struct job *jobs = mem_must_alloc(JOBS * sizeof *jobs);
    struct str piece = {"x", 1};
    char in[8];
    setup(&p);
    assert_int_equal(open_file(&p, "a", DISK_CREATE, &size), ERR_OK);
    p.n_done = 0;
    p.stop_at = JOBS;
    for (unsigned i = 0; i < JOBS; i++) {
        struct job *j = &jobs[i];
        j->op.file = p.file;
        if (i % 3 == 2) {
            j->op.kind = DISK_READ;
            j->op.lane = DISK_LANE_READ;
            j->op.mem = in;
        } else {
            j->op.kind = DISK_WRITE;
            j->op.lane = i % 3 == 0 ? DISK_LANE_WRITE : DISK_LANE_RELEASE;
            j->op.pieces = &piece;
            j->op.n_pieces = 1;
        }
        submit(&p, j);
    }
    io_run(p.io);
    for (unsigned i = 3; i < JOBS; i++) {
        assert_int_equal(jobs[i].op.err, ERR_OK);
        if (i % 3 != 2)
            assert_true(jobs[i].order > jobs[i - 3].order);
    }
    mem_free(jobs);
    teardown(&p);
}

static void on_done_close(struct disk_op *op)
{
    struct job *j = container_of(op, struct job, op);
    disk_close(j->p->d);
    io_stop(j->p->io);
}

static void closes_within_done(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    struct job j = {.op = {.kind = DISK_SYNC_DIR, .name = ".", .done = on_done_close}, .p = &p};
    disk_submit(p.d, &j.op);
    io_run(p.io);
    assert_int_equal(world_disk(p.w, p.dir, &p.d), ERR_OK);
    teardown(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_closes),
        cmocka_unit_test(writes_pieces_and_reads),
        cmocka_unit_test(zeroes),
        cmocka_unit_test(names_and_folders),
        cmocka_unit_test(refuses_names),
        cmocka_unit_test(follows_no_link),
        cmocka_unit_test(reads_small_files),
        cmocka_unit_test(reads_no_other_files),
        cmocka_unit_test(lists_in_order),
        cmocka_unit_test(locks),
        cmocka_unit_test(root_must_exist),
        cmocka_unit_test(tells_write_errors),
        cmocka_unit_test(keeps_order_in_a_lane),
        cmocka_unit_test(closes_within_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
