/* ext/journal_sqlite.c: see the header.
 *
 * In WAL mode with synchronous=NORMAL a commit is a write without a flush: after a power cut the last lines
 * may be missing, but the file is whole. The truth of a delivery is in the store, not here.
 */
#include "ext/journal_sqlite.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

enum {
    SCHEMA_VERSION = 2,
    PATH_MAX_OURS = 4096,
    FAMILY_MAX = 1000,  /* ids that `why` follows */
    WHY_STEPS = 1000,   /* instructions between two looks at the budget */
    WHY_BUDGET = 20000, /* looks: 20 million instructions, some seconds at the worst */
    VACUUM_PAGES = 256, /* given back to the file system with each expire() */
    DAMAGED_MAX = 99,
};

enum statement { ST_BEGIN = 0, ST_COMMIT, ST_ROLLBACK, ST_ADD, ST_EXPIRE, ST_SHRINK, ST_WHY };
enum { N_STATEMENTS = 7 };

#define COLUMNS "seq, wall_ms, kind, role, id, other_id, number, rcpt, host, text, class"

static const char *const statements[N_STATEMENTS] = {
    [ST_BEGIN] = "BEGIN",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_ADD] = "INSERT INTO lines (wall_ms, kind, role, id, other_id, number, rcpt, host, text, class)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    /* in order of arrival, not of the clock: no index is needed, and a clock that stepped does no harm for
       long */
    [ST_EXPIRE] =
        "DELETE FROM lines WHERE wall_ms < ?1 AND seq IN (SELECT seq FROM lines ORDER BY seq LIMIT ?2)",
    [ST_SHRINK] = "DELETE FROM lines WHERE seq IN (SELECT seq FROM lines ORDER BY seq LIMIT ?1)",
    [ST_WHY] =
        "WITH RECURSIVE family(id) AS (SELECT ?1 UNION SELECT l.other_id FROM family AS f CROSS JOIN "
        "lines AS l"
        "  ON l.id = f.id AND l.id <> 0 WHERE l.other_id <> 0 LIMIT ?3)"
        " SELECT " COLUMNS " FROM lines WHERE seq IN"
        " (SELECT l.seq FROM family AS f CROSS JOIN lines AS l ON l.id = f.id AND l.id <> 0"
        "  UNION SELECT seq FROM lines WHERE other_id = ?1 AND other_id <> 0)"
        /* lines of one moment come from several processes in any order: kinds are numbered as life goes */
        " ORDER BY wall_ms, kind, seq LIMIT ?2",
};

static const char schema[] = "CREATE TABLE lines (seq INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, kind "
                             "INTEGER NOT NULL, role TEXT NOT NULL,"
                             " id INTEGER NOT NULL, other_id INTEGER NOT NULL, number INTEGER NOT NULL, rcpt "
                             "BLOB NOT NULL, host BLOB NOT NULL,"
                             " text BLOB NOT NULL, class TEXT NOT NULL DEFAULT '');"
                             "CREATE INDEX lines_id ON lines (id) WHERE id <> 0;"
                             "CREATE INDEX lines_other ON lines (other_id) WHERE other_id <> 0;"
                             "PRAGMA user_version = 2;";
/* A journal of version 1 goes on: its lines have no class. */
static const char schema_from_1[] = "BEGIN; ALTER TABLE lines ADD COLUMN class TEXT NOT NULL DEFAULT '';"
                                    " PRAGMA user_version = 2; COMMIT;";

struct store {
    struct journal journal;
    const char *folder;
    const struct log *log;
    sqlite3 *writer, *reader;
    sqlite3_stmt *st[N_STATEMENTS]; /* ST_WHY is the reader's */
    bool is_open;                   /* a transaction */
    enum err batch_err;             /* the first failure since the last flush */
    uint64_t n_lost;                /* lines since the last flush */
    unsigned budget;                /* of a search */
};

static enum err err_of(sqlite3 *db, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return ERR_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_AGAIN;
    case SQLITE_FULL:
        return ERR_NOSPACE;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ERR_DENIED;
    case SQLITE_INTERRUPT:
        return ERR_TIMEOUT;
    case SQLITE_TOOBIG:
        return ERR_TOO_BIG;
    case SQLITE_CANTOPEN: {
        int n = db == NULL ? 0 : sqlite3_system_errno(db);
        return n > 0 ? err_from_errno(n) : ERR_IO;
    }
    default:
        return ERR_IO;
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool path_of(const struct store *s, const char *name, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s/%s", s->folder, name);
    return n > 0 && (size_t)n < cap;
}

static void disconnect(struct store *s)
{
    for (size_t i = 0; i < N_STATEMENTS; i++) {
        (void)sqlite3_finalize(s->st[i]);
        s->st[i] = NULL;
    }
    (void)sqlite3_close(s->reader);
    (void)sqlite3_close(s->writer);
    s->reader = s->writer = NULL;
    s->is_open = false;
}

static int exec(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The one number that a pragma answers with. */
static int pragma_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
        code = SQLITE_OK;
    }
    (void)sqlite3_finalize(st);
    return code;
}

static int on_progress(void *arg)
{
    struct store *s = arg;
    if (s->budget == 0)
        return 1;
    s->budget--;
    return 0;
}

static int connect_writer(struct store *s, const char *path)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int code = sqlite3_open_v2(path, &s->writer, flags, NULL);
    int64_t version = -1;
    if (code == SQLITE_OK)
        code =
            exec(s->writer,
                 "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                 "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;"
                 "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;");
    if (code == SQLITE_OK)
        code = pragma_number(s->writer, "PRAGMA user_version", &version);
    if (code != SQLITE_OK)
        return code;
    if (version == 0) {
        int64_t n_tables = -1;
        code = pragma_number(s->writer, "SELECT count(*) FROM sqlite_schema", &n_tables);
        if (code != SQLITE_OK)
            return code;
        if (n_tables == 0)
            return exec(s->writer, schema);
    }
    if (version == 1)
        return exec(s->writer, schema_from_1);
    return version == SCHEMA_VERSION ? SQLITE_OK : SQLITE_NOTADB;
}

static int connect_reader(struct store *s, const char *path)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int code = sqlite3_open_v2(path, &s->reader, flags, NULL);
    if (code == SQLITE_OK)
        code = exec(s->reader, "PRAGMA temp_store = MEMORY; PRAGMA query_only = ON;");
    if (code == SQLITE_OK)
        sqlite3_progress_handler(s->reader, WHY_STEPS, on_progress, s);
    s->budget = WHY_BUDGET;
    return code;
}

static enum err connect(struct store *s)
{
    char path[PATH_MAX_OURS];
    if (!path_of(s, "journal.db", path, sizeof path))
        return ERR_TOO_BIG;
    int fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); /* SQLite's own files take its mode */
    if (fd == -1)
        return err_from_errno(errno);
    (void)close(fd);
    sqlite3 *at = NULL;
    int code = connect_writer(s, path);
    if (code != SQLITE_OK) {
        at = s->writer;
    } else {
        code = connect_reader(s, path);
        at = s->reader;
    }
    for (size_t i = 0; i < N_STATEMENTS && code == SQLITE_OK; i++) {
        at = i == ST_WHY ? s->reader : s->writer;
        code = sqlite3_prepare_v3(at, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL);
    }
    enum err err = err_of(at, code);
    if (err != ERR_OK)
        disconnect(s);
    return err;
}

/* Out of the way, for people to look at; the first free number, or over the last one. */
static enum err set_aside(struct store *s)
{
    char from[PATH_MAX_OURS], to[PATH_MAX_OURS], name[64] = "";
    for (unsigned i = 1; i <= DAMAGED_MAX; i++) {
        (void)snprintf(name, sizeof name, "journal.damaged-%u.db", i);
        if (!path_of(s, name, to, sizeof to))
            return ERR_TOO_BIG;
        if (access(to, F_OK) == -1)
            break;
    }
    if (!path_of(s, "journal.db", from, sizeof from))
        return ERR_TOO_BIG;
    if (rename(from, to) == -1 && errno != ENOENT)
        return err_from_errno(errno);
    (void)snprintf(from, sizeof from, "%s/journal.db-wal", s->folder);
    (void)snprintf(to, sizeof to, "%s/%s-wal", s->folder, name);
    if (rename(from, to) == -1 && errno != ENOENT) /* it must not become the new file's log */
        return err_from_errno(errno);
    (void)snprintf(from, sizeof from, "%s/journal.db-shm", s->folder);
    if (unlink(from) == -1 && errno != ENOENT)
        return err_from_errno(errno);
    log_error(s->log, "journal.damaged", LC("folder", s->folder), LC("set_aside_as", name));
    return ERR_OK;
}

static enum err begin_anew(struct store *s)
{
    disconnect(s);
    enum err err = set_aside(s);
    if (err == ERR_OK)
        err = connect(s);
    if (err != ERR_OK)
        log_error(s->log, "journal.lost", LC("folder", s->folder), LERR(err));
    return err;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int run(sqlite3_stmt *st)
{
    int code = sqlite3_step(st);
    (void)sqlite3_reset(st);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int bind_text(sqlite3_stmt *st, int at, struct str s)
{
    s = str_slice(s, 0, JOURNAL_TEXT_MAX);
    return sqlite3_bind_blob64(st, at, s.n == 0 ? "" : s.p, s.n, SQLITE_STATIC);
}

static int insert(struct store *s, const struct journal_line *l)
{
    if (!s->is_open) {
        int code = run(s->st[ST_BEGIN]);
        if (code != SQLITE_OK)
            return code;
        s->is_open = true;
    }
    sqlite3_stmt *st = s->st[ST_ADD];
    if (sqlite3_bind_int64(st, 1, (int64_t)l->wall_ms) != SQLITE_OK ||
        sqlite3_bind_int64(st, 2, l->kind) != SQLITE_OK ||
        sqlite3_bind_text(st, 3, l->role == NULL ? "" : l->role, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_int64(st, 4, (int64_t)l->id) != SQLITE_OK ||
        sqlite3_bind_int64(st, 5, (int64_t)l->other_id) != SQLITE_OK ||
        sqlite3_bind_int64(st, 6, (int64_t)l->number) != SQLITE_OK ||
        bind_text(st, 7, l->rcpt) != SQLITE_OK || bind_text(st, 8, l->host) != SQLITE_OK ||
        bind_text(st, 9, l->text) != SQLITE_OK ||
        sqlite3_bind_text64(st, 10, l->class.n == 0 ? "" : l->class.p, l->class.n, SQLITE_STATIC,
                            SQLITE_UTF8) != SQLITE_OK)
        return SQLITE_NOMEM;
    int code = run(st);
    (void)sqlite3_clear_bindings(st);
    return code;
}

static void journal_add(void *self, const struct journal_line *l)
{
    struct store *s = self;
    enum err err = s->writer == NULL ? ERR_CORRUPT : err_of(s->writer, insert(s, l));
    if (err == ERR_OK)
        return;
    s->n_lost++;
    if (s->batch_err == ERR_OK)
        s->batch_err = err;
}

static enum err journal_flush(void *self)
{
    struct store *s = self;
    enum err err = s->batch_err;
    if (s->is_open) {
        int code = run(s->st[ST_COMMIT]);
        if (code != SQLITE_OK) {
            if (err == ERR_OK)
                err = err_of(s->writer, code);
            (void)run(s->st[ST_ROLLBACK]);
        }
        s->is_open = false;
    }
    if (err != ERR_OK)
        log_error(s->log, "journal.lines_lost", LERR(err), LU("refused", s->n_lost));
    s->batch_err = ERR_OK;
    s->n_lost = 0;
    enum err again = err;
    if (s->writer == NULL) /* an earlier new beginning failed */
        again = connect(s);
    if (again == ERR_CORRUPT)
        (void)begin_anew(s);
    return err;
}

static struct str column(sqlite3_stmt *st, int i)
{
    const void *p = sqlite3_column_blob(st, i);
    return p == NULL ? STR_NIL : str_of(p, (size_t)sqlite3_column_bytes(st, i));
}

static enum err journal_why(void *self, uint64_t id, size_t n_max,
                            void (*fn)(void *arg, const struct journal_line *l), void *arg)
{
    struct store *s = self;
    if (s->is_open) /* what was added before the question belongs to the answer */
        (void)journal_flush(s);
    if (s->reader == NULL)
        return ERR_CORRUPT;
    sqlite3_stmt *st = s->st[ST_WHY];
    s->budget = WHY_BUDGET;
    if (sqlite3_bind_int64(st, 1, (int64_t)id) != SQLITE_OK ||
        sqlite3_bind_int64(st, 2, n_max > INT32_MAX ? INT32_MAX : (int64_t)n_max) != SQLITE_OK ||
        sqlite3_bind_int64(st, 3, FAMILY_MAX) != SQLITE_OK)
        return ERR_NOMEM;
    int code = id == 0 ? SQLITE_DONE : sqlite3_step(st);
    while (code == SQLITE_ROW) {
        const char *role = (const char *)sqlite3_column_text(st, 3);
        struct journal_line l = {.seq = (uint64_t)sqlite3_column_int64(st, 0),
                                 .wall_ms = (uint64_t)sqlite3_column_int64(st, 1),
                                 .kind = (unsigned)sqlite3_column_int(st, 2),
                                 .role = role == NULL ? "" : role,
                                 .id = (uint64_t)sqlite3_column_int64(st, 4),
                                 .other_id = (uint64_t)sqlite3_column_int64(st, 5),
                                 .number = (uint64_t)sqlite3_column_int64(st, 6),
                                 .rcpt = column(st, 7),
                                 .host = column(st, 8),
                                 .text = column(st, 9),
                                 .class = column(st, 10)};
        fn(arg, &l);
        code = sqlite3_step(st);
    }
    enum err err = err_of(s->reader, code);
    (void)sqlite3_reset(st);
    if (err != ERR_CORRUPT)
        return err;
    (void)begin_anew(s);
    return ERR_CORRUPT;
}

/* Octets that lines take: pages in use. */
static int used_size(struct store *s, uint64_t *out)
{
    int64_t n = 0, n_free = 0, size = 0;
    int code = pragma_number(s->writer, "PRAGMA page_count", &n);
    if (code == SQLITE_OK)
        code = pragma_number(s->writer, "PRAGMA freelist_count", &n_free);
    if (code == SQLITE_OK)
        code = pragma_number(s->writer, "PRAGMA page_size", &size);
    *out = code == SQLITE_OK && n > n_free ? (uint64_t)(n - n_free) * (uint64_t)size : 0;
    return code;
}

static enum err journal_expire(void *self, uint64_t before_wall_ms)
{
    struct store *s = self;
    if (s->is_open)
        (void)journal_flush(s);
    if (s->writer == NULL)
        return ERR_CORRUPT;
    sqlite3_stmt *st = s->st[ST_EXPIRE];
    uint64_t size = 0;
    int64_t before = before_wall_ms > INT64_MAX ? INT64_MAX : (int64_t)before_wall_ms, n_gone = 0;
    (void)sqlite3_bind_int64(st, 1, before);
    (void)sqlite3_bind_int64(st, 2, JOURNAL_EXPIRE_CHUNK);
    int code = run(st);
    n_gone = sqlite3_changes(s->writer);
    if (code == SQLITE_OK)
        code = used_size(s, &size);
    if (code == SQLITE_OK && size > JOURNAL_SIZE_MAX) {
        st = s->st[ST_SHRINK];
        (void)sqlite3_bind_int64(st, 1, JOURNAL_EXPIRE_CHUNK);
        code = run(st);
        n_gone = JOURNAL_EXPIRE_CHUNK;
    }
    if (code == SQLITE_OK && n_gone > 0) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
        code = exec(s->writer, sql);
    }
    enum err err = err_of(s->writer, code);
    if (err == ERR_CORRUPT)
        (void)begin_anew(s);
    return err == ERR_OK && n_gone >= JOURNAL_EXPIRE_CHUNK / 2 ? ERR_AGAIN : err;
}

struct journal *journal_sqlite_open(const char *folder, const struct log *log, enum err *out_err)
{
    struct store *s = mem_new(struct store);
    *out_err = ERR_NOMEM;
    if (s == NULL)
        return NULL;
    s->folder = folder;
    s->log = log;
    s->journal = (struct journal){s, journal_add, journal_flush, journal_why, journal_expire};
    *out_err = connect(s);
    if (*out_err == ERR_CORRUPT)
        *out_err = begin_anew(s);
    if (*out_err == ERR_OK)
        return &s->journal;
    mem_free(s);
    return NULL;
}

void journal_sqlite_close(struct journal **jp)
{
    if (*jp == NULL)
        return;
    struct store *s = (*jp)->self;
    (void)journal_flush(s);
    disconnect(s);
    mem_free(s);
    *jp = NULL;
}
