/* service/relay/relay_cert.c: our own certificates for next hops that ask for one: a context of TLS for each,
 * and the signatures of their keys, which the keys role makes.
 *
 * Limits: RELAY_SIGNS_MAX open signatures.
 * Errors: a job whose certificate is not in force waits. A new one that can't be used leaves the old one in
 *         force. Without the keys role each handshake that needs a signature fails, and its mail waits.
 */
#include "base/mem.h"
#include "service/relay/relay.h"

/* ---- contexts ------------------------------------------------------------------------------------ */

static struct relay_cert *find(const struct relay *r, struct str name)
{
    list_each (l, &r->certs) {
        struct relay_cert *c = list_entry(l, struct relay_cert, link);
        if (str_eq(str_of(c->name, c->n_name), name))
            return c;
    }
    return NULL;
}

static void forget(struct relay_cert *c)
{
    list_remove(&c->link);
    tls_context_release(&c->tls);
    tls_context_release(&c->tls_any);
    mem_free(c);
}

static struct relay_cert *add(struct relay *r, struct str name)
{
    struct relay_cert *c = mem_alloc(sizeof *c + name.n);
    if (c == NULL)
        return NULL;
    *c = (struct relay_cert){.n_name = name.n};
    for (size_t i = 0; i < name.n; i++)
        c->name[i] = name.p[i];
    list_push_back(&r->certs, &c->link);
    return c;
}

/* Both contexts, or neither. */
static bool make_contexts(struct relay *r, struct relay_cert *c, const struct role_certificate *have)
{
    struct tls_certificate ours = {.chain = have->chain, .key = have->key};
    struct tls_context *strict = relay_tls_context(r, &ours, false, r->tls);
    struct tls_context *any = strict == NULL ? NULL : relay_tls_context(r, &ours, true, r->tls);
    if (any == NULL) {
        tls_context_release(&strict);
        return false;
    }
    tls_context_release(&c->tls);
    tls_context_release(&c->tls_any);
    c->tls = strict;
    c->tls_any = any;
    return true;
}

static void sign(void *arg, const struct tls_sign *s);

void relay_cert_take(struct relay *r, size_t i)
{
    const struct role_certificate *have = &r->env->certificates[i];
    struct relay_cert *c = find(r, have->name);
    if (r->tls == NULL || (have->uses & KEY_USE_CLIENT) == 0)
        return;
    if (!have->is_there) {
        if (c != NULL)
            forget(c);
        return;
    }
    if (!r->has_signer)
        world_tls_set_signer(r->world, &(struct tls_signer){.arg = r, .sign = sign});
    r->has_signer = true;
    if (c == NULL && (c = add(r, have->name)) == NULL) {
        log_error(r->world->log, "relay.certificate", LS("file", have->name), LC("why", "no memory"));
        return;
    }
    if (!make_contexts(r, c, have) && c->tls == NULL)
        forget(c); /* why was told */
}

void relay_certs_setup(struct relay *r)
{
    for (size_t i = 0; i < r->env->n_certificates; i++)
        relay_cert_take(r, i);
}

/* The place of one may be another's after a reload: the configuration is asked, not the places. */
void relay_certs_prune(struct relay *r)
{
    const struct config *c = r->env->config;
    list_each (l, &r->certs) {
        struct relay_cert *x = list_entry(l, struct relay_cert, link);
        size_t i = 0;
        while (i < c->n_client_certificates &&
               !str_eq(c->client_certificates[i].cert, str_of(x->name, x->n_name)))
            i++;
        if (i == c->n_client_certificates)
            forget(x);
    }
}

struct tls_context *relay_cert_context(const struct relay *r, struct str name, bool any)
{
    if (name.n == 0)
        return any ? r->tls_any : r->tls;
    const struct relay_cert *c = find(r, name);
    return c == NULL ? NULL : any ? c->tls_any : c->tls;
}

/* ---- signatures ---------------------------------------------------------------------------------- */

struct open_sign {
    struct idmap_node by_token;
};

static void sign(void *arg, const struct tls_sign *s)
{
    struct relay *r = arg;
    struct open_sign *o = r->keys != NULL && r->signs.n < RELAY_SIGNS_MAX ? mem_new(struct open_sign) : NULL;
    struct ipc_sign_ask m = {.token = s->token,
                             .key = s->key,
                             .scheme = (uint8_t)s->scheme,
                             .digest = (uint8_t)s->digest,
                             .octets = s->octets};
    if (o == NULL || ipc_send_sign_ask(r->keys, &m, NULL) != ERR_OK) {
        mem_free(o);
        world_tls_signed(r->world, s->token, ERR_AGAIN, STR_NIL);
        return;
    }
    idmap_insert(&r->signs, &o->by_token, s->token);
}

void relay_cert_on_sign(struct relay *r, const struct ipc_sign_answer *m)
{
    struct idmap_node *n = idmap_remove(&r->signs, m->token);
    if (n == NULL)
        return;
    mem_free(container_of(n, struct open_sign, by_token));
    enum err e = m->err <= ERR_TLS ? (enum err)m->err : ERR_INVALID;
    if (e == ERR_OK && m->signature.n == 0)
        e = ERR_INVALID;
    world_tls_signed(r->world, m->token, e, m->signature);
}

static void fail_sign(struct idmap_node *n, void *arg)
{
    struct relay *r = arg;
    uint64_t token = n->id;
    mem_free(container_of(n, struct open_sign, by_token));
    world_tls_signed(r->world, token, ERR_CLOSED, STR_NIL);
}

void relay_cert_keys_lost(struct relay *r)
{
    struct idmap open = r->signs;
    r->keys = NULL;
    must(idmap_init(&r->signs)); /* what fails may ask again meanwhile */
    idmap_each(&open, fail_sign, r);
    idmap_fini(&open);
}

void relay_certs_fini(struct relay *r)
{
    if (r->has_signer)
        world_tls_set_signer(r->world, NULL);
    relay_cert_keys_lost(r);
    idmap_fini(&r->signs);
    list_each (l, &r->certs)
        forget(list_entry(l, struct relay_cert, link));
}
