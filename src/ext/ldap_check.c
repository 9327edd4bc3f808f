#include "ext/ldap_check.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/ldap_calls.h"
#include "ext/table_parts.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { FILTER_MAX = 8192, ENTRIES_WANTED = 2 };

struct driver {
    struct table_driver base; /* first */
    struct ldap_calls calls;  /* library NULL: it is not there */
    const char *anchors;
};
struct session {
    const struct driver *driver;
    struct netaddr at;
    enum table_tls tls;
    LDAP *ours;   /* searches */
    LDAP *theirs; /* takes passwords to the server; NULL until one has to be */
    const char *host, *base, *filter;
    char texts[];
};

static const char *const no_library =
    "libldap is not on this machine, or another one than this program was made for: install "
    "the package libldap-2.5-0";

/* ---- the filter ------------------------------------------------------------------------------ */

static void put_escaped(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '*' || c == '(' || c == ')' || c == '\\')
            buf_printf(out, "\\%02x", (unsigned)c);
        else
            buf_putc(out, s.p[i]);
    }
}

bool ldap_check_filter(const char *filter, struct str user, struct str domain, struct buf *out)
{
    for (const char *p = filter; *p != '\0'; p++) {
        if (*p != '%' || p[1] == '\0') {
            buf_putc(out, *p);
            continue;
        }
        p++;
        if (*p == 'u')
            put_escaped(user, out);
        else if (*p == 'd')
            put_escaped(domain, out);
        else
            buf_putc(out, *p);
    }
    return buf_putc(out, '\0') && !out->failed;
}

/* ---- connections ----------------------------------------------------------------------------- */

/* What went wrong, and what the library or the server says of it. */
static void complain(const struct session *s, LDAP *ld, const char *what, int rc, struct buf *why)
{
    const struct ldap_calls *c = &s->driver->calls;
    char *more = NULL;
    buf_printf(why, "%s: ", what);
    table_quote(why, c->err2string(rc));
    if (ld != NULL && c->get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more) == LDAP_OPT_SUCCESS &&
        more != NULL && more[0] != '\0') {
        buf_puts(why, " (");
        table_quote(why, more);
        buf_putc(why, ')');
    }
    if (more != NULL)
        c->memfree(more);
}

static void drop(const struct session *s, LDAP **ld)
{
    if (*ld != NULL)
        (void)s->driver->calls.unbind_ext(*ld, NULL, NULL);
    *ld = NULL;
}

/* The answer to a message that was sent: what the server says of it. The library's own errors are below zero.
 */
static int wait_result(const struct session *s, LDAP *ld, int id, uint64_t due_ms, LDAPMessage **out)
{
    const struct ldap_calls *c = &s->driver->calls;
    int left = table_left(due_ms), rc = LDAP_OTHER, parsed;
    struct timeval t = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
    LDAPMessage *m = NULL;
    int kind = left == 0 ? 0 : c->result(ld, id, LDAP_MSG_ALL, &t, &m);
    if (kind == 0)
        return LDAP_TIMEOUT;
    if (kind < 0) {
        (void)c->get_option(ld, LDAP_OPT_RESULT_CODE, &rc);
        return rc == LDAP_SUCCESS ? LDAP_SERVER_DOWN : rc;
    }
    char *text = NULL;
    parsed = c->parse_result(ld, m, &rc, NULL, &text, NULL, NULL, 0);
    if (text != NULL) {
        (void)c->set_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, text);
        c->memfree(text);
    }
    if (out != NULL)
        *out = m;
    else
        (void)c->msgfree(m);
    return parsed == LDAP_SUCCESS ? rc : parsed;
}

static int bind_as(const struct session *s, LDAP *ld, const char *dn, struct str password, uint64_t due_ms)
{
    struct berval secret = {.bv_len = password.n, .bv_val = NULL};
    char mem[2048];
    int id = -1;
    if (password.n >= sizeof mem)
        return LDAP_INVALID_CREDENTIALS;
    if (password.n > 0)
        memcpy(mem, password.p, password.n);
    mem[password.n] = '\0';
    secret.bv_val = mem;
    int rc = s->driver->calls.sasl_bind(ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, &id);
    secret_wipe(mem, sizeof mem);
    return rc == LDAP_SUCCESS ? wait_result(s, ld, id, due_ms, NULL) : rc;
}

static bool set_options(const struct session *s, LDAP *ld, uint64_t due_ms)
{
    const struct ldap_calls *c = &s->driver->calls;
    const int version = LDAP_VERSION3, never = LDAP_DEREF_NEVER, wanted = LDAP_OPT_X_TLS_HARD,
              oldest = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2, client = 0;
    const struct timeval t = {.tv_sec = table_left(due_ms) / 1000 + 1};
    bool ok = c->set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version) == LDAP_OPT_SUCCESS &&
              c->set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) == LDAP_OPT_SUCCESS &&
              c->set_option(ld, LDAP_OPT_DEREF, &never) == LDAP_OPT_SUCCESS &&
              c->set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &t) == LDAP_OPT_SUCCESS;
    if (!ok || s->tls == TABLE_CLEAR)
        return ok;
    return c->set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, s->driver->anchors) == LDAP_OPT_SUCCESS &&
           c->set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &wanted) == LDAP_OPT_SUCCESS &&
           c->set_option(ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &oldest) == LDAP_OPT_SUCCESS &&
           c->set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client) == LDAP_OPT_SUCCESS;
}

/* Its host is the name that the certificate must be for. */
static bool put_url(const struct session *s, struct buf *out)
{
    bool is_unix = s->at.kind == NETADDR_UNIX, is_six = s->at.kind == NETADDR_IP6 && s->host[0] == '\0';
    buf_puts(out, is_unix ? "ldapi://" : is_six ? "ldap://[" : "ldap://");
    if (s->host[0] != '\0')
        buf_puts(out, s->host);
    else if (!is_unix)
        netaddr_format_ip(&s->at, out);
    buf_puts(out, is_six ? "]/" : "/");
    return buf_putc(out, '\0') && !out->failed;
}

static int secure(const struct session *s, LDAP *ld, uint64_t due_ms)
{
    const struct ldap_calls *c = &s->driver->calls;
    int id = -1, rc = LDAP_SUCCESS;
    if (s->tls == TABLE_CLEAR)
        return LDAP_SUCCESS;
    if (s->tls == TABLE_STARTTLS && (rc = c->start_tls(ld, NULL, NULL, &id)) == LDAP_SUCCESS)
        rc = wait_result(s, ld, id, due_ms, NULL);
    return rc == LDAP_SUCCESS ? c->install_tls(ld) : rc;
}

/* A connection on which nobody is known yet, or NULL. */
static LDAP *connect_to(const struct session *s, uint64_t due_ms, struct buf *why)
{
    const struct ldap_calls *c = &s->driver->calls;
    char url[512];
    struct buf b;
    LDAP *ld = NULL;
    buf_init_fixed(&b, url, sizeof url);
    int fd = table_connect(&s->at, due_ms, why);
    if (fd == -1)
        return NULL;
    int proto = s->at.kind == NETADDR_UNIX ? LDAP_PROTO_IPC : LDAP_PROTO_TCP;
    int rc = put_url(s, &b) ? c->init_fd(fd, proto, url, &ld) : LDAP_PARAM_ERROR;
    if (rc != LDAP_SUCCESS) {
        (void)close(fd);
        complain(s, NULL, "can't use the connection", rc, why);
        return NULL;
    }
    rc = set_options(s, ld, due_ms) ? secure(s, ld, due_ms) : LDAP_LOCAL_ERROR;
    if (rc == LDAP_SUCCESS)
        return ld;
    complain(s, ld, s->tls == TABLE_CLEAR ? "can't use the connection" : "no TLS that can be trusted", rc,
             why);
    drop(s, &ld);
    return NULL;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void session_close(void *session)
{
    struct session *s = session;
    drop(s, &s->ours);
    drop(s, &s->theirs);
    mem_free(s);
}

static struct session *session_new(const struct driver *d, const struct table_place *p)
{
    const char *const from[] = {p->host, p->place, p->question};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(from); i++)
        n += strlen(from[i]) + 1;
    struct session *s = mem_alloc(sizeof *s + n);
    if (s == NULL)
        return NULL;
    *s = (struct session){.driver = d, .at = *p->at, .tls = p->tls};
    const char **const to[] = {&s->host, &s->base, &s->filter};
    char *at = s->texts;
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        size_t length = strlen(from[i]) + 1;
        memcpy(at, from[i], length);
        *to[i] = at;
        at += length;
    }
    return s;
}

static void *session_open(const struct table_driver *self, const struct table_place *p, uint32_t limit_ms,
                          struct buf *why)
{
    const struct driver *d = (const struct driver *)self;
    uint64_t due_ms = table_now_ms() + limit_ms;
    struct session *s = d->calls.library == NULL ? NULL : session_new(d, p);
    if (s == NULL) {
        buf_puts(why, d->calls.library == NULL ? no_library : "no memory");
        return NULL;
    }
    s->ours = connect_to(s, due_ms, why);
    int rc = s->ours == NULL || p->user[0] == '\0'
                 ? LDAP_SUCCESS
                 : bind_as(s, s->ours, p->user, str_from_c(p->password), due_ms);
    if (s->ours != NULL && rc == LDAP_SUCCESS)
        return s;
    if (s->ours != NULL)
        complain(s, s->ours, "the bind as whom it is searched by is refused", rc, why);
    session_close(s);
    return NULL;
}

/* The name of the one entry into *dn, which the caller frees. */
static enum table_says find(struct session *s, const struct table_question *q, uint64_t due_ms,
                            bool *is_broken, char **dn, struct buf *why)
{
    const struct ldap_calls *c = &s->driver->calls;
    static char no_attribute[] = LDAP_NO_ATTRS;
    char *attributes[] = {no_attribute, NULL};
    char filter[FILTER_MAX];
    struct buf b;
    LDAPMessage *m = NULL;
    int id = -1, left = table_left(due_ms);
    struct timeval t = {.tv_sec = left / 1000 + 1};
    buf_init_fixed(&b, filter, sizeof filter);
    if (!ldap_check_filter(s->filter, q->user, q->domain, &b)) {
        buf_puts(why, "the filter is too long for this user");
        return TABLE_SAYS_NOTHING;
    }
    int rc = c->search_ext(s->ours, s->base, LDAP_SCOPE_SUBTREE, filter, attributes, 0, NULL, NULL, &t,
                           ENTRIES_WANTED, &id);
    if (rc == LDAP_SUCCESS)
        rc = wait_result(s, s->ours, id, due_ms, &m);
    int n = m == NULL ? 0 : c->count_entries(s->ours, m);
    enum table_says says = TABLE_SAYS_NOTHING;
    if (n > 1)
        buf_puts(why, "the filter matches more than one entry for this user");
    else if (rc != LDAP_SUCCESS)
        complain(s, s->ours, "the search failed", rc, why);
    else if (n == 1 && (*dn = c->get_dn(s->ours, c->first_entry(s->ours, m))) == NULL)
        buf_puts(why, "no memory");
    else
        says = n == 1 ? TABLE_SAYS_YES : TABLE_SAYS_NO;
    if (m != NULL)
        (void)c->msgfree(m);
    *is_broken = rc < 0 && rc != LDAP_FILTER_ERROR;
    return says;
}

/* What kept `theirs` alive may have ended it: once more, then. */
static enum table_says prove(struct session *s, const char *dn, struct str password, uint64_t due_ms,
                             struct buf *why)
{
    int rc = LDAP_SERVER_DOWN;
    for (unsigned i = 0; i < 2 && rc < 0 && rc != LDAP_TIMEOUT; i++) {
        bool was_kept = s->theirs != NULL;
        buf_reset(why);
        if (!was_kept && (s->theirs = connect_to(s, due_ms, why)) == NULL)
            return TABLE_SAYS_NOTHING;
        rc = bind_as(s, s->theirs, dn, password, due_ms);
        if (rc != LDAP_SUCCESS && rc != LDAP_INVALID_CREDENTIALS)
            complain(s, s->theirs, "the bind as this user is refused", rc, why);
        if (rc < 0)
            drop(s, &s->theirs);
        if (!was_kept)
            break;
    }
    return rc == LDAP_SUCCESS                                                ? TABLE_SAYS_YES
           : rc == LDAP_INVALID_CREDENTIALS || rc == LDAP_INAPPROPRIATE_AUTH ? TABLE_SAYS_NO
                                                                             : TABLE_SAYS_NOTHING;
}

static enum table_says session_ask(void *session, const struct table_question *q, uint32_t limit_ms,
                                   bool *is_broken, struct buf *verifier, struct buf *why)
{
    struct session *s = session;
    uint64_t due_ms = table_now_ms() + limit_ms;
    char *dn = NULL;
    UNUSED(verifier);
    if (q->password.n == 0)
        return TABLE_SAYS_NO;
    enum table_says says = find(s, q, due_ms, is_broken, &dn, why);
    if (says == TABLE_SAYS_YES && dn[0] == '\0') {
        buf_puts(why, "the filter matches an entry without a name");
        says = TABLE_SAYS_NOTHING;
    }
    if (says == TABLE_SAYS_YES)
        says = prove(s, dn, q->password, due_ms, why);
    if (dn != NULL)
        s->driver->calls.memfree(dn);
    return says;
}

struct table_driver *ldap_check_new(const char *anchors)
{
    struct driver *d = mem_new(struct driver);
    if (d == NULL)
        return NULL;
    d->base = (struct table_driver){.open = session_open, .ask = session_ask, .close = session_close};
    d->anchors = anchors;
    (void)setenv("LDAPNOINIT", "1", 1); /* it reads no ldap.conf */
    void *library = d->calls.library = dlopen("libldap-2.5.so.0", RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;
#define X(name) ok = ok && table_symbol(library, "ldap_" #name, &d->calls.name, sizeof d->calls.name);
    LDAP_CALLS(X)
#undef X
    if (!ok && library != NULL)
        (void)dlclose(library);
    if (!ok)
        d->calls.library = NULL;
    return &d->base;
}

void ldap_check_del(struct table_driver *base)
{
    mem_free(base); /* the library stays: what it has made for itself nobody frees */
}
