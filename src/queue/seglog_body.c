/* Large bodies: body/%016x holds the octets, then a CRC32C for each SEGLOG_FILE_CHUNK of them. The file and
 * its name are on disk before the unit that refers to it is submitted, and the drop is before the file is
 * unlinked; what a crash leaves between is an orphan, found and unlinked at the next opening. All goes by the
 * RELEASE lane: nobody's commit waits behind a large message.
 */
#include "base/crc32c.h"
#include "base/mem.h"
#include "queue/seglog.h"

#include <stdio.h>
#include <string.h>

enum { UNLINKS_KEPT = 64 * 1024 }; /* octets of done entries before the list is moved up */

enum writer_state {
    WRITER_OPENING = 0,
    WRITER_READY,
    WRITER_APPENDING,
    WRITER_FINISHING, /* checksums, then the folder */
    WRITER_FINISHED,
    WRITER_FAILED,
};
static const bool may_follow[WRITER_FAILED + 1][WRITER_FAILED + 1] = {
    [WRITER_OPENING] = {[WRITER_READY] = true, [WRITER_FAILED] = true},
    [WRITER_READY] = {[WRITER_APPENDING] = true, [WRITER_FINISHING] = true},
    [WRITER_APPENDING] = {[WRITER_READY] = true, [WRITER_FAILED] = true},
    [WRITER_FINISHING] = {[WRITER_FINISHED] = true, [WRITER_FAILED] = true},
    [WRITER_FINISHED] = {false},
    [WRITER_FAILED] = {false},
};
struct writer {
    struct seglog_object object;
    struct store *store;
    struct store_body *user; /* NULL: aborted or given up */
    enum writer_state state;
    bool is_busy; /* op is under way */
    bool is_created;
    bool is_detached; /* finished, and nobody holds the store_body any more */
    uint64_t id;
    char name[32];
    struct disk_file *file;
    struct disk_op op;
    struct str piece;
    struct buf crcs; /* of the whole chunks so far */
    uint32_t crc;    /* of the chunk that is being filled */
    uint64_t size;
};

void seglog_body_name(uint64_t id, char out[32])
{
    (void)snprintf(out, 32, "body/%016llx", (unsigned long long)id);
}

static void set_state(struct writer *w, enum writer_state to)
{
    must(may_follow[w->state][to]);
    w->state = to;
}

static void free_writer(struct seglog_object *o)
{
    struct writer *w = container_of(o, struct writer, object);
    buf_fini(&w->crcs);
    mem_free(w);
}

static void submit(struct writer *w, enum disk_kind kind, void (*done)(struct disk_op *op))
{
    w->op.kind = kind;
    w->op.lane = DISK_LANE_RELEASE;
    w->op.file = w->file;
    w->op.done = done;
    w->is_busy = true;
    disk_submit(w->store->disk, &w->op);
}

/* ---- the end of a writer ---- */

static void on_closed(struct disk_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    struct store *s = w->store;
    unsigned char id[8];
    put_u64_at(id, w->id);
    if (w->is_created)
        seglog_body_unlink(s, str_of(id, sizeof id));
    list_remove(&w->object.link);
    free_writer(&w->object);
    seglog_busy_sub(s);
}

/* The user is gone; the file goes too, unless a unit refers to it. */
static void close_writer(struct writer *w)
{
    if (w->file == NULL) {
        on_closed(&w->op);
        return;
    }
    w->op = (struct disk_op){0};
    submit(w, DISK_CLOSE, on_closed);
}

void store_body_detach(struct store_body *b)
{
    struct writer *w = b->impl;
    must(w != NULL && w->state == WRITER_FINISHED && !w->is_busy);
    b->impl = NULL;
    w->user = NULL;
    w->is_detached = true;
}

void store_body_abort(struct store_body *b)
{
    struct writer *w = b->impl;
    if (w == NULL)
        return;
    b->impl = NULL;
    w->user = NULL;
    if (!w->is_busy)
        close_writer(w);
}

/* ---- steps ---- */

/* Ends a step; false: the user has aborted meanwhile. */
static bool step_done(struct writer *w)
{
    w->is_busy = false;
    if (w->user != NULL)
        return true;
    close_writer(w);
    return false;
}

static void tell(struct writer *w, enum writer_state to, enum err err)
{
    set_state(w, err == ERR_OK ? to : WRITER_FAILED);
    if (err != ERR_OK)
        log_warn(world_log(w->store->world), "store.body_failed", LC("file", w->name), LERR(err));
    w->user->done(w->user, err);
}

static void on_opened(struct disk_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    if (op->err == ERR_OK) {
        w->file = op->file;
        w->is_created = true;
    }
    if (step_done(w))
        tell(w, WRITER_READY, op->err);
}

void store_body_open(struct store *s, struct store_body *b, uint64_t id)
{
    must(s->is_open && !s->is_closing && id != 0);
    struct writer *w = mem_must_new(struct writer);
    w->store = s;
    w->user = b;
    w->id = id;
    w->object.free = free_writer;
    buf_init(&w->crcs, SIZE_MAX);
    list_push_back(&s->objects, &w->object.link);
    b->id = id;
    b->size = 0;
    b->impl = w;
    seglog_body_name(id, w->name);
    seglog_busy_add(s);
    w->op = (struct disk_op){.name = w->name, .create = DISK_CREATE_NEW};
    submit(w, DISK_OPEN, on_opened);
}

static void on_appended(struct disk_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    if (step_done(w)) {
        if (op->err == ERR_OK)
            w->user->size = w->size += w->piece.n;
        tell(w, WRITER_READY, op->err);
    }
}

/* Adds bytes to the checksums; false without memory. */
static bool add_crcs(struct writer *w, struct str bytes)
{
    uint64_t at = w->size;
    while (bytes.n > 0) {
        size_t room = SEGLOG_FILE_CHUNK - (size_t)(at % SEGLOG_FILE_CHUNK);
        size_t n = bytes.n < room ? bytes.n : room;
        w->crc = crc32c(w->crc, bytes.p, n);
        if (n == room) {
            if (!buf_put_u32(&w->crcs, w->crc))
                return false;
            w->crc = 0;
        }
        at += n;
        bytes = str_skip(bytes, n);
    }
    return true;
}

static void on_nothing(struct disk_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    if (step_done(w))
        tell(w, WRITER_READY, ERR_NOMEM);
}

void store_body_append(struct store_body *b, struct str bytes)
{
    struct writer *w = b->impl;
    set_state(w, WRITER_APPENDING);
    w->piece = bytes;
    w->op = (struct disk_op){.offset = w->size, .pieces = &w->piece, .n_pieces = 1};
    bool is_ok = add_crcs(w, bytes);
    if (!is_ok)
        w->op = (struct disk_op){0}; /* an empty write, for a step to fail in */
    submit(w, DISK_WRITE, is_ok ? on_appended : on_nothing);
}

static void on_folder(struct disk_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    if (step_done(w))
        tell(w, WRITER_FINISHED, op->err);
}

static void on_checksums(struct disk_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    if (!step_done(w))
        return;
    if (op->err != ERR_OK) {
        tell(w, WRITER_FINISHED, op->err);
        return;
    }
    w->op = (struct disk_op){.name = "body"};
    submit(w, DISK_SYNC_DIR, on_folder);
}

void store_body_finish(struct store_body *b)
{
    struct writer *w = b->impl;
    set_state(w, WRITER_FINISHING);
    if (w->size % SEGLOG_FILE_CHUNK != 0 && !buf_put_u32(&w->crcs, w->crc)) {
        w->op = (struct disk_op){0};
        submit(w, DISK_WRITE, on_nothing);
        return;
    }
    w->piece = buf_str(&w->crcs);
    w->op = (struct disk_op){.sync = true, .offset = w->size, .pieces = &w->piece, .n_pieces = 1};
    submit(w, DISK_WRITE, on_checksums);
}

/* The unit that refers to the file was accepted: the writer's part is over, the file stays. */
bool seglog_body_take(struct store *s, uint64_t id, uint64_t size)
{
    list_each (l, &s->objects) {
        struct seglog_object *o = list_entry(l, struct seglog_object, link);
        if (o->free != free_writer)
            continue;
        struct writer *w = container_of(o, struct writer, object);
        if (w->id != id || (w->user == NULL && !w->is_detached))
            continue;
        if (w->state != WRITER_FINISHED || w->size != size)
            return false;
        if (w->user != NULL)
            w->user->impl = NULL;
        w->user = NULL;
        w->is_created = false; /* so that closing does not unlink it */
        close_writer(w);
        return true;
    }
    return false;
}

void seglog_body_drop_detached(struct store *s)
{
    list_each (l, &s->objects) {
        struct seglog_object *o = list_entry(l, struct seglog_object, link);
        struct writer *w = o->free == free_writer ? container_of(o, struct writer, object) : NULL;
        if (w != NULL && w->is_detached && !w->is_busy)
            close_writer(w);
    }
}

/* ---- unlinking ---- */

static void unlink_next(struct store *s);

static void on_unlinked(struct disk_op *op)
{
    struct store *s = container_of(op, struct store, unlink_op);
    if (op->err != ERR_OK && op->err != ERR_NOTFOUND)
        log_warn(world_log(s->world), "store.unlink_failed", LC("file", s->unlink_name), LERR(op->err));
    s->is_unlinking = false;
    unlink_next(s);
    seglog_busy_sub(s);
}

static void unlink_next(struct store *s)
{
    if (s->is_closing || s->has_failed)
        return;
    if (s->unlinks_at == s->unlinks.n) {
        s->unlinks_at = 0;
        buf_reset(&s->unlinks);
        buf_release(&s->unlinks);
        return;
    }
    if (s->unlinks_at >= UNLINKS_KEPT) {
        buf_consume(&s->unlinks, s->unlinks_at);
        s->unlinks_at = 0;
    }
    seglog_body_name(get_u64_at(s->unlinks.p + s->unlinks_at), s->unlink_name);
    s->unlinks_at += 8;
    s->unlink_op = (struct disk_op){
        .kind = DISK_UNLINK,
        .lane = DISK_LANE_RELEASE,
        .name = s->unlink_name,
        .done = on_unlinked,
    };
    s->is_unlinking = true;
    seglog_busy_add(s);
    disk_submit(s->disk, &s->unlink_op);
}

void seglog_body_unlink(struct store *s, struct str ids)
{
    (void)buf_put(&s->unlinks, ids); /* without memory: the next opening finds them */
    s->unlinks.failed = false;
    if (!s->is_unlinking)
        unlink_next(s);
}
