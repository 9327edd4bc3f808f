/* io/tls_world.c: what one world has once of TLS.
 *
 * The library context is ours alone: no configuration file is read, and what other code in the process does
 * with the library does not reach it. Nothing in it opens a file, so it may be made inside the sandbox.
 */
#include "io/tls.h"

#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

static void world_free(struct tls_world *t)
{
    BIO_meth_free(t->bio);
    if (t->ours != NULL)
        (void)OSSL_PROVIDER_unload(t->ours);
    if (t->theirs != NULL)
        (void)OSSL_PROVIDER_unload(t->theirs);
    OSSL_LIB_CTX_free(t->lib);
    idmap_fini(&t->signing);
    mem_free(t);
}

struct tls_world *tls_world_get(struct io_world *w)
{
    unsigned char drawn[16];
    if (w->tls != NULL)
        return w->tls;
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return NULL;
    struct tls_world *t = mem_new(struct tls_world);
    if (t == NULL)
        return NULL;
    if (!idmap_init(&t->signing)) {
        mem_free(t);
        return NULL;
    }
    t->io = w;
    list_init(&t->waiting);
    list_init(&t->lingering);
    t->lib = OSSL_LIB_CTX_new();
    t->bio = tls_bio_method();
    if (t->lib != NULL && tls_provider_add(t->lib)) {
        t->theirs = OSSL_PROVIDER_load(t->lib, "default");
        t->ours = OSSL_PROVIDER_load(t->lib, "waxwing");
    }
    /* all but signatures of our keys is the default provider's; the generator gets its seed now */
    if (t->bio == NULL || t->theirs == NULL || t->ours == NULL ||
        EVP_set_default_properties(t->lib, "?provider=default") != 1 ||
        RAND_bytes_ex(t->lib, drawn, sizeof drawn, 0) != 1 ||
        RAND_priv_bytes_ex(t->lib, drawn, sizeof drawn, 0) != 1) {
        world_free(t);
        return NULL;
    }
    w->tls = t;
    return t;
}

void tls_world_del(struct io_world *w)
{
    struct tls_world *t = w->tls;
    if (t == NULL)
        return;
    for (struct list *l = list_pop_front(&t->lingering); l != NULL; l = list_pop_front(&t->lingering))
        tls_give_up(list_entry(l, struct tls_conn, lingering));
    must(t->n_contexts == 0 && t->signing.n == 0 && list_is_empty(&t->waiting));
    w->tls = NULL;
    world_free(t);
}

static void io_tls_set_signer(struct world *base, const struct tls_signer *s)
{
    struct tls_world *t = tls_world_get(io_of(base));
    must(t != NULL); /* roles do this when they start */
    t->signer = *s;
}

const struct world_tls_ops io_tls_ops = {
    .set_signer = io_tls_set_signer,
    .tls_signed = io_tls_signed,
    .server = io_tls_server,
    .client = io_tls_client,
    .context_keep = io_tls_context_keep,
    .context_release = io_tls_context_release,
    .context_is_for = io_tls_context_is_for,
    .context_prove = io_tls_context_prove,
    .context_prove_none = io_tls_context_prove_none,
    .start = io_tls_start,
    .facts = io_tls_facts,
    .fault = io_tls_fault,
    .exporter = io_tls_exporter,
    .server_end_point = io_tls_server_end_point,
    .session = io_tls_session,
    .session_free = io_tls_session_free,
};
