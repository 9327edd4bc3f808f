#include "base/world_tls.h"

static const struct world_tls_ops *tls_of(const struct world_ops *ops)
{
    must(ops != NULL && ops->tls != NULL);
    return ops->tls;
}

/* Every object begins with its table; see struct world_object. */
static const struct world_tls_ops *ops_of(const void *object)
{
    const struct world_object *o = object;
    must(o != NULL);
    return tls_of(o->ops);
}

void world_tls_set_signer(struct world *w, const struct tls_signer *s)
{
    static const struct tls_signer none;
    tls_of(w->ops)->set_signer(w, s != NULL ? s : &none);
}

void world_tls_signed(struct world *w, uint64_t token, enum err err, struct str signature)
{
    tls_of(w->ops)->tls_signed(w, token, err, signature);
}

struct tls_context *world_tls_server(struct world *w, const struct tls_server_conf *conf, struct buf *why)
{
    return tls_of(w->ops)->server(w, conf, why);
}

struct tls_context *world_tls_client(struct world *w, const struct tls_client_conf *conf, struct buf *why)
{
    return tls_of(w->ops)->client(w, conf, why);
}

struct tls_context *tls_context_keep(struct tls_context *t)
{
    return ops_of(t)->context_keep(t);
}

void tls_context_release(struct tls_context **t)
{
    struct tls_context *gone = *t;
    *t = NULL;
    if (gone != NULL)
        ops_of(gone)->context_release(gone);
}

bool tls_context_is_for(const struct tls_context *t, struct str host)
{
    return ops_of(t)->context_is_for(t, host);
}

enum err tls_context_prove(struct tls_context *t, struct str name, const unsigned char digest[32])
{
    return ops_of(t)->context_prove(t, name, digest);
}

void tls_context_prove_none(struct tls_context *t)
{
    ops_of(t)->context_prove_none(t);
}

enum err conn_tls_start(struct conn *c, bool is_server, const struct tls_start *start,
                        void (*fn)(void *arg, struct conn *c, enum err err, struct str why), void *arg)
{
    must(start->context != NULL && fn != NULL);
    return ops_of(c)->start(c, is_server, start, fn, arg);
}

const struct tls_facts *conn_tls(const struct conn *c)
{
    return ops_of(c)->facts(c);
}

enum tls_fault conn_tls_fault(const struct conn *c)
{
    return ops_of(c)->fault(c);
}

bool conn_tls_exporter(const struct conn *c, unsigned char out[32])
{
    return ops_of(c)->exporter(c, out);
}

bool conn_tls_server_end_point(const struct conn *c, unsigned char out[64], size_t *n_out)
{
    return ops_of(c)->server_end_point(c, out, n_out);
}

struct tls_session *conn_tls_session(struct conn *c)
{
    return ops_of(c)->session(c);
}

void tls_session_free(struct tls_session **s)
{
    struct tls_session *gone = *s;
    *s = NULL;
    if (gone != NULL)
        ops_of(gone)->session_free(gone);
}
