/* Reading: an envelope with its results, or a piece of a body. A read owns the memory it gives out until it
 * is released. Places are looked up anew before each step, since the cleaner may move a record between two;
 * while a record is being read its segment is pinned (n_readers), so that the cleaner does not give it away.
 * What the disk fails to read is tried SEGLOG_READ_TRIES times, as the opening and the cleaner do, before the
 * caller hears of it: a passing fault of a controller or a cable must not cost a report its original.
 */
#include "base/crc32c.h"
#include "base/mem.h"
#include "queue/seglog.h"

#include <string.h>

enum { READ_MAX = 1024 * 1024, CRC_LEN = 4 };

struct part { /* one record's memory */
    unsigned char *mem;
    struct seglog_record record;
};
struct read {
    struct seglog_object object;
    struct store *store;
    struct store_read *user;
    struct list done_link;
    enum err err;
    uint64_t id, offset;
    size_t size;
    struct disk_op op;
    struct timer pause; /* until op is tried again */
    unsigned n_tries;   /* of op */
    struct seglog_segment *pinned;
    uint32_t len;       /* of the record being read */
    struct part *parts; /* envelope and results */
    size_t n_parts, n_parts_max;
    struct str *results;
    unsigned char *mem; /* body */
    char name[32];      /* body file */
    struct disk_file *file;
    uint64_t file_size, chunk_from;
    size_t chunk_len, crc_len;
};

static void free_read(struct seglog_object *o)
{
    struct read *r = container_of(o, struct read, object);
    world_timer_cancel(r->store->world, &r->pause);
    for (size_t i = 0; i < r->n_parts; i++)
        mem_free(r->parts[i].mem);
    mem_free(r->parts);
    mem_free(r->results);
    mem_free(r->mem);
    mem_free(r);
}

static struct read *new_read(struct store *s, uint64_t id, struct store_read *user)
{
    *user = (struct store_read){.done = user->done};
    struct read *r = mem_must_new(struct read);
    r->store = s;
    r->user = user;
    r->id = id;
    r->object.free = free_read;
    user->impl = r;
    list_push_back(&s->objects, &r->object.link);
    list_init(&r->done_link);
    seglog_busy_add(s);
    return r;
}

void store_read_release(struct store_read *user)
{
    struct read *r = user->impl;
    must(r != NULL);
    struct store *s = r->store;
    list_remove(&r->object.link);
    free_read(&r->object);
    user->impl = NULL;
    user->bytes = STR_NIL;
    user->results = NULL;
    user->n_results = 0;
    seglog_busy_sub(s);
}

/* done is called in a later step. */
static void finish_later(struct read *r, enum err err)
{
    r->err = err;
    list_push_back(&r->store->reads_done, &r->done_link);
    seglog_soon(r->store);
}

void seglog_read_run_done(struct store *s)
{
    struct list now; /* a read begun within a done waits for the next step */
    list_init(&now);
    struct list *l;
    while ((l = list_pop_front(&s->reads_done)) != NULL)
        list_push_back(&now, l);
    while ((l = list_pop_front(&now)) != NULL) {
        struct read *r = list_entry(l, struct read, done_link);
        r->user->done(r->user, r->err);
    }
}

static void pin(struct read *r, struct seglog_segment *g)
{
    r->pinned = g;
    g->n_readers++;
}

static void unpin(struct read *r)
{
    struct store *s = r->store;
    if (r->pinned == NULL)
        return;
    r->pinned->n_readers--;
    r->pinned = NULL;
    if (s->clean.state == CLEAN_WAIT)
        seglog_soon(s);
}

static void on_pause(struct timer *t)
{
    struct read *r = container_of(t, struct read, pause);
    r->op.err = ERR_OK;
    r->op.n_done = 0;
    disk_submit(r->store->disk, &r->op);
}

/* Did the disk fail at r->op, and is it to be tried again? Then it will be, some time later. */
static bool tries_again(struct read *r)
{
    if (r->op.err == ERR_OK || r->op.err == ERR_NOTFOUND || ++r->n_tries >= SEGLOG_READ_TRIES) {
        r->n_tries = 0;
        return false;
    }
    r->pause.fire = on_pause;
    world_timer_set(r->store->world, &r->pause, world_now_ms(r->store->world) + SEGLOG_READ_PAUSE_MS);
    return true;
}

static void damaged(struct read *r, const char *file, uint64_t offset, const char *what)
{
    r->store->stats.n_damaged++;
    log_error(world_log(r->store->world), "store.damaged", LC("file", file), LU("offset", offset),
              LID("id", r->id), LC("what", what));
}

/* ---- records in segments ---- */

static void on_record(struct disk_op *op);

/* Begins to bring the record at `at` into mem, which has at->len octets; ERR_AGAIN: it comes later
 * (on_record). */
static enum err fetch(struct read *r, const struct seglog_loc *at, unsigned char *mem)
{
    struct store *s = r->store;
    r->len = at->len;
    if (at->slot == SEGLOG_SLOT_NONE)
        return ERR_CORRUPT;
    if (at->slot == SEGLOG_SLOT_BATCH || at->slot == SEGLOG_SLOT_BATCH + 1) {
        memcpy(mem, s->fills[at->slot - SEGLOG_SLOT_BATCH].mem + at->offset, at->len);
        return ERR_OK;
    }
    struct seglog_segment *g = seglog_segment_at(s, at->slot);
    pin(r, g);
    r->op = (struct disk_op){
        .kind = DISK_READ,
        .lane = DISK_LANE_READ,
        .file = g->file,
        .offset = at->offset,
        .mem = (char *)mem,
        .size = at->len,
        .done = on_record,
    };
    disk_submit(s->disk, &r->op);
    return ERR_AGAIN;
}

static void next_part(struct read *r);
static void take_body(struct read *r);

/* Checks what a read brought. */
static enum err check(struct read *r, const unsigned char *mem, enum seglog_kind kind,
                      struct seglog_record *out)
{
    if (!seglog_record_decode(mem, r->len, true, out) || out->kind != kind || out->id != r->id)
        return ERR_CORRUPT;
    return ERR_OK;
}

static void on_record(struct disk_op *op)
{
    struct read *r = container_of(op, struct read, op);
    const struct seglog_segment *g = r->pinned;
    if (tries_again(r))
        return;
    if (op->err != ERR_OK || op->n_done < op->size) {
        damaged(r, g->name, op->offset, "a record can't be read");
        unpin(r);
        finish_later(r, op->err != ERR_OK ? op->err : ERR_CORRUPT);
        return;
    }
    bool is_sound;
    struct seglog_record record;
    if (r->mem != NULL) {
        is_sound = check(r, r->mem, SEGLOG_BODY, &record) == ERR_OK;
    } else {
        enum seglog_kind kind = r->n_parts == 1 ? SEGLOG_ENVELOPE : SEGLOG_RESULT;
        struct part *p = &r->parts[r->n_parts - 1];
        is_sound = check(r, p->mem, kind, &p->record) == ERR_OK;
    }
    if (!is_sound) {
        damaged(r, g->name, op->offset, "a record's checksum does not hold");
        unpin(r);
        finish_later(r, ERR_CORRUPT);
        return;
    }
    unpin(r);
    if (r->mem != NULL)
        take_body(r);
    else
        next_part(r);
}

/* ---- envelopes ---- */

static const struct seglog_loc *part_at(const struct seglog_env *e, size_t i)
{
    if (i == 0)
        return &e->at;
    const struct seglog_result *n = e->last;
    if (n == NULL)
        return NULL;
    for (; i > 0; i--) { /* last->next is the first */
        n = n->next;
        if (i > 1 && n == e->last)
            return NULL;
    }
    return &n->at;
}

static bool add_part(struct read *r, uint32_t len)
{
    if (r->n_parts == r->n_parts_max) {
        size_t max = r->n_parts_max == 0 ? 4 : r->n_parts_max * 2;
        struct part *parts = mem_grow(r->parts, max * sizeof *parts);
        if (parts == NULL)
            return false;
        r->parts = parts;
        r->n_parts_max = max;
    }
    r->parts[r->n_parts] = (struct part){.mem = mem_alloc(len)};
    if (r->parts[r->n_parts].mem == NULL)
        return false;
    r->n_parts++;
    return true;
}

static void take_envelope(struct read *r, const struct seglog_env *e)
{
    struct store_read *u = r->user;
    u->bytes = r->parts[0].record.bytes;
    u->body_id = r->parts[0].record.aux;
    u->body_size = r->parts[0].record.size;
    must(u->body_id == e->body->node.id);
    u->n_results = r->n_parts - 1;
    r->results = mem_alloc_array(u->n_results + 1, sizeof *r->results);
    if (r->results == NULL) {
        finish_later(r, ERR_NOMEM);
        return;
    }
    for (size_t i = 0; i < u->n_results; i++)
        r->results[i] = r->parts[i + 1].record.bytes;
    u->results = r->results;
    finish_later(r, ERR_OK);
}

/* Brings the next record of the envelope, until there is none. */
static void next_part(struct read *r)
{
    for (;;) {
        const struct seglog_env *e = seglog_env_find(&r->store->table, r->id);
        if (e == NULL) { /* dropped meanwhile */
            finish_later(r, ERR_NOTFOUND);
            return;
        }
        const struct seglog_loc *at = part_at(e, r->n_parts);
        if (at == NULL) {
            take_envelope(r, e);
            return;
        }
        if (at->slot == SEGLOG_SLOT_NONE) {
            finish_later(r, ERR_CORRUPT);
            return;
        }
        if (!add_part(r, at->len)) {
            finish_later(r, ERR_NOMEM);
            return;
        }
        struct part *p = &r->parts[r->n_parts - 1];
        if (fetch(r, at, p->mem) == ERR_AGAIN)
            return;
        enum seglog_kind kind = r->n_parts == 1 ? SEGLOG_ENVELOPE : SEGLOG_RESULT;
        must(check(r, p->mem, kind, &p->record) == ERR_OK); /* our own memory */
    }
}

void store_read_envelope(struct store *s, uint64_t id, struct store_read *user)
{
    next_part(new_read(s, id, user));
}

/* ---- bodies in segments ---- */

static void take_body(struct read *r)
{
    struct str all = str_of(r->mem + SEGLOG_RECORD_HEADER, r->len - SEGLOG_RECORD_HEADER);
    size_t from = r->offset < all.n ? (size_t)r->offset : all.n;
    r->user->bytes = str_slice(all, from, from + r->size);
    r->user->body_size = all.n;
    finish_later(r, ERR_OK);
}

/* ---- bodies in files ---- */

static void submit_file(struct read *r, enum disk_kind kind, void (*done)(struct disk_op *op))
{
    r->op.kind = kind;
    r->op.lane = DISK_LANE_READ;
    r->op.file = r->file;
    r->op.done = done;
    disk_submit(r->store->disk, &r->op);
}

static void on_file_closed(struct disk_op *op)
{
    struct read *r = container_of(op, struct read, op);
    finish_later(r, r->err);
}

static void close_file(struct read *r, enum err err)
{
    r->err = err;
    r->op = (struct disk_op){0};
    submit_file(r, DISK_CLOSE, on_file_closed);
}

static void on_crcs(struct disk_op *op)
{
    struct read *r = container_of(op, struct read, op);
    if (tries_again(r))
        return;
    if (op->err != ERR_OK || op->n_done < op->size) {
        damaged(r, r->name, op->offset, "a body file can't be read");
        close_file(r, op->err != ERR_OK ? op->err : ERR_CORRUPT);
        return;
    }
    const unsigned char *crcs = r->mem + r->chunk_len;
    for (size_t at = 0, i = 0; at < r->chunk_len; at += SEGLOG_FILE_CHUNK, i++) {
        size_t n = r->chunk_len - at < SEGLOG_FILE_CHUNK ? r->chunk_len - at : SEGLOG_FILE_CHUNK;
        if (crc32c(0, r->mem + at, n) != get_u32_at(crcs + CRC_LEN * i)) {
            damaged(r, r->name, r->chunk_from + at, "a body file's checksum does not hold");
            close_file(r, ERR_CORRUPT);
            return;
        }
    }
    r->user->bytes = str_of(r->mem + (r->offset - r->chunk_from), r->size);
    close_file(r, ERR_OK);
}

static void on_chunks(struct disk_op *op)
{
    struct read *r = container_of(op, struct read, op);
    if (tries_again(r))
        return;
    if (op->err != ERR_OK || op->n_done < op->size) {
        damaged(r, r->name, op->offset, "a body file can't be read");
        close_file(r, op->err != ERR_OK ? op->err : ERR_CORRUPT);
        return;
    }
    uint64_t first = r->chunk_from / SEGLOG_FILE_CHUNK;
    r->op = (struct disk_op){
        .offset = r->file_size + CRC_LEN * first,
        .mem = (char *)r->mem + r->chunk_len,
        .size = r->crc_len,
    };
    submit_file(r, DISK_READ, on_crcs);
}

static void on_file_opened(struct disk_op *op)
{
    struct read *r = container_of(op, struct read, op);
    if (tries_again(r))
        return;
    if (op->err != ERR_OK) {
        damaged(r, r->name, 0, "a body file can't be opened");
        finish_later(r, op->err == ERR_NOTFOUND ? ERR_CORRUPT : op->err);
        return;
    }
    r->file = op->file;
    r->op = (struct disk_op){.offset = r->chunk_from, .mem = (char *)r->mem, .size = r->chunk_len};
    submit_file(r, DISK_READ, on_chunks);
}

/* The chunks that cover [offset, offset + size) and their checksums. */
static void read_file(struct read *r, uint64_t file_size)
{
    r->file_size = file_size;
    r->user->body_size = file_size;
    if (r->offset >= file_size || r->size == 0) {
        finish_later(r, ERR_OK);
        return;
    }
    if (r->size > file_size - r->offset)
        r->size = (size_t)(file_size - r->offset);
    r->chunk_from = r->offset / SEGLOG_FILE_CHUNK * SEGLOG_FILE_CHUNK;
    uint64_t to = (r->offset + r->size + SEGLOG_FILE_CHUNK - 1) / SEGLOG_FILE_CHUNK * SEGLOG_FILE_CHUNK;
    if (to > file_size)
        to = file_size;
    r->chunk_len = (size_t)(to - r->chunk_from);
    r->crc_len = (r->chunk_len + SEGLOG_FILE_CHUNK - 1) / SEGLOG_FILE_CHUNK * CRC_LEN;
    r->mem = mem_alloc(r->chunk_len + r->crc_len);
    if (r->mem == NULL) {
        finish_later(r, ERR_NOMEM);
        return;
    }
    seglog_body_name(r->id, r->name);
    r->op = (struct disk_op){.name = r->name};
    submit_file(r, DISK_OPEN, on_file_opened);
}

void store_read_body(struct store *s, uint64_t body_id, uint64_t offset, size_t size, struct store_read *user)
{
    must(size <= READ_MAX);
    struct read *r = new_read(s, body_id, user);
    r->offset = offset;
    r->size = size;
    const struct seglog_body *b = seglog_body_find(&s->table, body_id);
    if (b == NULL) {
        finish_later(r, ERR_NOTFOUND);
        return;
    }
    if (b->at.slot == SEGLOG_SLOT_FILE) {
        read_file(r, seglog_file_size(b));
        return;
    }
    if (b->at.slot == SEGLOG_SLOT_NONE) {
        finish_later(r, ERR_CORRUPT);
        return;
    }
    r->mem = mem_alloc(b->at.len);
    if (r->mem == NULL) {
        finish_later(r, ERR_NOMEM);
        return;
    }
    if (fetch(r, &b->at, r->mem) == ERR_OK)
        take_body(r);
}
