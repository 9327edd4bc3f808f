/* service/relay/relay_cert.c: our own certificates for next hops that ask for one: a context of TLS for each.
 * Signatures come by service/boot/signer.h.
 *
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
    signer_set(&r->signer);
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

void relay_certs_fini(struct relay *r)
{
    signer_fini(&r->signer);
    list_each (l, &r->certs)
        forget(list_entry(l, struct relay_cert, link));
}
