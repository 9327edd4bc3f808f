/* service/queue/queue_body.c: octets of messages in memory: the cache of fresh ones, so that an immediate
 * delivery reads no disk; and feeds, which copy a body of the store into a pipe.
 *
 * Limits: the cache holds QUEUE_CACHE_MAX octets, the oldest go first; a feed holds two pieces of
 * QUEUE_PIPE_STEP.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

#include <string.h>

/* ---- fresh messages ---- */

struct fresh *fresh_new(struct queue *q, uint64_t id, uint64_t body_id, const struct envelope *e,
                        struct str body)
{
    size_t n_record = envelope_encoded_size(e);
    if (n_record > STORE_ENVELOPE_MAX || body.n > STORE_BODY_SEGMENT_MAX + (size_t)QUEUE_PIPE_STEP)
        return NULL;
    struct fresh *f = mem_alloc(sizeof *f + n_record + body.n);
    if (f == NULL)
        return NULL;
    struct buf b;
    buf_init_fixed(&b, f->octets, n_record);
    must(envelope_encode(e, &b) && b.n == n_record);
    if (body.n > 0)
        memcpy(f->octets + n_record, body.p, body.n);
    list_init(&f->link);
    f->q = q;
    f->id = id;
    f->body_id = body_id;
    f->body_size = e->body_size;
    /* Mail that its sender holds back (RFC 4865) begins its life when it is let go: age and expiry count from
     * there. */
    struct mail_params params;
    int64_t created_ms = e->arrival_ms;
    must(mail_params_get(e->params, &params)); /* looked at when it came in */
    if (params.hold_until_ms > created_ms)
        created_ms = params.hold_until_ms;
    f->has_deadline = e->kind == ENVELOPE_MAIL && params.by_mode != BY_NONE;
    f->priority = params.priority;
    f->created_s = created_ms / 1000 > UINT32_MAX ? UINT32_MAX : (uint32_t)(created_ms / 1000);
    f->is_bounce = e->kind == ENVELOPE_BOUNCE;
    f->n_refs = 1;
    f->n_record = (uint32_t)n_record;
    f->n_body = (uint32_t)body.n;
    return f;
}

void fresh_unref(struct fresh *f)
{
    must(f->n_refs > 0);
    if (--f->n_refs > 0)
        return;
    must(!f->in_cache && list_is_empty(&f->link));
    mem_free(f);
}

/* ---- cache ---- */

static void cache_take_out(struct queue *q, struct fresh *f)
{
    if (f->by_id.id != 0)
        (void)idmap_remove(&q->fresh, f->id);
    if (f->by_body.id != 0)
        (void)idmap_remove(&q->fresh_bodies, f->body_id);
    f->by_id.id = f->by_body.id = 0;
    list_remove(&f->link);
    q->cache_octets -= sizeof *f + f->n_record + f->n_body;
    f->in_cache = false;
    fresh_unref(f);
}

void cache_add(struct queue *q, struct fresh *f)
{
    if (f->n_body > IPC_BODY_INLINE_MAX || idmap_find(&q->fresh, f->id) != NULL) {
        fresh_unref(f);
        return;
    }
    f->in_cache = true;
    idmap_insert(&q->fresh, &f->by_id, f->id);
    if (f->n_body > 0 && idmap_find(&q->fresh_bodies, f->body_id) == NULL)
        idmap_insert(&q->fresh_bodies, &f->by_body, f->body_id);
    list_push_back(&q->cache, &f->link);
    q->cache_octets += sizeof *f + f->n_record + f->n_body;
    while (q->cache_octets > QUEUE_CACHE_MAX && q->cache.next != &f->link)
        cache_take_out(q, list_entry(q->cache.next, struct fresh, link));
}

struct fresh *cache_find(struct queue *q, uint64_t id)
{
    struct idmap_node *n = idmap_find(&q->fresh, id);
    if (n == NULL)
        return NULL;
    struct fresh *f = container_of(n, struct fresh, by_id);
    f->n_refs++;
    return f;
}

struct fresh *cache_find_body(struct queue *q, uint64_t body_id)
{
    struct idmap_node *n = idmap_find(&q->fresh_bodies, body_id);
    if (n == NULL)
        return NULL;
    struct fresh *f = container_of(n, struct fresh, by_body);
    f->n_refs++;
    return f;
}

void cache_remove(struct queue *q, uint64_t id)
{
    struct idmap_node *n = idmap_find(&q->fresh, id);
    if (n != NULL)
        cache_take_out(q, container_of(n, struct fresh, by_id));
}

void cache_remove_record(struct queue *q, uint64_t id)
{
    struct idmap_node *n = idmap_remove(&q->fresh, id);
    if (n != NULL)
        n->id = 0;
}

void cache_clear(struct queue *q)
{
    while (!list_is_empty(&q->cache))
        cache_take_out(q, list_entry(q->cache.next, struct fresh, link));
}

/* ---- feeds ---- */

struct feed {
    struct list link;
    struct queue *q;
    struct conn *pipe; /* NULL: all is written, the reader is gone, or stopped while a read is under way */
    uint64_t body_id, size, n_asked, n_written;
    struct store_read read;
    bool is_reading, has_read;
    struct str ahead; /* of read.bytes, not yet written */
};

static void feed_free(struct feed *f)
{
    must(!f->is_reading);
    if (f->has_read)
        store_read_release(&f->read);
    if (f->pipe != NULL)
        conn_close(f->pipe);
    list_remove(&f->link);
    mem_free(f);
}

static void read_on(struct feed *f);

static void feed_write(struct feed *f)
{
    while (f->ahead.n > 0) {
        size_t n;
        enum err err = conn_write(f->pipe, &f->ahead, 1, &n);
        if (err == ERR_AGAIN) {
            conn_want(f->pipe, CONN_WRITABLE);
            return;
        }
        if (err != ERR_OK) { /* the reader has what it wants or is gone: its answer tells */
            conn_close(f->pipe);
            f->pipe = NULL;
            return;
        }
        f->ahead = str_skip(f->ahead, n);
        f->n_written += n;
    }
    conn_want(f->pipe, 0);
    if (f->n_written < f->size) {
        read_on(f);
    } else {
        conn_close(f->pipe);
        f->pipe = NULL;
    }
}

/* Its job still points here: it is freed by feed_stop(). */
static void on_pipe(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    feed_write(arg);
}

static const struct conn_user pipe_user = {on_pipe};

static void on_read(struct store_read *r, enum err err)
{
    struct feed *f = container_of(r, struct feed, read);
    f->is_reading = false;
    f->has_read = true;
    queue_store_idle(f->q);
    if (f->pipe == NULL) { /* stopped meanwhile */
        feed_free(f);
        return;
    }
    if (err != ERR_OK || r->bytes.n == 0) { /* the pipe ends short: the attempt fails as temporary */
        queue_trouble(f->q, err == ERR_OK ? ERR_CORRUPT : err, "a body could not be read");
        conn_close(f->pipe);
        f->pipe = NULL;
        return;
    }
    f->ahead = r->bytes;
    f->n_asked += r->bytes.n;
    feed_write(f);
}

static void read_on(struct feed *f)
{
    if (f->has_read)
        store_read_release(&f->read);
    f->has_read = false;
    f->read = (struct store_read){.done = on_read};
    f->is_reading = true;
    queue_store_busy(f->q);
    uint64_t rest = f->size - f->n_asked;
    store_read_body(f->q->store, f->body_id, f->n_asked,
                    rest < QUEUE_PIPE_STEP ? (size_t)rest : QUEUE_PIPE_STEP, &f->read);
}

struct feed *feed_start(struct queue *q, uint64_t body_id, uint64_t size, struct handle **out_read)
{
    struct conn *r, *w;
    *out_read = NULL;
    if (world_pipe(q->world, &r, &w) != ERR_OK)
        return NULL;
    struct handle *h = handle_of_conn(r);
    struct feed *f = h == NULL ? NULL : mem_new(struct feed);
    if (f == NULL) {
        conn_close(w);
        if (h != NULL)
            handle_drop(h);
        else
            conn_close(r);
        return NULL;
    }
    f->q = q;
    f->pipe = w;
    f->body_id = body_id;
    f->size = size;
    list_push_back(&q->feeds, &f->link);
    conn_set_user(w, &pipe_user, f);
    read_on(f);
    *out_read = h;
    return f;
}

void feed_stop(struct feed *f)
{
    if (f->pipe != NULL)
        conn_close(f->pipe);
    f->pipe = NULL;
    if (!f->is_reading)
        feed_free(f);
}

void feed_free_all(struct queue *q)
{
    list_each (l, &q->feeds) {
        struct feed *f = list_entry(l, struct feed, link);
        list_remove(&f->link);
        mem_free(f);
    }
}
