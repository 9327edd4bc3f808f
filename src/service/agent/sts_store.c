/* service/agent/sts_store.c: the policies on disk, so that a restart forgets none (RFC 8461 10.2).
 *
 * Owns:     the agent's folder: a file for each domain with a policy, named after it. A new one is written
 * beside, flushed, and renamed; so a file is whole or not there. waxwing-mta-sts 1 id 20250101T000000 at
 * 1735689600
 *
 *               (the policy as it was fetched)
 * Limits:   one file is written or removed at a time; the others wait, each domain once.
 * Errors:   what can't be written is said and stays in memory; what can't be read is passed over.
 * Security: the files are checked when they are read, as what comes by the network is.
 */
#include "base/mem.h"
#include "service/agent/agent.h"

#include <string.h>

enum { HEAD_MAX = 128, FILE_MAX = MTA_STS_POLICY_MAX + HEAD_MAX, NAMES_MAX = 16 * 1024 * 1024 };

/* Beginning with what no name of a domain has. */
static const char fresh_name[] = "=new";

enum store_step {
    STORE_IDLE = 0,
    STORE_CLEAR,
    STORE_OPEN,
    STORE_WRITE,
    STORE_CLOSE,
    STORE_RENAME,
    STORE_SYNC
};
struct sts_store {
    struct agent *agent;
    struct disk *disk;
    struct disk_op op;
    /* reading, at the start */
    struct buf names;
    size_t names_at;
    size_t n_read, n_bad;
    void (*done)(struct agent *a);
    /* writing */
    struct list changed; /* domains */
    enum store_step step;
    struct domain *domain; /* whose file is written; stays until it is done */
    char name[DNS_NAME_MAX + 1];
    struct buf text;
    struct str piece;
    enum err failed; /* of this file */
    bool is_failing; /* told, until one succeeds */
};

static void start(struct sts_store *s, enum disk_kind kind, const char *name,
                  void (*done)(struct disk_op *op))
{
    s->op = (struct disk_op){.kind = kind, .lane = DISK_LANE_WRITE, .name = name, .done = done};
    list_init(&s->op.link);
}

/* ---- writing ---- */

static void on_step(struct disk_op *op);

static void submit(struct sts_store *s, enum store_step step, enum disk_kind kind, const char *name)
{
    struct disk_file *file = s->op.file;
    start(s, kind, name, on_step);
    s->op.file = file;
    s->step = step;
    switch (step) {
    case STORE_OPEN:
        s->op.create = DISK_CREATE_NEW;
        break;
    case STORE_WRITE:
        s->piece = buf_str(&s->text);
        s->op.pieces = &s->piece;
        s->op.n_pieces = 1;
        s->op.sync = true;
        break;
    case STORE_RENAME:
        s->op.name2 = s->name;
        break;
    case STORE_IDLE:
    case STORE_CLEAR:
    case STORE_CLOSE:
    case STORE_SYNC:
        break;
    }
    disk_submit(s->disk, &s->op);
}

static bool make_text(struct sts_store *s, const struct policy *p)
{
    buf_reset(&s->text);
    buf_printf(&s->text, "waxwing-mta-sts 1\nid %s\nat %lld\n\n", p->id, (long long)p->at_s);
    return buf_put(&s->text, str_of(p->text, p->n_text));
}

static void write_next(struct sts_store *s)
{
    struct list *l = list_pop_front(&s->changed);
    if (l == NULL) {
        buf_release(&s->text);
        agent_look_drained(s->agent);
        return;
    }
    struct domain *d = list_entry(l, struct domain, to_save);
    s->domain = d;
    s->failed = ERR_OK;
    must(str_to_c(str_of(d->name, d->n_name), s->name, sizeof s->name));
    if (d->policy.text == NULL) {
        submit(s, STORE_RENAME, DISK_UNLINK, s->name);
    } else if (make_text(s, &d->policy)) {
        submit(s, STORE_CLEAR, DISK_UNLINK, fresh_name);
    } else { /* it stays in memory only */
        s->domain = NULL;
        s->step = STORE_IDLE;
        buf_reset(&s->text);
        log_error(world_log(s->agent->world), "mta_sts.not_saved", LC("domain", s->name), LERR(ERR_NOMEM));
    }
}

static void end_file(struct sts_store *s)
{
    const struct log *log = world_log(s->agent->world);
    if (s->failed != ERR_OK && !s->is_failing)
        log_error(log, "mta_sts.not_saved", LC("domain", s->name), LERR(s->failed));
    s->is_failing = s->failed != ERR_OK;
    s->step = STORE_IDLE;
    s->domain = NULL;
    write_next(s);
}

static void on_step(struct disk_op *op)
{
    struct sts_store *s = container_of(op, struct sts_store, op);
    if (op->err != ERR_OK && op->err != ERR_NOTFOUND && s->failed == ERR_OK)
        s->failed = op->err;
    switch (s->step) {
    case STORE_CLEAR:
        submit(s, STORE_OPEN, DISK_OPEN, fresh_name);
        return;
    case STORE_OPEN:
        if (op->err == ERR_OK)
            submit(s, STORE_WRITE, DISK_WRITE, NULL);
        else
            end_file(s);
        return;
    case STORE_WRITE:
        submit(s, STORE_CLOSE, DISK_CLOSE, NULL);
        return;
    case STORE_CLOSE:
        s->op.file = NULL;
        if (s->failed == ERR_OK)
            submit(s, STORE_RENAME, DISK_RENAME, fresh_name);
        else
            end_file(s);
        return;
    case STORE_RENAME:
        if (s->failed == ERR_OK)
            submit(s, STORE_SYNC, DISK_SYNC_DIR, ".");
        else
            end_file(s);
        return;
    case STORE_SYNC:
        end_file(s);
        return;
    case STORE_IDLE:
        break;
    }
    must_not_reach();
}

void sts_store_put(struct domain *d)
{
    struct sts_store *s = d->agent->store;
    if (s == NULL)
        return;
    list_remove(&d->to_save);
    list_push_back(&s->changed, &d->to_save);
    if (s->step == STORE_IDLE && s->done == NULL)
        write_next(s);
}

bool sts_store_needs(const struct domain *d)
{
    const struct sts_store *s = d->agent->store;
    return s != NULL && (s->domain == d || !list_is_empty(&d->to_save));
}

bool sts_store_is_idle(const struct agent *a)
{
    return a->store == NULL || (a->store->step == STORE_IDLE && list_is_empty(&a->store->changed));
}

/* ---- reading ---- */

static void read_next(struct sts_store *s);

static bool take_head(struct str *text, const char *key, struct str *out)
{
    struct str line = str_cut(text, '\n');
    struct str word = str_cut(&line, ' ');
    *out = line;
    return str_eq(word, str_from_c(key));
}

static bool take_file(struct sts_store *s, struct str name, struct str text)
{
    struct str version, id, at;
    uint64_t at_s;
    return take_head(&text, "waxwing-mta-sts", &version) && str_eq(version, STR("1")) &&
           take_head(&text, "id", &id) && take_head(&text, "at", &at) &&
           str_to_u64(at, INT64_MAX / 2, &at_s) && str_cut(&text, '\n').n == 0 &&
           sts_restore(s->agent, name, id, (int64_t)at_s, text);
}

static void on_read(struct disk_op *op)
{
    struct sts_store *s = container_of(op, struct sts_store, op);
    bool ok = op->err == ERR_OK && op->about.is_regular &&
              take_file(s, str_from_c(op->name), str_of(op->mem, op->n_done));
    s->n_read += ok;
    s->n_bad += !ok;
    read_next(s);
}

static void read_next(struct sts_store *s)
{
    while (s->names_at < s->names.n) {
        const char *name = s->names.p + s->names_at;
        s->names_at += strlen(name) + 1;
        if (strcmp(name, fresh_name) == 0) /* of a write that did not end; the next one clears it */
            continue;
        start(s, DISK_READ_SMALL, name, on_read);
        s->op.mem = s->text.p;
        s->op.size = FILE_MAX;
        disk_submit(s->disk, &s->op);
        return;
    }
    struct agent *a = s->agent;
    void (*done)(struct agent *) = s->done;
    buf_fini(&s->names);
    s->done = NULL;
    log_info(world_log(a->world), "mta_sts.restored", LU("policies", s->n_read), LU("unreadable", s->n_bad));
    done(a);
    if (s->step == STORE_IDLE && !list_is_empty(&s->changed)) /* what came up meanwhile */
        write_next(s);
}

static void on_list(struct disk_op *op)
{
    struct sts_store *s = container_of(op, struct sts_store, op);
    if (op->err != ERR_OK)
        log_error(world_log(s->agent->world), "mta_sts.not_restored", LERR(op->err));
    read_next(s);
}

enum err sts_store_open(struct agent *a, const char *root, void (*done)(struct agent *a))
{
    struct sts_store *s = mem_new(struct sts_store);
    if (s == NULL)
        return ERR_NOMEM;
    *s = (struct sts_store){.agent = a, .done = done};
    list_init(&s->changed);
    buf_init(&s->names, NAMES_MAX);
    buf_init(&s->text, FILE_MAX);
    enum err e = buf_reserve(&s->text, FILE_MAX) ? world_disk(a->world, root, &s->disk) : ERR_NOMEM;
    if (e != ERR_OK) {
        buf_fini(&s->text);
        mem_free(s);
        return e;
    }
    a->store = s;
    start(s, DISK_LIST, ".", on_list);
    s->op.names = &s->names;
    disk_submit(s->disk, &s->op);
    return ERR_OK;
}

void sts_store_close(struct agent *a)
{
    struct sts_store *s = a->store;
    if (s == NULL)
        return;
    a->store = NULL;
    disk_close(s->disk);
    buf_fini(&s->names);
    buf_fini(&s->text);
    mem_free(s);
}
