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

struct sts_store {
    struct agent *agent;
    /* reading, at the start */
    struct disk_op op;
    struct buf names;
    size_t names_at;
    size_t n_read, n_bad;
    void (*done)(struct agent *a);
    /* writing */
    struct list changed; /* domains */
    struct replace file;
    struct domain *domain; /* whose file is written; stays until it is done */
    char name[DNS_NAME_MAX + 1];
    struct buf text;
    bool is_failing; /* told, until one succeeds */
};

/* ---- writing ---- */

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
    must(str_to_c(str_of(d->name, d->n_name), s->name, sizeof s->name));
    if (d->policy.text == NULL) {
        replace_remove(&s->file, s->name);
    } else if (make_text(s, &d->policy)) {
        replace_write(&s->file, s->name, buf_str(&s->text));
    } else { /* it stays in memory only */
        s->domain = NULL;
        buf_reset(&s->text);
        log_error(world_log(s->agent->world), "mta_sts.not_saved", LC("domain", s->name), LERR(ERR_NOMEM));
    }
}

static void on_written(struct replace *r, enum err err)
{
    struct sts_store *s = container_of(r, struct sts_store, file);
    if (err != ERR_OK && !s->is_failing)
        log_error(world_log(s->agent->world), "mta_sts.not_saved", LC("domain", s->name), LERR(err));
    s->is_failing = err != ERR_OK;
    s->domain = NULL;
    write_next(s);
}

void sts_store_put(struct domain *d)
{
    struct sts_store *s = d->agent->store;
    if (s == NULL)
        return;
    list_remove(&d->to_save);
    list_push_back(&s->changed, &d->to_save);
    if (replace_is_idle(&s->file) && s->done == NULL)
        write_next(s);
}

bool sts_store_needs(const struct domain *d)
{
    const struct sts_store *s = d->agent->store;
    return s != NULL && (s->domain == d || !list_is_empty(&d->to_save));
}

bool sts_store_is_idle(const struct agent *a)
{
    return a->store == NULL || (replace_is_idle(&a->store->file) && list_is_empty(&a->store->changed));
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
        if (name[0] == '=') /* of a write that did not end; or counts for reports (rpt_store.c) */
            continue;
        s->op = (struct disk_op){.kind = DISK_READ_SMALL,
                                 .lane = DISK_LANE_WRITE,
                                 .name = name,
                                 .mem = s->text.p,
                                 .size = FILE_MAX,
                                 .done = on_read};
        list_init(&s->op.link);
        disk_submit(s->agent->disk, &s->op);
        return;
    }
    struct agent *a = s->agent;
    void (*done)(struct agent *) = s->done;
    buf_fini(&s->names);
    s->done = NULL;
    log_info(world_log(a->world), "mta_sts.restored", LU("policies", s->n_read), LU("unreadable", s->n_bad));
    done(a);
    if (replace_is_idle(&s->file) && !list_is_empty(&s->changed)) /* what came up meanwhile */
        write_next(s);
}

static void on_list(struct disk_op *op)
{
    struct sts_store *s = container_of(op, struct sts_store, op);
    if (op->err != ERR_OK)
        log_error(world_log(s->agent->world), "mta_sts.not_restored", LERR(op->err));
    read_next(s);
}

bool sts_store_open(struct agent *a, void (*done)(struct agent *a))
{
    struct sts_store *s = mem_new(struct sts_store);
    if (s == NULL)
        return false;
    *s = (struct sts_store){.agent = a, .done = done};
    s->file = (struct replace){.disk = a->disk, .fresh = fresh_name, .done = on_written};
    list_init(&s->changed);
    buf_init(&s->names, NAMES_MAX);
    buf_init(&s->text, FILE_MAX);
    if (!buf_reserve(&s->text, FILE_MAX)) {
        mem_free(s);
        return false;
    }
    a->store = s;
    s->op = (struct disk_op){
        .kind = DISK_LIST, .lane = DISK_LANE_WRITE, .name = ".", .names = &s->names, .done = on_list};
    list_init(&s->op.link);
    disk_submit(a->disk, &s->op);
    return true;
}

void sts_store_close(struct agent *a)
{
    struct sts_store *s = a->store;
    if (s == NULL)
        return;
    a->store = NULL;
    buf_fini(&s->names);
    buf_fini(&s->text);
    mem_free(s);
}
