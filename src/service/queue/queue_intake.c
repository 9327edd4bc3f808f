/* service/queue/queue_intake.c: a message whose body comes by a pipe: over IPC_BODY_INLINE_MAX octets.
 *
 * States: READING (octets collect in memory; a body of up to STORE_BODY_SEGMENT_MAX ends there) -> STREAMING
 * (it outgrew that: a file of the store takes it piece by piece) -> FINISHING (the file is being made
 * durable) -> SUBMITTED. A body ends when the pipe ended, PUT_COMMIT came, and both agree on its size. An
 * abort, a broken pipe or a lost channel before that leaves nothing behind. Memory: two pieces of
 * QUEUE_PIPE_STEP, or STORE_BODY_SEGMENT_MAX, for each; in all at most config->memory_max: a message that
 * would exceed it is refused for now.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

#include <string.h>

enum intake_state { INTAKE_READING = 0, INTAKE_STREAMING, INTAKE_FINISHING, INTAKE_SUBMITTED };

struct intake {
    struct list link;
    struct smtpd_link *smtpd;
    struct queue *q;
    uint32_t life;
    uint64_t token, id;
    enum intake_state state;
    struct conn *pipe;
    bool has_ended, has_commit, is_appending, is_dead;
    uint64_t n_read, commit_size;
    uint32_t commit_flags;
    struct buf feedback; /* of the commit */
    struct buf fill, flight;
    struct buf record;
    int64_t arrival_ms;
    struct store_body body;
};

static void step(struct intake *in);

static void set_state(struct intake *in, enum intake_state to)
{
    static const bool allowed[4][4] = {
        [INTAKE_READING] = {[INTAKE_STREAMING] = true, [INTAKE_SUBMITTED] = true},
        [INTAKE_STREAMING] = {[INTAKE_FINISHING] = true},
        [INTAKE_FINISHING] = {[INTAKE_SUBMITTED] = true},
    };
    must(allowed[in->state][to]);
    in->state = to;
}

static void intake_free(struct intake *in)
{
    in->q->put_octets -= in->fill.cap + in->flight.cap;
    if (in->pipe != NULL)
        conn_close(in->pipe);
    list_remove(&in->link);
    in->smtpd->n_intakes--;
    buf_fini(&in->fill);
    buf_fini(&in->flight);
    buf_fini(&in->record);
    buf_fini(&in->feedback);
    mem_free(in);
}

static void drop(struct intake *in)
{
    struct queue *q = in->q;
    if (in->state == INTAKE_STREAMING || in->state == INTAKE_FINISHING) {
        store_body_abort(&in->body);
        queue_store_idle(q);
    }
    intake_free(in);
}

/* Nothing of it stays. While the store writes a piece the memory must live on: on_body() ends it then. */
static void give_up(struct intake *in, enum err err)
{
    queue_put_done(in->q, in->smtpd->index, in->life, in->token, in->id, err);
    if (!in->is_appending) {
        drop(in);
        return;
    }
    in->is_dead = true;
    if (in->pipe != NULL)
        conn_close(in->pipe);
    in->pipe = NULL;
}

/* The octets of the message are complete and their size agrees: hand over record and body. */
static void finish(struct intake *in)
{
    struct queue *q = in->q;
    struct envelope e;
    must(envelope_decode(buf_str(&in->record), &e));
    e.body_size = in->n_read;
    e.flags |= in->commit_flags;
    char params_mem[MAIL_PARAMS_MAX];
    struct buf params;
    struct mail_params p;
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    if (in->feedback.n > 0) { /* what the message says became known at its end */
        must(mail_params_get(e.params, &p));
        p.feedback = buf_str(&in->feedback);
        must(mail_params_put(&p, &params));
        e.params = buf_str(&params);
    }
    bool is_file = in->state == INTAKE_FINISHING;
    struct fresh *f = fresh_new(q, in->id, in->id, &e, is_file ? STR_NIL : buf_str(&in->fill));
    if (f == NULL) {
        give_up(in, ERR_NOMEM);
        return;
    }
    f->smtpd = in->smtpd->index;
    f->life = in->life;
    f->token = in->token;
    if (is_file) { /* the writer's work is done; the unit refers to the file by its id */
        store_body_detach(&in->body);
        queue_store_idle(q);
    }
    set_state(in, INTAKE_SUBMITTED);
    intake_free(in);
    queue_put_submit(q, f);
}

static void on_body(struct store_body *b, enum err err)
{
    struct intake *in = container_of(b, struct intake, body);
    in->is_appending = false;
    if (in->is_dead) {
        drop(in);
        return;
    }
    if (err != ERR_OK) {
        queue_trouble(in->q, err, "a large body could not be written");
        give_up(in, err);
        return;
    }
    if (in->state == INTAKE_FINISHING) {
        finish(in);
        return;
    }
    buf_reset(&in->flight);
    step(in);
}

static void start_file(struct intake *in)
{
    set_state(in, INTAKE_STREAMING);
    in->body = (struct store_body){.done = on_body};
    queue_store_busy(in->q);
    in->is_appending = true;
    store_body_open(in->q->store, &in->body, in->id);
}

static bool is_complete(const struct intake *in)
{
    return in->has_ended && in->has_commit;
}

/* STREAMING and the writer is free. */
static void write_on(struct intake *in)
{
    bool is_last = is_complete(in);
    if (in->fill.n > 0 && (is_last || in->has_ended || in->fill.n >= QUEUE_PIPE_STEP)) {
        struct buf t = in->flight;
        in->flight = in->fill;
        in->fill = t;
        in->is_appending = true;
        store_body_append(&in->body, buf_str(&in->flight));
    } else if (is_last && in->fill.n == 0) {
        set_state(in, INTAKE_FINISHING);
        in->is_appending = true;
        store_body_finish(&in->body);
    }
}

static bool wants_octets(const struct intake *in)
{
    if (in->has_ended || in->pipe == NULL)
        return false;
    if (in->state == INTAKE_READING)
        return true;
    return in->state == INTAKE_STREAMING && in->fill.n < QUEUE_PIPE_STEP;
}

/* What the state allows after octets, the end, a commit, or a completion came. May free in. */
static void step(struct intake *in)
{
    if (is_complete(in) && in->n_read != in->commit_size) {
        log_warn(in->q->world->log, "queue.body-size-differs", LID("id", in->id), LU("read", in->n_read),
                 LU("said", in->commit_size));
        give_up(in, ERR_INVALID);
        return;
    }
    if (in->state == INTAKE_READING && in->fill.n > STORE_BODY_SEGMENT_MAX)
        start_file(in);
    else if (in->state == INTAKE_READING && is_complete(in)) {
        finish(in);
        return;
    } else if (in->state == INTAKE_STREAMING && !in->is_appending)
        write_on(in);
    if (in->pipe != NULL)
        conn_want(in->pipe, wants_octets(in) ? CONN_READABLE : 0);
}

static bool has_room(struct intake *in, size_t n)
{
    struct buf *b = &in->fill;
    struct queue *q = in->q;
    if (b->cap - b->n >= n)
        return true;
    size_t before = b->cap;
    bool ok = q->put_octets + n <= q->config->memory_max && buf_reserve(b, n);
    q->put_octets += b->cap - before;
    return ok;
}

static void on_pipe(void *arg, struct conn *c, unsigned ready)
{
    enum { PIECE = 64 * 1024, PIECES = 4 };
    struct intake *in = arg;
    UNUSED(ready);
    for (unsigned i = 0; i < PIECES && wants_octets(in); i++) {
        if (!has_room(in, PIECE)) {
            queue_trouble(in->q, ERR_NOMEM, "no memory for a large message");
            give_up(in, ERR_NOMEM);
            return;
        }
        size_t n;
        enum err err = conn_read(c, in->fill.p + in->fill.n, PIECE, &n);
        if (err == ERR_AGAIN)
            break;
        if (err == ERR_CLOSED) {
            in->has_ended = true;
            conn_close(in->pipe);
            in->pipe = NULL;
            break;
        }
        if (err != ERR_OK) {
            give_up(in, err);
            return;
        }
        in->fill.n += n;
        in->n_read += n;
        if (in->n_read > in->q->config->size_max + HEADER_SECTION_MAX) { /* smtpd should have refused it */
            give_up(in, ERR_TOO_BIG);
            return;
        }
    }
    step(in);
}

static const struct conn_user pipe_user = {on_pipe};

void intake_start(struct smtpd_link *l, const struct ipc_put *m, struct conn *pipe, const struct envelope *e)
{
    struct queue *q = l->q;
    struct intake *in = NULL;
    if (l->n_intakes < QUEUE_INTAKES_MAX && q->put_octets <= q->config->memory_max &&
        (q->phase == QUEUE_OPEN || q->phase == QUEUE_DRAINING))
        in = mem_new(struct intake);
    if (in == NULL) {
        conn_close(pipe);
        queue_put_done(q, l->index, l->life, m->token, m->id, ERR_NOMEM);
        return;
    }
    in->smtpd = l;
    in->q = q;
    in->life = l->life;
    in->token = m->token;
    in->id = m->id;
    in->pipe = pipe;
    buf_init(&in->fill, STORE_BODY_SEGMENT_MAX + (size_t)QUEUE_PIPE_STEP);
    buf_init(&in->flight, STORE_BODY_SEGMENT_MAX + (size_t)QUEUE_PIPE_STEP);
    buf_init(&in->record, STORE_ENVELOPE_MAX);
    buf_init(&in->feedback, FEEDBACK_MAX);
    list_push_back(&l->intakes, &in->link);
    l->n_intakes++;
    if (!envelope_encode(e, &in->record)) {
        give_up(in, ERR_NOMEM);
        return;
    }
    conn_set_user(pipe, &pipe_user, in);
    conn_want(pipe, CONN_READABLE);
}

static struct intake *find(struct smtpd_link *l, uint64_t token)
{
    list_each (i, &l->intakes) {
        struct intake *in = list_entry(i, struct intake, link);
        if (in->token == token && !in->is_dead && in->life == l->life)
            return in;
    }
    return NULL;
}

void intake_commit(struct smtpd_link *l, const struct ipc_put_commit *m)
{
    struct intake *in = find(l, m->token);
    if (in == NULL || in->has_commit)
        return; /* it was given up: put_done is on its way */
    in->has_commit = true;
    in->commit_size = m->size;
    in->commit_flags = m->flags & MAIL_FLAG_8BIT;
    struct feedback f;
    if (m->feedback.n > 0 && (!feedback_get(m->feedback, &f) || !buf_put(&in->feedback, m->feedback))) {
        give_up(in, ERR_INVALID);
        return;
    }
    step(in);
}

void intake_abort(struct smtpd_link *l, uint64_t token)
{
    struct intake *in = find(l, token);
    if (in != NULL)
        give_up(in, ERR_CANCELLED);
}

void intake_abort_all(struct smtpd_link *l)
{
    list_each (i, &l->intakes) {
        struct intake *in = list_entry(i, struct intake, link);
        if (!in->is_dead)
            give_up(in, ERR_CANCELLED);
    }
}

void intake_free_all(struct smtpd_link *l)
{
    while (!list_is_empty(&l->intakes))
        intake_free(list_entry(l->intakes.next, struct intake, link));
}
