#include "base/crc32c.h"
#include "service/queue/queue.h"

void queue_tell(struct queue *q, const struct queue_event *e)
{
    struct ipc_event m = {
        .kind = (uint16_t)e->kind,
        .wall_ms = (uint64_t)world_wall_ms(q->world),
        .id = e->id,
        .other_id = e->other_id,
        .rcpt = e->rcpt,
        .host = e->host,
        .text = e->text,
        .class = e->class,
        .number = e->number,
    };
    role_event(q->env, &m);
}

void queue_trouble(struct queue *q, enum err err, const char *what)
{
    q->count.trouble++;
    if (q->trouble == err)
        return;
    q->trouble = err;
    log_error(q->world->log, "queue.trouble", LC("what", what), LERR(err));
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "%s: %s", what, err_str(err));
    TELL(q, .kind = EVENT_TROUBLE, .text = buf_str(&b));
}

void queue_trouble_over(struct queue *q)
{
    if (q->trouble == ERR_OK || store_has_failed(q->store))
        return;
    q->trouble = ERR_OK;
    log_info(q->world->log, "queue.trouble-over", LU("troubles", q->count.trouble));
}

static void put_pair(struct buf *b, const char *name, uint64_t value)
{
    buf_put_lstr(b, str_from_c(name));
    buf_put_u64(b, value);
}

void queue_send_counters(struct queue *q)
{
    char mem[2048];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
#define X(name) put_pair(&b, "queue_" #name, q->count.name);
    QUEUE_COUNTERS(X)
#undef X
    put_pair(&b, "queue_active", q->schedule.n_by_state[ENTRY_ACTIVE]);
    put_pair(&b, "queue_waiting", q->schedule.n_by_state[ENTRY_WAITING]);
    put_pair(&b, "queue_held", q->schedule.n_by_state[ENTRY_HELD]);
    put_pair(&b, "queue_sites", q->schedule.n_sites);
    put_pair(&b, "queue_suppressed_addresses", suppress_count(q));
    struct store_stats st;
    store_get_stats(q->store, &st);
    put_pair(&b, "store_live", st.n_live);
    put_pair(&b, "store_live_octets", st.live_octets);
    put_pair(&b, "store_disk_octets", st.disk_octets);
    put_pair(&b, "store_flushes", st.n_flushes);
    put_pair(&b, "store_written_octets", st.n_octets_written);
    must(!b.failed);
    uint32_t sum = crc32c(0, b.p, b.n);
    struct ipc_counters m = {.pairs = buf_str(&b)};
    if (sum == q->counters_told) /* nothing has changed */
        return;
    q->counters_told = sum;
    if (q->admin != NULL && channel_backlog(q->admin) < IPC_QUEUE_MAX / 2 &&
        ipc_send_counters(q->admin, &m, NULL) != ERR_OK)
        q->env->n_events_dropped++;
}
