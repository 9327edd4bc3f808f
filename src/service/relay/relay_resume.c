/* service/relay/relay_resume.c: sessions of TLS that the next connection to the same server goes on with: it
 * is spared the certificates, and the server a signature.
 *
 * Owns:     one session a server and what its certificate had to be for; each serves once (RFC 8446 C.4).
 * Limits:   RELAY_RESUME_MAX, the least recent goes first; none is older than RELAY_RESUME_MS.
 * Security: never with DANE, whose records may have changed since, and never where we log in, so that channel
 *           bindings are those of a whole handshake. A session of another context (other authorities, another
 *           certificate of ours) is not used, and io/tls_shake.c looks at trust and names again.
 */
#include "base/mem.h"
#include "service/relay/relay.h"

struct kept_session {
    struct idmap_node by_server;
    struct list by_age;
    uint64_t at_ms;
    struct tls_session *session;
};

static bool may_resume(const struct link *k)
{
    return k->verdict.level != TLS_LEVEL_DANE && !k->is_dane && k->user[0] == '\0';
}

/* By name, address and port, and what the certificate was checked for. Two servers with one hash: the session
 * means nothing to the other one, which then makes a new one. */
static uint64_t server_of(const struct link *k)
{
    const struct relay *r = k->relay;
    uint64_t hash = str_ihash(str_from_c(k->host), r->seed);
    hash = str_ihash(str_of(k->names, k->names_n), hash);
    hash = str_ihash(k->job->certificate, hash);
    return hash ^ (uint64_t)k->verdict.level ^ (uint64_t)k->verdict.names << 8;
}

static void drop(struct relay *r, struct kept_session *s)
{
    (void)idmap_remove(&r->sessions, s->by_server.id);
    list_remove(&s->by_age);
    tls_session_free(&s->session);
    mem_free(s);
}

static struct kept_session *find(const struct relay *r, uint64_t server)
{
    struct idmap_node *n = idmap_find(&r->sessions, server);
    return n == NULL ? NULL : container_of(n, struct kept_session, by_server);
}

void relay_resume_keep(struct link *k)
{
    struct relay *r = k->relay;
    if (!k->is_encrypted || k->job == NULL || !may_resume(k))
        return;
    struct tls_session *session = conn_tls_session(k->conn);
    if (session == NULL)
        return;
    uint64_t server = server_of(k);
    struct kept_session *s = find(r, server);
    if (s != NULL)
        drop(r, s);
    if (r->sessions.n >= RELAY_RESUME_MAX)
        drop(r, list_entry(r->sessions_by_age.next, struct kept_session, by_age));
    s = mem_new(struct kept_session);
    if (s == NULL) {
        tls_session_free(&session);
        return; /* then the next handshake is a whole one */
    }
    s->session = session;
    s->at_ms = world_now_ms(r->world);
    idmap_insert(&r->sessions, &s->by_server, server);
    list_push_back(&r->sessions_by_age, &s->by_age);
}

struct tls_session *relay_resume_take(struct link *k)
{
    struct relay *r = k->relay;
    struct kept_session *s = may_resume(k) ? find(r, server_of(k)) : NULL;
    if (s == NULL)
        return NULL;
    bool is_fresh = world_now_ms(r->world) - s->at_ms < RELAY_RESUME_MS;
    struct tls_session *session = is_fresh ? s->session : NULL;
    if (is_fresh)
        s->session = NULL;
    drop(r, s);
    return session;
}

void relay_resume_clear(struct relay *r)
{
    while (!list_is_empty(&r->sessions_by_age))
        drop(r, list_entry(r->sessions_by_age.next, struct kept_session, by_age));
}
