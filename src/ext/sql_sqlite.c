#include "ext/sql_sqlite.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/table_parts.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { STEPS_BETWEEN_LOOKS = 1000, TRIES = 3, SUFFIX = 16 };

struct session {
    sqlite3 *db;
    uint64_t due_ms; /* of the question at work */
    dev_t device;    /* the file that was opened: another one may have its name by now */
    ino_t inode;
    const char *query;
    char path[]; /* and behind its NUL the query */
};

/* ---- one database ---------------------------------------------------------------------------- */

static int look_at_clock(void *arg)
{
    const struct session *s = arg;
    return table_left(s->due_ms) == 0;
}

static void fail(struct session *s, sqlite3 *db, int status, struct buf *why)
{
    if (status == SQLITE_INTERRUPT || table_left(s->due_ms) == 0)
        buf_puts(why, "no answer in time");
    else if (status == SQLITE_CANTOPEN || status == SQLITE_PERM || status == SQLITE_AUTH)
        buf_puts(
            why,
            "the database can't be opened: is it there, and may the user _wwtables read it and enter its "
            "folder?");
    else
        table_quote(why, db == NULL ? sqlite3_errstr(status) : sqlite3_errmsg(db));
}

static int open_db(struct session *s, const char *name, int flags, sqlite3 **out)
{
    int status = sqlite3_open_v2(name, out, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | flags, NULL);
    if (status != SQLITE_OK)
        return status;
    sqlite3_progress_handler(*out, STEPS_BETWEEN_LOOKS, look_at_clock, s);
    (void)sqlite3_busy_timeout(*out, table_left(s->due_ms));
    (void)sqlite3_db_config(*out, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(*out, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return sqlite3_exec(*out, "PRAGMA temp_store = MEMORY; PRAGMA query_only = ON", NULL, NULL, NULL);
}

static int bind_one(sqlite3_stmt *st, int i, struct str value)
{
    return sqlite3_bind_text(st, i, value.p, (int)value.n, SQLITE_STATIC);
}

/* $1 and ?1 alike: what is not there has the place 0. */
static int bind_all(sqlite3_stmt *st, const struct table_question *q)
{
    static const char *const names[][2] = {{"$1", "?1"}, {"$2", "?2"}, {"$3", "?3"}};
    const struct str values[] = {q->address, q->user, q->domain};
    int status = SQLITE_OK;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t k = 0; k < ARRAY_LEN(names[0]) && status == SQLITE_OK; k++) {
            int place = sqlite3_bind_parameter_index(st, names[i][k]);
            if (place > 0)
                status = bind_one(st, place, values[i]);
        }
    }
    return status;
}

/* A row is there. */
static enum table_says take_row(sqlite3_stmt *st, struct buf *verifier, struct buf *why)
{
    if (sqlite3_column_count(st) != 1) {
        buf_printf(why, "the query gives %d columns, and not one", sqlite3_column_count(st));
        return TABLE_SAYS_NOTHING;
    }
    const unsigned char *text = sqlite3_column_text(st, 0);
    int n = sqlite3_column_bytes(st, 0);
    if (buf_put(verifier, str_of((const char *)text, text == NULL || n < 0 ? 0 : (size_t)n)))
        return TABLE_SAYS_VERIFIER;
    buf_puts(why, "the verifier of this user can't be used: it is too long");
    return TABLE_SAYS_NOTHING;
}

static enum table_says run(struct session *s, sqlite3 *db, const struct table_question *q, int *status,
                           struct buf *verifier, struct buf *why)
{
    sqlite3_stmt *st = NULL;
    enum table_says says = TABLE_SAYS_NOTHING;
    (void)sqlite3_busy_timeout(db, table_left(s->due_ms));
    *status = sqlite3_prepare_v2(db, s->query, -1, &st, NULL);
    if (*status == SQLITE_OK && (*status = bind_all(st, q)) == SQLITE_OK)
        *status = sqlite3_step(st);
    if (*status == SQLITE_ROW) {
        says = take_row(st, verifier, why);
        *status = says == TABLE_SAYS_VERIFIER ? sqlite3_step(st) : SQLITE_DONE;
        if (*status == SQLITE_ROW) {
            buf_puts(why, "the query gives more than one row for this user");
            says = TABLE_SAYS_NOTHING;
            *status = SQLITE_DONE;
        }
    } else if (*status == SQLITE_DONE) {
        says = TABLE_SAYS_NOBODY;
    }
    if (*status != SQLITE_DONE)
        says = TABLE_SAYS_NOTHING;
    (void)sqlite3_finalize(st);
    return says;
}

/* ---- a database that nobody has open --------------------------------------------------------- */

struct state { /* what shows that it was written */
    struct timespec changed;
    off_t size;
    ino_t inode;
};

static bool is_absent(const char *path, const char *end)
{
    char beside[PATH_MAX + SUFFIX];
    struct stat st;
    (void)snprintf(beside, sizeof beside, "%s%s", path, end);
    return stat(beside, &st) == -1 && errno == ENOENT;
}

/* false: somebody has it open, or had until he crashed. */
static bool is_at_rest(const char *path, struct state *out)
{
    struct stat st;
    if (!is_absent(path, "-wal") || !is_absent(path, "-journal") || stat(path, &st) == -1)
        return false;
    *out = (struct state){st.st_mtim, st.st_size, st.st_ino};
    return true;
}

static bool is_same(const struct state *a, const struct state *b)
{
    return a->size == b->size && a->inode == b->inode && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* As URI; octets that mean something in one are written as %XX. */
static bool put_uri(const char *path, struct buf *out)
{
    buf_puts(out, "file:");
    for (const char *p = path; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '%' || c == '?' || c == '#' || c < '!' || c > '~')
            buf_printf(out, "%%%02x", (unsigned)c);
        else
            buf_putc(out, *p);
    }
    buf_puts(out, "?immutable=1");
    return buf_putc(out, '\0') && !out->failed;
}

static enum table_says ask_at_rest(struct session *s, const struct table_question *q, struct buf *verifier,
                                   struct buf *why)
{
    char uri[3 * PATH_MAX + 32];
    struct buf b;
    buf_init_fixed(&b, uri, sizeof uri);
    if (!put_uri(s->path, &b))
        return TABLE_SAYS_NOTHING;
    for (unsigned i = 0; i < TRIES; i++) {
        struct state before, after;
        sqlite3 *db = NULL;
        enum table_says says = TABLE_SAYS_NOTHING;
        if (!is_at_rest(s->path, &before))
            break;
        buf_reset(why);
        secret_wipe_buf(verifier);
        int status = open_db(s, uri, SQLITE_OPEN_URI, &db);
        if (status == SQLITE_OK)
            says = run(s, db, q, &status, verifier, why);
        if (status != SQLITE_DONE)
            fail(s, db, status, why);
        (void)sqlite3_close_v2(db);
        if (is_at_rest(s->path, &after) && is_same(&before, &after))
            return says;
    }
    buf_reset(why);
    buf_puts(why, "the database was left in the middle of a change: a program that may write it has to "
                  "open it");
    return TABLE_SAYS_NOTHING;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void session_close(void *session)
{
    struct session *s = session;
    (void)sqlite3_close_v2(s->db);
    mem_free(s);
}

/* Is another file there than last time? */
static bool is_replaced(struct session *s)
{
    struct stat st = {.st_ino = 0};
    (void)stat(s->path, &st);
    bool is_other = st.st_dev != s->device || st.st_ino != s->inode;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    return is_other;
}

static void *session_open(const struct table_driver *self, const struct table_place *p, uint32_t limit_ms,
                          struct buf *why)
{
    size_t n_path = strlen(p->place) + 1, n_query = strlen(p->question) + 1;
    UNUSED(self);
    struct session *s = n_path > PATH_MAX ? NULL : mem_alloc(sizeof *s + n_path + n_query);
    if (s == NULL) {
        buf_puts(why, "no memory");
        return NULL;
    }
    s->db = NULL;
    s->due_ms = table_now_ms() + limit_ms;
    memcpy(s->path, p->place, n_path);
    memcpy(s->path + n_path, p->question, n_query);
    s->query = s->path + n_path;
    s->device = 0;
    s->inode = 0;
    (void)is_replaced(s); /* what will be opened now */
    int status = open_db(s, s->path, 0, &s->db);
    if (status == SQLITE_OK)
        return s;
    fail(s, s->db, status, why);
    session_close(s);
    return NULL;
}

static enum table_says session_ask(void *session, const struct table_question *q, uint32_t limit_ms,
                                   bool *is_broken, struct buf *verifier, struct buf *why)
{
    struct session *s = session;
    int status;
    s->due_ms = table_now_ms() + limit_ms;
    if (is_replaced(s)) {
        buf_puts(why, "the database was replaced");
        *is_broken = true;
        return TABLE_SAYS_NOTHING;
    }
    enum table_says says = run(s, s->db, q, &status, verifier, why);
    if (status == SQLITE_DONE)
        return says;
    if (status == SQLITE_CANTOPEN ||
        status == SQLITE_READONLY) /* it may not make what it wants beside the file */
        return ask_at_rest(s, q, verifier, why);
    fail(s, s->db, status, why);
    *is_broken = status != SQLITE_INTERRUPT && status != SQLITE_BUSY && status != SQLITE_ERROR;
    return TABLE_SAYS_NOTHING;
}

struct table_driver *sql_sqlite_new(void)
{
    struct table_driver *d = mem_new(struct table_driver);
    if (d != NULL)
        *d = (struct table_driver){.open = session_open, .ask = session_ask, .close = session_close};
    return d;
}

void sql_sqlite_del(struct table_driver *d)
{
    mem_free(d);
}
