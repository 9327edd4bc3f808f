#include "service/boot/signer.h"

#include "base/mem.h"
#include "base/world_tls.h"

struct open_sign {
    struct idmap_node by_token;
};

static void sign(void *arg, const struct tls_sign *what)
{
    struct signer *s = arg;
    struct open_sign *o = *s->keys != NULL && s->open.n < SIGNER_OPEN_MAX ? mem_new(struct open_sign) : NULL;
    struct ipc_sign_ask m = {.token = what->token,
                             .key = what->key,
                             .scheme = (uint8_t)what->scheme,
                             .digest = (uint8_t)what->digest,
                             .octets = what->octets};
    if (o == NULL || ipc_send_sign_ask(*s->keys, &m, NULL) != ERR_OK) {
        mem_free(o);
        world_tls_signed(s->world, what->token, ERR_AGAIN, STR_NIL);
        return;
    }
    idmap_insert(&s->open, &o->by_token, what->token);
}

void signer_init(struct signer *s, struct world *w, struct channel **keys)
{
    *s = (struct signer){.world = w, .keys = keys};
    must(idmap_init(&s->open));
}

void signer_set(struct signer *s)
{
    if (!s->is_set)
        world_tls_set_signer(s->world, &(struct tls_signer){.arg = s, .sign = sign});
    s->is_set = true;
}

void signer_on_answer(struct signer *s, const struct ipc_sign_answer *m)
{
    struct idmap_node *n = idmap_remove(&s->open, m->token);
    if (n == NULL)
        return;
    mem_free(container_of(n, struct open_sign, by_token));
    enum err e = m->err <= ERR_TLS ? (enum err)m->err : ERR_INVALID;
    if (e == ERR_OK && m->signature.n == 0)
        e = ERR_INVALID;
    world_tls_signed(s->world, m->token, e, m->signature);
}

static void fail(struct idmap_node *n, void *arg)
{
    struct signer *s = arg;
    uint64_t token = n->id;
    mem_free(container_of(n, struct open_sign, by_token));
    world_tls_signed(s->world, token, ERR_CLOSED, STR_NIL);
}

static void fail_all(struct signer *s)
{
    struct idmap open = s->open;
    must(idmap_init(&s->open)); /* what fails may ask again meanwhile */
    idmap_each(&open, fail, s);
    idmap_fini(&open);
}

void signer_keys_lost(struct signer *s)
{
    *s->keys = NULL;
    fail_all(s);
}

void signer_fini(struct signer *s)
{
    if (s->is_set)
        world_tls_set_signer(s->world, NULL);
    fail_all(s);
    idmap_fini(&s->open);
}
