#include "ext/sql_pg.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/pg_calls.h"
#include "ext/table_parts.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* A path that leads to no file: else libpq looks in the account's home. */
#define NO_FILE "/dev/null/none"

enum { TEXT_OID = 25 };

struct driver {
    struct table_driver base; /* first */
    struct pg_calls calls;    /* library NULL: it is not there */
    const char *anchors;
};
struct session {
    const struct pg_calls *calls;
    PGconn *conn;
    char query[];
};

static const char *const no_library =
    "libpq is not on this machine, or another one than this program was made for: install "
    "the package libpq5";

/* Errors come with the connection. */
static void ignore(void *arg, const char *message)
{
    UNUSED(arg);
    UNUSED(message);
}

/* false: time is over, or it broke. */
static bool wait_for(const struct session *s, short events, uint64_t due_ms, struct buf *why)
{
    int fd = s->calls->socket(s->conn), left = table_left(due_ms);
    struct pollfd p = {.fd = fd, .events = events};
    int n = fd < 0 || left == 0 ? 0 : poll(&p, 1, left);
    if (n > 0 || (n == -1 && errno == EINTR))
        return true;
    buf_puts(why, fd < 0 || n == -1 ? "the connection broke" : "no answer in time");
    return false;
}

static bool connect_in_time(const struct session *s, uint64_t due_ms, struct buf *why)
{
    const struct pg_calls *c = s->calls;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state == PGRES_POLLING_WRITING || state == PGRES_POLLING_READING) {
        if (!wait_for(s, state == PGRES_POLLING_WRITING ? POLLOUT : POLLIN, due_ms, why))
            return false;
        state = c->connectPoll(s->conn);
    }
    if (state == PGRES_POLLING_OK)
        return true;
    table_quote(why, c->errorMessage(s->conn));
    return false;
}

static PGconn *begin(const struct driver *d, const struct table_place *p)
{
    char address[NETADDR_TEXT_MAX], port[8];
    struct buf text;
    bool is_unix = p->at->kind == NETADDR_UNIX, is_tls = p->tls != TABLE_CLEAR;
    buf_init_fixed(&text, address, sizeof address);
    if (!is_unix)
        netaddr_format_ip(p->at, &text);
    if (!buf_putc(&text, '\0'))
        return NULL;
    (void)snprintf(port, sizeof port, "%u", is_unix ? 5432u : (unsigned)p->at->port);
    const struct {
        const char *key, *value;
    } all[] = {{"host", is_unix              ? p->at->path
                        : p->host[0] != '\0' ? p->host
                                             : address},
               {"hostaddr", address}, /* empty: there is none */
               {"port", port},
               {"user", p->user},
               {"password", p->password},
               {"dbname", p->place},
               {"sslmode", is_tls    ? "verify-full"
                           : is_unix ? "disable"
                                     : "prefer"},
               {"sslrootcert", is_tls ? d->anchors : NO_FILE},
               {"ssl_min_protocol_version", "TLSv1.2"},
               {"sslcert", NO_FILE},
               {"sslkey", NO_FILE},
               {"sslcrl", NO_FILE},
               {"passfile", NO_FILE},
               {"gssencmode", "disable"},
               {"client_encoding", "UTF8"},
               {"application_name", "waxwing"}};
    const char *keys[ARRAY_LEN(all) + 1], *values[ARRAY_LEN(all) + 1];
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        keys[i] = all[i].key;
        values[i] = all[i].value;
    }
    keys[ARRAY_LEN(all)] = values[ARRAY_LEN(all)] = NULL;
    return d->calls.connectStartParams(keys, values, 0);
}

static void session_close(void *session)
{
    struct session *s = session;
    if (s->conn != NULL)
        s->calls->finish(s->conn);
    mem_free(s);
}

static void *session_open(const struct table_driver *self, const struct table_place *p, uint32_t limit_ms,
                          struct buf *why)
{
    const struct driver *d = (const struct driver *)self;
    uint64_t due_ms = table_now_ms() + limit_ms;
    size_t n = strlen(p->question) + 1;
    if (d->calls.library == NULL) {
        buf_puts(why, no_library);
        return NULL;
    }
    struct session *s = mem_alloc(sizeof *s + n);
    if (s == NULL) {
        buf_puts(why, "no memory");
        return NULL;
    }
    s->calls = &d->calls;
    memcpy(s->query, p->question, n);
    s->conn = begin(d, p);
    if (s->conn != NULL && s->calls->status(s->conn) == CONNECTION_BAD)
        table_quote(why, s->calls->errorMessage(s->conn));
    else if (s->conn == NULL)
        buf_puts(why, "no memory");
    else if (connect_in_time(s, due_ms, why) && s->calls->setnonblocking(s->conn, 1) == 0) {
        (void)s->calls->setNoticeProcessor(s->conn, ignore, NULL);
        return s;
    }
    session_close(s);
    return NULL;
}

/* ---- questions ------------------------------------------------------------------------------- */

struct parameters { /* texts of C */
    char address[512], user[512], domain[512];
};

/* false: they can't be sent, and no user is called so. */
static bool take_names(const struct table_question *q, struct parameters *out)
{
    return str_to_c(q->address, out->address, sizeof out->address) &&
           str_to_c(q->user, out->user, sizeof out->user) &&
           str_to_c(q->domain, out->domain, sizeof out->domain);
}

static bool send(struct session *s, const struct parameters *p, uint64_t due_ms, struct buf *why)
{
    static const Oid types[] = {TEXT_OID, TEXT_OID, TEXT_OID};
    const char *const values[] = {p->address, p->user, p->domain};
    const struct pg_calls *c = s->calls;
    if (c->sendQueryParams(s->conn, s->query, ARRAY_LEN(values), types, values, NULL, NULL, 0) != 1 ||
        c->setSingleRowMode(s->conn) != 1) {
        table_quote(why, c->errorMessage(s->conn));
        return false;
    }
    int rest;
    while ((rest = c->flush(s->conn)) == 1) {
        if (!wait_for(s, POLLIN | POLLOUT, due_ms, why))
            return false;
        if (c->consumeInput(s->conn) == 0)
            break;
    }
    if (rest != 0)
        table_quote(why, c->errorMessage(s->conn));
    return rest == 0;
}

/* The next result, or NULL at the end. false: none came. */
static bool receive(struct session *s, uint64_t due_ms, PGresult **out, struct buf *why)
{
    const struct pg_calls *c = s->calls;
    while (c->isBusy(s->conn) != 0) {
        if (!wait_for(s, POLLIN, due_ms, why))
            return false;
        if (c->consumeInput(s->conn) == 0) {
            table_quote(why, c->errorMessage(s->conn));
            return false;
        }
    }
    *out = c->getResult(s->conn);
    return true;
}

static enum table_says take_row(const struct pg_calls *c, PGresult *r, struct buf *verifier, struct buf *why)
{
    if (c->nfields(r) != 1) {
        buf_printf(why, "the query gives %d columns, and not one", c->nfields(r));
        return TABLE_SAYS_NOTHING;
    }
    char *value = c->getvalue(r, 0, 0);
    int n = c->getisnull(r, 0, 0) ? 0 : c->getlength(r, 0, 0);
    bool fits = buf_put(verifier, str_of(value, n < 0 ? 0 : (size_t)n));
    secret_wipe(value, n < 0 ? 0 : (size_t)n);
    if (fits)
        return TABLE_SAYS_VERIFIER;
    buf_puts(why, "the verifier of this user can't be used: it is too long");
    return TABLE_SAYS_NOTHING;
}

/* One result more. false: nothing of use will come. */
static bool take_result(struct session *s, PGresult *r, unsigned *n_rows, enum table_says *says,
                        struct buf *verifier, struct buf *why)
{
    const struct pg_calls *c = s->calls;
    ExecStatusType status = c->resultStatus(r);
    if (status == PGRES_SINGLE_TUPLE && (*n_rows)++ == 0) {
        *says = take_row(c, r, verifier, why);
    } else if (status == PGRES_SINGLE_TUPLE) {
        buf_reset(why);
        buf_puts(why, "the query gives more than one row for this user");
        *says = TABLE_SAYS_NOTHING;
        return false;
    } else if (status == PGRES_TUPLES_OK) {
        if (*n_rows == 0)
            *says = TABLE_SAYS_NOBODY;
    } else {
        if (status == PGRES_COMMAND_OK)
            buf_puts(why, "the query gives no rows: it is no SELECT");
        else
            table_quote(why, c->resultErrorMessage(r));
        *says = TABLE_SAYS_NOTHING;
        return status == PGRES_COMMAND_OK || status == PGRES_FATAL_ERROR;
    }
    return true;
}

static enum table_says session_ask(void *session, const struct table_question *q, uint32_t limit_ms,
                                   bool *is_broken, struct buf *verifier, struct buf *why)
{
    struct session *s = session;
    uint64_t due_ms = table_now_ms() + limit_ms;
    enum table_says says = TABLE_SAYS_NOTHING;
    unsigned n_rows = 0;
    PGresult *r = NULL;
    struct parameters names;
    if (!take_names(q, &names))
        return TABLE_SAYS_NOBODY;
    bool ok = send(s, &names, due_ms, why);
    while (ok && (ok = receive(s, due_ms, &r, why)) && r != NULL) {
        ok = take_result(s, r, &n_rows, &says, verifier, why);
        s->calls->clear(r);
    }
    *is_broken = !ok || s->calls->status(s->conn) != CONNECTION_OK;
    return ok ? says : TABLE_SAYS_NOTHING;
}

/* ---- the library ----------------------------------------------------------------------------- */

struct table_driver *sql_pg_new(const char *anchors)
{
    struct driver *d = mem_new(struct driver);
    if (d == NULL)
        return NULL;
    d->base = (struct table_driver){.open = session_open, .ask = session_ask, .close = session_close};
    d->anchors = anchors;
    void *library = d->calls.library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;
#define X(name) ok = ok && table_symbol(library, "PQ" #name, &d->calls.name, sizeof d->calls.name);
    PG_CALLS(X)
#undef X
    if (!ok && library != NULL)
        (void)dlclose(library);
    if (!ok)
        d->calls.library = NULL;
    return &d->base;
}

void sql_pg_del(struct table_driver *base)
{
    struct driver *d = (struct driver *)base;
    if (d != NULL && d->calls.library != NULL)
        (void)dlclose(d->calls.library);
    mem_free(d);
}
