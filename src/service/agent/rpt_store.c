/* service/agent/rpt_store.c: the days on disk, so that a restart forgets none and sends none twice
 * (rpt_file.h says how they look there).
 *
 * Owns:     files "=tls-0" to "=tls-f" of the agent's folder; a day's is chosen by its domain.
 * Limits:   one file is written at a time. What is counted is written every FLUSH_MS, that a report was sent
 * at once. Errors:   what can't be written is said, once, and stays in memory; it is tried again. A damaged
 * file is said and done without.
 */
#include "base/mem.h"
#include "service/agent/rpt.h"

#include <string.h>

enum { FLUSH_MS = 5 * 60 * 1000, NAME_SIZE = 8 };

static const char fresh_name[] = "=tls-new";

struct rpt_store {
    struct agent *agent;
    struct disk_op op; /* reading, at the start */
    unsigned at;       /* the file that is read, or written */
    size_t n_bad;
    void (*done)(struct agent *a);
    struct replace file;
    unsigned changed, wanted; /* bits: files that are not what they should be; that are to be written */
    bool is_failing;
    struct timer flush;
    char name[NAME_SIZE];
    struct buf text;
};

static void set_name(struct rpt_store *s)
{
    struct buf b;
    buf_init_fixed(&b, s->name, sizeof s->name);
    buf_printf(&b, "=tls-%x", s->at);
    s->name[b.n] = '\0';
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static bool has_days(const struct rpt_store *s)
{
    list_each (l, &s->agent->rpt->days) {
        if (list_entry(l, struct rpt_day, link)->shard == s->at)
            return true;
    }
    return false;
}

static void tell_failure(struct rpt_store *s, enum err err)
{
    s->changed |= 1u << s->at;
    if (!s->is_failing)
        log_error(world_log(s->agent->world), "tlsrpt.not_saved", LC("file", s->name), LERR(err));
    s->is_failing = true;
}

static void write_next(struct rpt_store *s)
{
    while (s->wanted != 0 && replace_is_idle(&s->file)) {
        s->at = (unsigned)__builtin_ctz(s->wanted);
        s->wanted &= ~(1u << s->at);
        s->changed &= ~(1u << s->at);
        set_name(s);
        buf_reset(&s->text);
        if (!has_days(s))
            replace_remove(&s->file, s->name);
        else if (rpt_file_put(s->agent, s->at, &s->text))
            replace_write(&s->file, s->name, buf_str(&s->text));
        else
            tell_failure(s, ERR_NOMEM);
    }
    if (!replace_is_idle(&s->file))
        return;
    buf_reset(&s->text);
    buf_release(&s->text);
    agent_look_drained(s->agent);
}

static void on_written(struct replace *r, enum err err)
{
    struct rpt_store *s = container_of(r, struct rpt_store, file);
    if (err == ERR_OK)
        s->is_failing = false;
    else
        tell_failure(s, err);
    write_next(s);
}

static void on_flush(struct timer *t)
{
    struct rpt_store *s = container_of(t, struct rpt_store, flush);
    rpt_store_flush(s->agent);
}

void rpt_store_flush(struct agent *a)
{
    struct rpt_store *s = a->rpt->store;
    if (s == NULL || s->done != NULL)
        return;
    uint32_t every_s = a->env->config->tls_reports_every_s;
    uint64_t ms = (uint64_t)rpt_scaled_s(every_s, FLUSH_MS / 1000) * 1000;
    s->wanted |= s->changed;
    world_timer_set(a->world, &s->flush, world_now_ms(a->world) + ms);
    write_next(s);
}

void rpt_store_mark(struct rpt_day *d, bool is_urgent)
{
    struct rpt_store *s = d->agent->rpt->store;
    if (s == NULL)
        return;
    s->changed |= 1u << d->shard;
    if ((!is_urgent && !d->agent->is_draining) || s->done != NULL)
        return;
    s->wanted |= 1u << d->shard;
    write_next(s);
}

bool rpt_store_is_idle(const struct agent *a)
{
    const struct rpt_store *s = a->rpt->store;
    return s == NULL || (replace_is_idle(&s->file) && s->wanted == 0 && (s->changed == 0 || s->is_failing));
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void read_next(struct rpt_store *s);

static void on_read(struct disk_op *op)
{
    struct rpt_store *s = container_of(op, struct rpt_store, op);
    bool ok =
        op->err == ERR_OK && op->about.is_regular && rpt_file_take(s->agent, str_of(op->mem, op->n_done));
    if (!ok && op->err != ERR_NOTFOUND) {
        s->n_bad++;
        s->changed |= 1u << s->at;
        log_error(world_log(s->agent->world), "tlsrpt.damaged", LC("file", s->name),
                  LERR(op->err == ERR_OK ? ERR_CORRUPT : op->err));
    }
    s->at++;
    read_next(s);
}

static void read_next(struct rpt_store *s)
{
    struct agent *a = s->agent;
    if (s->at < RPT_SHARDS) {
        set_name(s);
        s->op = (struct disk_op){.kind = DISK_READ_SMALL,
                                 .lane = DISK_LANE_WRITE,
                                 .name = s->name,
                                 .mem = s->text.p,
                                 .size = RPT_FILE_MAX,
                                 .done = on_read};
        list_init(&s->op.link);
        disk_submit(a->disk, &s->op);
        return;
    }
    void (*done)(struct agent *) = s->done;
    s->done = NULL;
    buf_release(&s->text);
    if (a->rpt->n_days + s->n_bad > 0)
        log_info(world_log(a->world), "tlsrpt.restored", LU("days", a->rpt->n_days),
                 LU("unreadable", s->n_bad));
    rpt_store_flush(a);
    done(a);
}

bool rpt_store_open(struct agent *a, void (*done)(struct agent *a))
{
    struct rpt_store *s = mem_new(struct rpt_store);
    if (s == NULL)
        return false;
    *s = (struct rpt_store){.agent = a, .done = done};
    s->file = (struct replace){.disk = a->disk, .fresh = fresh_name, .done = on_written};
    s->flush.fire = on_flush;
    buf_init(&s->text, RPT_FILE_MAX);
    if (!buf_reserve(&s->text, RPT_FILE_MAX)) {
        mem_free(s);
        return false;
    }
    a->rpt->store = s;
    read_next(s);
    return true;
}

void rpt_store_close(struct agent *a)
{
    struct rpt_store *s = a->rpt->store;
    if (s == NULL)
        return;
    a->rpt->store = NULL;
    world_timer_cancel(a->world, &s->flush);
    buf_fini(&s->text);
    mem_free(s);
}
