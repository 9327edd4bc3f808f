/* service/queue/queue_suspend.c: what operators let nobody attempt until they say so: rules in the language
 * of queue_filter.h, kept over restarts.
 *
 * The file `suspended` in the spool holds a line that names its format and a line a rule. It is written anew
 * for each change: write-new, fdatasync, rename, fsync of the folder; only then the change counts and is
 * answered. A crash before the rename leaves the old rules, after it the new ones; `suspended.new` may be
 * left behind and is replaced by the next change. A rule that no longer parses (another version wrote it)
 * stops the start: mail that should wait must not leave because of that.
 *
 * An entry with several recipients waits as a whole when one of them matches. Attempts under way end as they
 * do. Limits: SUSPEND_RULES_MAX rules of SUSPEND_RULE_MAX octets.
 */
#include "base/mem.h"
#include "service/queue/queue.h"
#include "service/queue/queue_filter.h"

#include <string.h>

enum {
    SUSPEND_RULES_MAX = 1000,
    SUSPEND_RULE_MAX = 512,
    SUSPEND_FILE_MAX = SUSPEND_RULES_MAX * (SUSPEND_RULE_MAX + 1) + 64
};

static const char name_now[] = "suspended", name_new[] = "suspended.new", head[] = "waxwing-suspended 1\n";

struct rule {
    struct filter filter; /* borrows from text */
    uint32_t n;
    char text[SUSPEND_RULE_MAX];
};
enum step { STEP_UNLINK = 0, STEP_OPEN, STEP_WRITE, STEP_CLOSE, STEP_RENAME, STEP_SYNC, STEP_DONE };
struct suspension {
    struct queue *q;
    struct rule **rules;
    size_t n;
    /* a change under way */
    bool is_busy, is_resume;
    struct rule *added; /* by SUSPEND */
    struct str text;    /* RESUME: which one; empty: all. In octets */
    char octets[SUSPEND_RULE_MAX];
    enum step step;
    enum err err;
    struct disk_op op;
    struct disk_file *file;
    struct buf content;
    struct str piece;
    void (*done)(void *arg, enum err err, size_t n_changed);
    void *arg;
};

size_t suspend_count(const struct queue *q)
{
    return q->suspension == NULL ? 0 : q->suspension->n;
}

struct str suspend_rule(const struct queue *q, size_t i)
{
    return str_of(q->suspension->rules[i]->text, q->suspension->rules[i]->n);
}

bool suspend_matches(struct queue *q, const struct work *w)
{
    const struct suspension *s = q->suspension;
    bool is_bounce = (w->entry->flags & ENTRY_IS_BOUNCE) != 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct filter *f = &s->rules[i]->filter;
        if (filter_matches_entry(f, w->entry, is_bounce, world_wall_ms(q->world)) &&
            filter_matches_envelope(f, &w->envelope, &w->state))
            return true;
    }
    return false;
}

static void submit(struct suspension *s, enum disk_kind kind, const char *name)
{
    s->op.kind = kind;
    s->op.lane = DISK_LANE_RELEASE;
    s->op.name = name;
    s->op.file = s->file;
    queue_store_busy(s->q);
    disk_submit(s->q->disk, &s->op);
}

/* ---- rules ---- */

static struct rule *parse(struct str text, struct buf *error)
{
    struct rule *r = mem_new(struct rule);
    if (r == NULL) {
        buf_puts(error, "no memory for the rule");
        return NULL;
    }
    text = str_trim(text);
    bool ok = text.n > 0 && text.n <= SUSPEND_RULE_MAX && !str_has_ctl(text);
    if (!ok)
        buf_puts(error, "say what to suspend, such as domain=example.com (512 characters at most)");
    if (ok) {
        memcpy(r->text, text.p, text.n);
        r->n = (uint32_t)text.n;
        ok = filter_parse(str_of(r->text, r->n), &r->filter, error);
    }
    for (size_t i = 0; ok && i < r->filter.n; i++) {
        enum filter_key k = r->filter.terms[i].key;
        if (k == FILTER_ID || k == FILTER_STATE || k == FILTER_AGE || k == FILTER_ATTEMPTS ||
            k == FILTER_REASON || k == FILTER_CLASS) {
            buf_puts(
                error,
                "mail is suspended by site, source, sender, rcpt, domain, tag, size, priority or kind; hold "
                "single entries instead");
            ok = false;
        }
    }
    if (ok)
        return r;
    mem_free(r);
    return NULL;
}

static bool is_chosen(const struct suspension *s, const struct rule *r)
{
    return s->is_resume && (s->text.n == 0 || str_ieq(s->text, str_of(r->text, r->n)));
}

static bool grow(struct suspension *s)
{
    if (s->rules != NULL)
        return true;
    s->rules = mem_alloc_array(SUSPEND_RULES_MAX, sizeof(struct rule *));
    return s->rules != NULL;
}

/* What may go again is due now. */
static void wake(struct queue *q)
{
    size_t cursor = 0, n_slots = SIZE_MAX;
    uint64_t now_ms = world_now_ms(q->world);
    struct schedule_entry *e;
    while ((e = schedule_walk(&q->schedule, &cursor, &n_slots)) != NULL) {
        if (e->state != ENTRY_WAITING || (e->flags & ENTRY_IS_SUSPENDED) == 0)
            continue;
        e->flags &= (uint8_t)~ENTRY_IS_SUSPENDED;
        schedule_take(&q->schedule, e, now_ms);
        schedule_wait(&q->schedule, e, now_ms, now_ms);
    }
}

static size_t apply(struct suspension *s)
{
    struct queue *q = s->q;
    size_t n = 0, n_changed = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct rule *r = s->rules[i];
        if (!is_chosen(s, r)) {
            s->rules[n++] = r;
            continue;
        }
        TELL(q, .kind = EVENT_RESUMED, .text = str_of(r->text, r->n));
        mem_free(r);
        n_changed++;
    }
    s->n = n;
    if (s->added != NULL) {
        TELL(q, .kind = EVENT_SUSPENDED, .text = str_of(s->added->text, s->added->n));
        s->rules[s->n++] = s->added;
        s->added = NULL;
        n_changed++;
    }
    if (s->is_resume && n_changed > 0)
        wake(q);
    return n_changed;
}

/* ---- writing ---- */

static void finish(struct suspension *s)
{
    size_t n_changed = 0;
    buf_fini(&s->content);
    if (s->err == ERR_OK) {
        n_changed = apply(s);
    } else {
        queue_trouble(s->q, s->err, "the list of suspended mail could not be written");
        mem_free(s->added);
        s->added = NULL;
    }
    s->is_busy = false;
    s->done(s->arg, s->err, n_changed);
}

static void on_written(struct disk_op *op);

static void next(struct suspension *s)
{
    s->op = (struct disk_op){.done = on_written};
    switch (s->step) {
    case STEP_UNLINK:
        submit(s, DISK_UNLINK, name_new);
        return;
    case STEP_OPEN:
        s->op.create = DISK_CREATE_NEW;
        submit(s, DISK_OPEN, name_new);
        return;
    case STEP_WRITE:
        s->piece = buf_str(&s->content);
        s->op.pieces = &s->piece;
        s->op.n_pieces = 1;
        s->op.sync = true;
        submit(s, DISK_WRITE, NULL);
        return;
    case STEP_CLOSE:
        submit(s, DISK_CLOSE, NULL);
        s->file = NULL;
        return;
    case STEP_RENAME:
        s->op.name2 = name_now;
        submit(s, DISK_RENAME, name_new);
        return;
    case STEP_SYNC:
        submit(s, DISK_SYNC_DIR, ".");
        return;
    case STEP_DONE:
        finish(s);
        return;
    }
}

static void on_written(struct disk_op *op)
{
    struct suspension *s = container_of(op, struct suspension, op);
    enum err err = op->err;
    queue_store_idle(s->q);
    if (s->step == STEP_UNLINK && err == ERR_NOTFOUND)
        err = ERR_OK;
    if (s->step == STEP_OPEN && err == ERR_OK)
        s->file = op->file;
    if (s->err == ERR_OK)
        s->err = err;
    s->step++;
    if (s->err != ERR_OK)
        s->step = s->file != NULL ? STEP_CLOSE : STEP_DONE;
    next(s);
}

static bool format(struct suspension *s)
{
    buf_init(&s->content, SUSPEND_FILE_MAX);
    buf_puts(&s->content, head);
    for (size_t i = 0; i <= s->n; i++) {
        const struct rule *r = i < s->n ? s->rules[i] : s->added;
        if (r == NULL || is_chosen(s, r))
            continue;
        buf_put(&s->content, str_of(r->text, r->n));
        buf_putc(&s->content, '\n');
    }
    return !s->content.failed;
}

enum err suspend_change(struct queue *q, struct str text, bool is_resume, struct buf *error,
                        void (*done)(void *arg, enum err err, size_t n_changed), void *arg)
{
    struct suspension *s = q->suspension;
    text = str_trim(text);
    if (s->is_busy) {
        buf_puts(error, "another change is being written; say it again");
        return ERR_AGAIN;
    }
    if (text.n > SUSPEND_RULE_MAX || (!is_resume && s->n == SUSPEND_RULES_MAX)) {
        buf_puts(error, "1000 rules of 512 characters at most");
        return ERR_INVALID;
    }
    if (!grow(s)) {
        buf_puts(error, "no memory for the rule");
        return ERR_NOMEM;
    }
    s->is_resume = is_resume;
    s->text = str_of(s->octets, text.n);
    if (text.n > 0)
        memcpy(s->octets, text.p, text.n);
    bool is_known = false;
    for (size_t i = 0; i < s->n; i++)
        is_known = is_known || text.n == 0 || str_ieq(text, str_of(s->rules[i]->text, s->rules[i]->n));
    if (is_resume ? !is_known : is_known && text.n > 0) { /* nothing to change */
        done(arg, ERR_OK, 0);
        return ERR_OK;
    }
    s->added = is_resume ? NULL : parse(text, error);
    if (!is_resume && s->added == NULL)
        return ERR_INVALID;
    if (!format(s)) {
        buf_fini(&s->content);
        mem_free(s->added);
        s->added = NULL;
        buf_puts(error, "no memory for the list");
        return ERR_NOMEM;
    }
    s->is_busy = true;
    s->done = done;
    s->arg = arg;
    s->err = ERR_OK;
    s->step = STEP_UNLINK;
    next(s);
    return ERR_OK;
}

/* ---- reading ---- */

static void loaded(struct suspension *s, enum err err)
{
    struct queue *q = s->q;
    buf_fini(&s->content);
    if (err == ERR_OK)
        verp_load(q); /* goes on with queue_begin() */
    else
        queue_fail(q,
                   "the file `suspended` in the spool, which says what mail must wait, can't be used; mend "
                   "or remove it",
                   err);
}

static enum err take(struct suspension *s, struct str text)
{
    char mem[512];
    if (!str_starts(text, str_from_c(head)))
        return ERR_CORRUPT;
    text = str_skip(text, sizeof head - 1);
    while (text.n > 0) {
        struct buf error;
        buf_init_fixed(&error, mem, sizeof mem);
        if (str_chr(text, '\n') == STR_NPOS || s->n == SUSPEND_RULES_MAX || !grow(s))
            return ERR_CORRUPT;
        struct rule *r = parse(str_cut(&text, '\n'), &error);
        if (r == NULL) {
            log_error(s->q->world->log, "queue.suspended-unreadable", LS("why", buf_str(&error)));
            return ERR_INVALID;
        }
        s->rules[s->n++] = r;
    }
    return ERR_OK;
}

static void on_closed(struct disk_op *op)
{
    struct suspension *s = container_of(op, struct suspension, op);
    queue_store_idle(s->q);
    loaded(s, s->err != ERR_OK ? s->err : take(s, buf_str(&s->content)));
}

static void on_read(struct disk_op *op)
{
    struct suspension *s = container_of(op, struct suspension, op);
    queue_store_idle(s->q);
    s->err = op->err;
    s->content.n = op->err == ERR_OK ? op->n_done : 0;
    s->op = (struct disk_op){.done = on_closed};
    submit(s, DISK_CLOSE, NULL);
    s->file = NULL;
}

static void on_opened(struct disk_op *op)
{
    struct suspension *s = container_of(op, struct suspension, op);
    uint64_t size = op->size;
    queue_store_idle(s->q);
    if (op->err != ERR_OK) {
        loaded(s, op->err == ERR_NOTFOUND ? ERR_OK : op->err);
        return;
    }
    s->file = op->file;
    s->op = (struct disk_op){.done = on_closed};
    if (size > SUSPEND_FILE_MAX || !buf_reserve(&s->content, (size_t)size + 1)) {
        s->err = size > SUSPEND_FILE_MAX ? ERR_TOO_BIG : ERR_NOMEM;
        submit(s, DISK_CLOSE, NULL);
        s->file = NULL;
        return;
    }
    s->op.done = on_read;
    s->op.mem = s->content.p;
    s->op.size = size;
    submit(s, DISK_READ, NULL);
}

void suspend_load(struct queue *q)
{
    struct suspension *s = mem_new(struct suspension);
    if (s == NULL) {
        queue_fail(q, "the list of suspended mail can't be read", ERR_NOMEM);
        return;
    }
    q->suspension = s;
    s->q = q;
    buf_init(&s->content, SUSPEND_FILE_MAX + 1);
    s->op = (struct disk_op){.done = on_opened, .create = DISK_MUST_EXIST};
    submit(s, DISK_OPEN, name_now);
}

void suspend_fini(struct queue *q)
{
    struct suspension *s = q->suspension;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++)
        mem_free(s->rules[i]);
    mem_free(s->rules);
    mem_free(s->added);
    buf_fini(&s->content);
    mem_free(s);
    q->suspension = NULL;
}
