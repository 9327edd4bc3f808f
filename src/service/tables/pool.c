/* service/tables/pool.c: directories and databases, which are waited for on threads beside the loop
 * (ext/table.h).
 *
 * Owns:     sessions with each table, at most TABLES_SESSIONS_MAX: each answers one question at a time and is
 * kept for the next, TABLES_IDLE_MS long. One that broke while it was kept is made anew at once, for the same
 * question. Limits:   no table has more threads than its share, so that one that is slow delays nobody but
 * those who ask it. A library that does not come back ends the process, and the supervisor starts another.
 * Errors:   a temporary failure, with the reason.
 * Security: a user whom a database does not know costs what one costs whom it knows.
 */
#include "service/tables/tables.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto/verifier.h"
#include "ext/saslprep.h"

#include <stdio.h>
#include <string.h>

struct pool {
    struct list link; /* tables.closing */
    struct tables *tables;
    struct table *table; /* NULL: gone; the texts are this one's now */
    const struct table_driver *driver;
    struct table_host host;
    struct list waiting; /* table_ask.place */
    struct list sessions;
    size_t n_sessions;
    unsigned generation; /* of password and anchors */
    bool has_like, is_down;
    struct verifier like; /* as users of this table have */
    char *texts;
};
struct session {
    struct list link;
    struct pool *pool;
    bool is_busy;
    unsigned generation;
    uint64_t used_ms, began_ms;
    struct table_ask *ask; /* NULL: nobody waits for the answer */
    struct compute work;
    /* the work's alone while it is busy */
    const struct table_driver *driver;
    const struct table_drivers *drivers;
    const struct crypto *crypto;
    void *handle;              /* the driver's */
    bool must_close, must_ask; /* the handle is of no use any more; there is a question */
    struct table_place place;
    struct netaddr at[TABLES_ADDRESSES_MAX];
    size_t n_at;
    uint64_t due_ms; /* by drivers->now_ms() */
    uint32_t limit_ms;
    struct table_question question;
    char address[SMTP_LOCAL_PART_MAX + 1 + SMTP_DOMAIN_MAX], password[SASL_PASSWORD_MAX];
    char ours[SECRET_FILE_MAX + 1];
    uint8_t seed[VERIFIER_SECRET];
    bool has_like;
    struct verifier like;
    /* results */
    enum auth_verdict verdict;
    bool was_opened, has_failed; /* failed: the table itself, not what it says of this user */
    unsigned n_hashes;
    struct buf why;
    char why_mem[TABLE_WHY_MAX];
};

/* ---- beside the loop ------------------------------------------------------------------------- */

static uint32_t left(const struct session *s)
{
    uint64_t now = s->drivers->now_ms();
    return s->due_ms > now ? (uint32_t)(s->due_ms - now) : 0;
}

static void close_handle(struct session *s)
{
    if (s->handle != NULL)
        s->driver->close(s->handle);
    s->handle = NULL;
}

/* Each address has its share of the time, so that one that does not answer leaves some to the next. */
static bool open_handle(struct session *s)
{
    for (size_t i = 0; i < s->n_at && s->handle == NULL; i++) {
        uint32_t limit = left(s) / (uint32_t)(s->n_at - i);
        buf_reset(&s->why);
        s->place.at = &s->at[i];
        if (limit == 0)
            buf_puts(&s->why, "no answer in time");
        else
            s->handle = s->driver->open(s->driver, &s->place, limit, &s->why);
    }
    s->was_opened = s->was_opened || s->handle != NULL;
    return s->handle != NULL;
}

static enum table_says ask_once(struct session *s, struct buf *verifier)
{
    bool is_broken = false;
    buf_reset(&s->why);
    enum table_says says = s->driver->ask(s->handle, &s->question, left(s), &is_broken, verifier, &s->why);
    if (is_broken)
        close_handle(s);
    return says;
}

/* A kept session may have ended without our hearing of it. */
static enum table_says ask_table(struct session *s, struct buf *verifier)
{
    bool was_kept = s->handle != NULL;
    if (!was_kept && !open_handle(s))
        return TABLE_SAYS_NOTHING;
    enum table_says says = ask_once(s, verifier);
    if (says == TABLE_SAYS_NOTHING && s->handle == NULL && was_kept && open_handle(s))
        says = ask_once(s, verifier);
    return says;
}

static void no_memory(struct session *s)
{
    buf_reset(&s->why);
    buf_puts(&s->why, "no memory");
    s->verdict = AUTH_TEMPORARY;
}

static enum err check_form(struct session *s, const struct verifier *v, struct str password, bool *is_right)
{
    s->n_hashes++;
    return verifier_check(s->crypto, v, password, is_right);
}

/* As SASLprep has it, then as it came: see service/keys/keys_auth.c. */
static void check_verifier(struct session *s, const struct verifier *v)
{
    char mem[SASL_PASSWORD_MAX];
    struct buf prepared;
    struct str raw = s->question.password;
    bool is_right = false;
    buf_init_fixed(&prepared, mem, sizeof mem);
    bool has_form = saslprep(raw, SASLPREP_QUERY, &prepared) == SASLPREP_OK && prepared.n > 0;
    enum err e = check_form(s, v, has_form ? buf_str(&prepared) : raw, &is_right);
    if (e == ERR_OK && !is_right && has_form && !str_eq(buf_str(&prepared), raw))
        e = check_form(s, v, raw, &is_right);
    secret_wipe(mem, sizeof mem);
    if (e != ERR_OK)
        no_memory(s);
    else
        s->verdict = is_right ? AUTH_OK : AUTH_BAD;
}

static void check_nobody(struct session *s)
{
    struct verifier v;
    if (verifier_false(s->crypto, s->seed, s->question.address, s->has_like ? &s->like : NULL, &v) == ERR_OK)
        check_verifier(s, &v);
    else
        no_memory(s);
    secret_wipe(&v, sizeof v);
}

static void check_text(struct session *s, struct str text)
{
    struct verifier v;
    text = str_trim(text);
    const char *problem = text.n == 0 ? NULL : verifier_parse(text, &v);
    if (text.n == 0) { /* a user without a password, or NULL */
        check_nobody(s);
    } else if (problem != NULL) {
        buf_reset(&s->why);
        buf_printf(&s->why, "the verifier of this user can't be used: %s", problem);
    } else if (v.asks == VERIFIER_NONE) { /* a locked account */
        check_nobody(s);
    } else {
        s->like = v;
        s->has_like = true;
        check_verifier(s, &v);
    }
    secret_wipe(&v, sizeof v);
}

static void run(struct compute *w)
{
    struct session *s = container_of(w, struct session, work);
    char mem[VERIFIER_TEXT_MAX + 1];
    struct buf verifier;
    buf_init_fixed(&verifier, mem, sizeof mem);
    if (s->must_close)
        close_handle(s);
    if (!s->must_ask)
        return;
    s->due_ms = s->drivers->now_ms() + s->limit_ms;
    s->verdict = AUTH_TEMPORARY;
    switch (ask_table(s, &verifier)) {
    case TABLE_SAYS_NOTHING:
        s->has_failed = s->handle == NULL;
        break;
    case TABLE_SAYS_YES:
        s->verdict = AUTH_OK;
        break;
    case TABLE_SAYS_NO:
        s->verdict = AUTH_BAD;
        break;
    case TABLE_SAYS_VERIFIER:
        check_text(s, buf_str(&verifier));
        break;
    case TABLE_SAYS_NOBODY:
        check_nobody(s);
        break;
    }
    secret_wipe(mem, sizeof mem);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void dispatch(struct pool *p);

static void pool_free(struct pool *p)
{
    list_remove(&p->link);
    secret_wipe(&p->like, sizeof p->like);
    mem_free(p->texts);
    mem_free(p);
}

static void session_free(struct session *s)
{
    list_remove(&s->link);
    s->pool->n_sessions--;
    secret_wipe(s, sizeof *s);
    mem_free(s);
}

/* Hands it to a thread, which closes what is there, and asks where there is a question. */
static void submit(struct session *s)
{
    s->is_busy = true;
    s->began_ms = world_now_ms(s->pool->tables->world);
    workers_submit(s->pool->tables->workers, &s->work);
}

/* Nobody needs it. At the very end there are no threads any more. */
static void session_end(struct session *s)
{
    if (s->pool->tables->workers == NULL)
        close_handle(s);
    if (s->handle == NULL) {
        session_free(s);
        return;
    }
    s->must_close = true;
    s->must_ask = false;
    submit(s);
}

static void note_state(struct pool *p, const struct session *s)
{
    const struct log *log = world_log(p->tables->world);
    struct str server = p->table->conf.table.server;
    if (s->has_failed && !p->is_down)
        log_error(log, "table.down", LS("server", server), LS("why", buf_str(&s->why)));
    else if (!s->has_failed && p->is_down)
        log_info(log, "table.up", LS("server", server));
    p->is_down = s->has_failed;
}

static void take_result(struct pool *p, struct session *s)
{
    struct table_ask *a = s->ask;
    p->tables->count.connections += s->was_opened;
    p->tables->count.hashes += s->n_hashes;
    if (s->has_like) {
        p->like = s->like;
        p->has_like = true;
    }
    s->ask = NULL;
    secret_wipe(s->password, sizeof s->password);
    secret_wipe(s->ours, sizeof s->ours);
    secret_wipe(&s->like, sizeof s->like);
    if (p->table != NULL)
        note_state(p, s);
    if (a != NULL)
        table_answer(a, s->verdict, buf_str(&s->why));
}

static void done(struct compute *w)
{
    struct session *s = container_of(w, struct session, work);
    struct pool *p = s->pool;
    s->is_busy = false;
    s->used_ms = world_now_ms(p->tables->world);
    if (s->must_ask)
        take_result(p, s);
    if (p->table == NULL || s->handle == NULL)
        session_end(s);
    if (p->table != NULL)
        dispatch(p);
    else if (p->n_sessions == 0)
        pool_free(p);
}

static struct session *session_new(struct pool *p)
{
    struct session *s = mem_new(struct session);
    if (s == NULL)
        return NULL;
    s->pool = p;
    s->driver = p->driver;
    s->drivers = p->tables->drivers;
    s->crypto = p->tables->crypto;
    s->generation = p->generation;
    s->work = (struct compute){.run = run, .done = done};
    memcpy(s->seed, p->tables->seed, sizeof s->seed);
    list_init(&s->link);
    list_push_back(&p->sessions, &s->link);
    p->n_sessions++;
    return s;
}

/* One that is kept, or a new one as long as there may be more; NULL: all are busy, or there is no memory. */
static struct session *session_get(struct pool *p)
{
    size_t share = TABLES_THREADS / (p->tables->n_tables > 0 ? p->tables->n_tables : 1);
    size_t max = share > TABLES_SESSIONS_MAX ? TABLES_SESSIONS_MAX : share > 0 ? share : 1;
    list_each (l, &p->sessions) {
        struct session *s = list_entry(l, struct session, link);
        if (!s->is_busy)
            return s;
    }
    return p->n_sessions < max ? session_new(p) : NULL;
}

static void start(struct session *s, struct table_ask *a)
{
    struct pool *p = s->pool;
    const struct table *t = p->table;
    const struct auth_table *conf = &t->conf.table;
    uint64_t now = world_now_ms(p->tables->world);
    struct buf address;
    list_remove(&a->place);
    list_init(&a->place);
    a->arg = s;
    s->ask = a;
    s->must_close = s->generation != p->generation;
    s->generation = p->generation;
    s->must_ask = true;
    s->was_opened = s->has_failed = false;
    s->n_hashes = 0;
    s->limit_ms = a->due_ms > now ? (uint32_t)(a->due_ms - now) : 0;
    s->n_at = p->host.n;
    memcpy(s->at, p->host.at, sizeof s->at);
    must(str_to_c(t->password, s->ours, sizeof s->ours)); /* set_password() has seen to it */
    s->place = (struct table_place){.host = conf->host.p,
                                    .tls = conf->tls,
                                    .user = conf->user.p,
                                    .password = s->ours,
                                    .place = conf->place.p,
                                    .question = conf->question.p};
    buf_init_fixed(&address, s->address, sizeof s->address);
    buf_put(&address, str_of(a->user, a->n_user));
    buf_putc(&address, '@');
    buf_put(&address, str_of(a->domain, a->n_domain));
    memcpy(s->password, a->password, a->n_password);
    s->question = (struct table_question){.address = buf_str(&address),
                                          .user = str_slice(buf_str(&address), 0, a->n_user),
                                          .domain = str_skip(buf_str(&address), a->n_user + 1),
                                          .password = str_of(s->password, a->n_password)};
    s->has_like = p->has_like;
    s->like = p->like;
    buf_init_fixed(&s->why, s->why_mem, sizeof s->why_mem);
    submit(s);
}

static void answer_waiting(struct pool *p, struct str why)
{
    while (!list_is_empty(&p->waiting))
        table_answer(list_entry(p->waiting.next, struct table_ask, place), AUTH_TEMPORARY, why);
}

static void dispatch(struct pool *p)
{
    while (!list_is_empty(&p->waiting)) {
        struct table *t = p->table;
        if (!t->has_password) {
            char why[TABLE_WHY_MAX];
            (void)snprintf(why, sizeof why, "our password there (%.*s) is not at hand",
                           STR_FMT(str_slice(t->conf.table.secret, 0, 200)));
            answer_waiting(p, str_from_c(why));
            return;
        }
        if (!table_host_want(&p->host))
            return;
        struct session *s = session_get(p);
        if (s == NULL && p->n_sessions > 0)
            return; /* done() goes on */
        if (s == NULL) {
            answer_waiting(p, STR("no memory"));
            return;
        }
        start(s, list_entry(p->waiting.next, struct table_ask, place));
    }
}

static void on_host(struct table_host *h)
{
    struct pool *p = container_of(h, struct pool, host);
    if (h->n > 0)
        dispatch(p);
    else
        answer_waiting(p, str_from_c(h->why));
}

/* ---- the kind -------------------------------------------------------------------------------- */

static bool pool_open(struct table *t)
{
    const struct table_drivers *d = t->tables->drivers;
    struct pool *p = mem_new(struct pool);
    if (p == NULL)
        return false;
    p->tables = t->tables;
    p->table = t;
    p->driver = t->conf.kind == AUTH_BY_LDAP         ? d->ldap
                : t->conf.kind == AUTH_BY_POSTGRESQL ? d->postgresql
                                                     : d->sqlite;
    list_init(&p->link);
    list_init(&p->waiting);
    list_init(&p->sessions);
    table_host_init(&p->host, t->tables, t->conf.table.host, &t->conf.table.at, on_host);
    t->self = p;
    return true;
}

static void pool_ask(struct table *t, struct table_ask *a)
{
    struct pool *p = t->self;
    list_push_back(&p->waiting, &a->place);
    dispatch(p);
}

static void pool_cancel(struct table *t, struct table_ask *a)
{
    struct session *s = a->arg;
    UNUSED(t);
    if (s != NULL)
        s->ask = NULL;
    list_remove(&a->place);
    list_init(&a->place);
}

static void pool_refresh(struct table *t)
{
    struct pool *p = t->self;
    p->generation++;
}

static void tick(struct pool *p)
{
    uint64_t now = world_now_ms(p->tables->world);
    list_each (l, &p->sessions) {
        struct session *s = list_entry(l, struct session, link);
        if (s->is_busy && now - s->began_ms >= TABLES_HANG_MS) {
            role_fail(p->tables->env,
                      STR("a library that asks a directory or a database does not come back"));
            return;
        }
        if (!s->is_busy && now - s->used_ms >= TABLES_IDLE_MS)
            session_end(s);
    }
}

static void pool_tick(struct table *t)
{
    tick(t->self);
}

static void pool_close(struct table *t)
{
    struct pool *p = t->self;
    struct tables *all = t->tables;
    table_host_fini(&p->host);
    p->table = NULL;
    p->texts = t->texts; /* sessions may be reading them */
    t->texts = NULL;
    list_push_back(&all->closing, &p->link);
    list_each (l, &p->sessions) {
        struct session *s = list_entry(l, struct session, link);
        if (!s->is_busy || all->workers == NULL)
            session_end(s);
    }
    if (p->n_sessions == 0)
        pool_free(p);
}

const struct table_kind table_pool = {.open = pool_open,
                                      .ask = pool_ask,
                                      .cancel = pool_cancel,
                                      .refresh = pool_refresh,
                                      .tick = pool_tick,
                                      .close = pool_close};

void table_pools_tick(struct tables *t)
{
    list_each (l, &t->closing)
        tick(list_entry(l, struct pool, link));
}

void table_pools_forget(struct tables *t)
{
    list_each (l, &t->closing) {
        struct pool *p = list_entry(l, struct pool, link);
        list_each (k, &p->sessions) {
            struct session *s = list_entry(k, struct session, link);
            close_handle(s);
            session_free(s);
        }
        pool_free(p);
    }
}
