/* io/tls_shake.c: the handshake.
 *
 * Where our side signs, each step of it runs as a job of the library on a small stack of its own. The
 * provider (tls_provider.c) leaves in the struct tls_shake what is to be signed and pauses the job; back on
 * the loop's stack the signer is asked; its answer posts a task that runs the job on. At most
 * TLS_SIGNATURES_OPEN_MAX jobs are paused in a world, others wait for their turn in order. A paused job is
 * always run to its end, also when its connection is closed: it is told that there is no signature, and
 * nobody hears what it says then.
 */
#include "io/tls.h"

#include "base/mem.h"

#include <openssl/async.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

static struct tls_world *world_of(const struct tls_shake *k)
{
    return k->tc->context->w;
}

/* ---- signatures ---- */

bool tls_shake_sign(struct tls_world *w, const struct tls_sign *s, unsigned char *out, size_t cap, size_t *n)
{
    struct tls_shake *k = w->current;
    if (k == NULL || ASYNC_get_current_job() == NULL)
        return false;
    if (s->octets.n > sizeof k->octets)
        k->sign_err = ERR_TOO_BIG;
    if (k->is_over || k->sign_err != ERR_OK)
        return false;
    k->ask = *s;
    memcpy(k->octets, s->octets.p, s->octets.n);
    k->ask.octets = str_of(k->octets, s->octets.n);
    k->ask.token = ++w->token;
    k->is_asked = k->is_answered = false;
    k->is_paused = true;
    while (!k->is_answered && !k->is_over) {
        if (ASYNC_pause_job() != 1) {
            k->is_paused = false;
            return false;
        }
    }
    if (k->is_over || k->sign_err != ERR_OK)
        return false;
    if (k->n_signature > cap) {
        k->sign_err = ERR_INVALID;
        return false;
    }
    memcpy(out, k->signature, k->n_signature);
    *n = k->n_signature;
    return true;
}

/* The job of k is not paused any more, or never again. */
static void unpause(struct tls_shake *k)
{
    struct tls_world *w = world_of(k);
    k->is_paused = false;
    must(w->n_paused > 0);
    w->n_paused--;
}

/* Another may have its turn. */
static void wake_next(struct tls_world *w)
{
    struct list *next = w->n_paused < TLS_SIGNATURES_OPEN_MAX ? list_pop_front(&w->waiting) : NULL;
    if (next != NULL)
        task_post(w->io, &list_entry(next, struct tls_shake, link)->tc->wake);
}

static void ask_signer(struct tls_shake *k)
{
    struct tls_world *w = world_of(k);
    k->is_asked = true;
    idmap_insert(&w->signing, &k->node, k->ask.token);
    if (w->signer.sign == NULL)
        io_tls_signed(&w->io->base, k->ask.token, ERR_NOTFOUND, STR_NIL);
    else
        w->signer.sign(w->signer.arg, &k->ask);
}

void io_tls_signed(struct world *base, uint64_t token, enum err err, struct str signature)
{
    struct io_world *io = io_of(base);
    struct idmap_node *node = io->tls == NULL ? NULL : idmap_remove(&io->tls->signing, token);
    if (node == NULL)
        return;
    struct tls_shake *k = container_of(node, struct tls_shake, node);
    bool fits = signature.n > 0 && signature.n <= sizeof k->signature;
    k->is_asked = false;
    k->is_answered = true;
    k->sign_err = err != ERR_OK ? err : fits ? ERR_OK : ERR_INVALID;
    if (k->sign_err == ERR_OK) {
        memcpy(k->signature, signature.p, signature.n);
        k->n_signature = signature.n;
    }
    task_post(io, &k->tc->wake);
}

/* ---- steps ---- */

/* The library's own word for how far it is, SSL_ERROR_NONE when it is done. */
static int run(struct tls_shake *k)
{
    struct tls_world *w = world_of(k);
    must(w->current == NULL);
    if (k->is_paused)
        unpause(k);
    w->current = k;
    ERR_clear_error();
    int done = SSL_do_handshake(k->tc->ssl);
    int error = SSL_get_error(k->tc->ssl, done);
    w->current = NULL;
    if (k->is_paused && error != SSL_ERROR_WANT_ASYNC) /* it could not be paused */
        k->is_paused = false;
    if (k->is_paused)
        w->n_paused++;
    wake_next(w);
    return error;
}

static void shake_free(struct tls_shake *k)
{
    struct tls_world *w = world_of(k);
    if (k->is_asked)
        (void)idmap_remove(&w->signing, k->node.id);
    list_remove(&k->link);
    wake_next(w); /* it may have been its turn */
    world_timer_cancel(&w->io->base, &k->deadline);
    explicit_bzero(k->signature, sizeof k->signature);
    k->tc->shake = NULL;
    mem_free(k->names);
    mem_free(k);
}

void tls_shake_abort(struct tls_conn *tc)
{
    struct tls_shake *k = tc->shake;
    if (k == NULL)
        return;
    k->is_over = true;
    if (k->is_paused) {
        tc->is_mute = true;
        int error = run(k);
        must(error != SSL_ERROR_WANT_ASYNC);
        ERR_clear_error();
    }
    shake_free(k);
}

/* The last use of k. */
static void finish(struct tls_shake *k, enum err err, struct str why)
{
    struct tls_conn *tc = k->tc;
    struct conn *c = tc->conn;
    void (*fn)(void *arg, struct conn *c, enum err err, struct str why) = k->fn;
    void *arg = k->arg;
    if (err != ERR_OK) {
        tls_shake_abort(tc);
        tc->end = err;
    } else {
        (void)SSL_clear_mode(tc->ssl, SSL_MODE_ASYNC);
        shake_free(k);
        tc->is_ready = SSL_has_pending(tc->ssl) == 1;
    }
    task_cancel(&tc->wake);
    source_touch(&c->source);
    fn(arg, c, err, why);
}

static void fail(struct tls_shake *k)
{
    char text[512];
    struct buf why;
    buf_init_fixed(&why, text, sizeof text);
    enum err err = tls_why(k->tc, k, &why);
    finish(k, err, buf_str(&why));
}

/* What the library leaves to us: a session that goes on was checked by whoever made it, maybe for less. */
static bool is_acceptable(const struct tls_shake *k, const struct tls_facts *f, struct str *why)
{
    if (k->check != TLS_CHECK_PKIX || (f->is_trusted && f->is_named))
        return true;
    k->tc->fault = f->is_trusted ? TLS_FAULT_NAME : TLS_FAULT_UNTRUSTED;
    *why = f->is_trusted ? STR("the certificate of the resumed session is for another name")
                         : STR("the certificate of the resumed session is not trusted");
    return false;
}

static void succeed(struct tls_shake *k)
{
    struct tls_conn *tc = k->tc;
    struct str why = STR_NIL;
    tc->facts = tls_facts_new(tc, k);
    if (tc->facts == NULL) {
        tc->fault = TLS_FAULT_OURS;
        finish(k, ERR_TLS, STR("no memory"));
        return;
    }
    if (!is_acceptable(k, tc->facts, &why)) {
        mem_free(tc->facts);
        tc->facts = NULL;
        finish(k, ERR_TLS, why);
        return;
    }
    finish(k, ERR_OK, STR_NIL);
}

void tls_shake_step(struct tls_shake *k)
{
    struct tls_conn *tc = k->tc;
    struct tls_world *w = world_of(k);
    if (k->is_paused && !k->is_answered)
        return;
    if (tc->context->is_signing && !k->is_paused && w->n_paused >= TLS_SIGNATURES_OPEN_MAX) {
        if (list_is_empty(&k->link))
            list_push_back(&w->waiting, &k->link);
        source_touch(&tc->conn->source);
        return;
    }
    list_remove(&k->link);
    source_touch(&tc->conn->source);
    switch (run(k)) {
    case SSL_ERROR_NONE:
        succeed(k);
        return;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        if (tc->write_err != ERR_OK)
            fail(k); /* what we said is lost: no answer can come */
        return;
    case SSL_ERROR_WANT_ASYNC:
        ask_signer(k);
        return;
    default: /* also when there is no memory for another job */
        fail(k);
    }
}

static void on_deadline(struct timer *t)
{
    struct tls_shake *k = container_of(t, struct tls_shake, deadline);
    k->tc->fault = k->is_paused || !list_is_empty(&k->link) ? TLS_FAULT_OURS : TLS_FAULT_HANDSHAKE;
    finish(k, ERR_TIMEOUT,
           k->is_paused               ? STR("no signature was made in time for the TLS handshake")
           : !list_is_empty(&k->link) ? STR("too many TLS handshakes wait for signatures")
                                      : STR("the other side did not finish the TLS handshake in time"));
}

/* ---- the start ---- */

static bool is_name(struct str s, bool may_start_with_dot)
{
    if (may_start_with_dot && s.n > 1 && s.p[0] == '.')
        s = str_skip(s, 1);
    return s.n > 0 && s.n <= DNS_NAME_MAX && !str_has_ctl(s) && s.p[0] != '.';
}

static enum err copy_names(struct tls_shake *k, const struct tls_start *s)
{
    size_t total = 0, n = 0;
    if (s->n_names > TLS_NAMES_MAX)
        return ERR_TOO_BIG;
    for (size_t i = 0; i < s->n_names; i++) {
        if (!is_name(s->names[i], true))
            return ERR_INVALID;
        total += s->names[i].n + 1;
    }
    if (total == 0)
        return ERR_OK;
    k->names = mem_alloc(total);
    if (k->names == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_names; i++) {
        memcpy(k->names + n, s->names[i].p, s->names[i].n);
        n += s->names[i].n + 1;
    }
    k->n_names = s->n_names;
    return ERR_OK;
}

static bool add_hosts(SSL *ssl, const struct tls_shake *k, unsigned flags)
{
    const char *name = k->names;
    SSL_set_hostflags(ssl,
                      flags | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS);
    for (size_t i = 0; i < k->n_names; i++, name += strlen(name) + 1) {
        if ((i == 0 ? SSL_set1_host(ssl, name) : SSL_add1_host(ssl, name)) != 1)
            return false;
    }
    return true;
}

/* The records that are usable here; RFC 7672 3.1.3 and 2.2 for those that are not. */
static bool add_tlsa(struct tls_shake *k, const struct tls_start *s)
{
    SSL *ssl = k->tc->ssl;
    bool is_on = false;
    for (size_t i = 0; i < s->n_tlsa && i < TLS_TLSA_MAX; i++) {
        const struct tls_tlsa *r = &s->tlsa[i];
        if ((r->usage != 2 && r->usage != 3) || r->data.n == 0)
            continue;
        if (!is_on && SSL_dane_enable(ssl, k->names) != 1)
            return false;
        is_on = true;
        if (SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, (const unsigned char *)r->data.p,
                              r->data.n) > 0)
            k->n_usable++;
    }
    ERR_clear_error();
    if (k->n_usable > 0)
        (void)SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    else
        (void)SSL_set1_host(ssl, NULL); /* the facts are of PKIX then, where names are a fact of their own */
    return true;
}

static enum err set_up_check(struct tls_shake *k, const struct tls_start *s)
{
    struct tls_conn *tc = k->tc;
    k->check = s->check;
    if (s->check != TLS_CHECK_NONE && k->n_names == 0)
        return ERR_INVALID; /* any name would do then */
    if (s->check == TLS_CHECK_DANE) {
        tc->is_dane = true;
        (void)SSL_set_options(tc->ssl, SSL_OP_NO_TICKET); /* what is resumed is not checked again */
        if (!add_tlsa(k, s))
            return ERR_NOMEM;
        if (k->n_usable == 0) /* and a DANE without records would be PKIX */
            k->check = TLS_CHECK_NONE;
        else if (!add_hosts(tc->ssl, k, 0)) /* RFC 7672 3.2.3: the CN counts where there is no DNS name */
            return ERR_NOMEM;
    } else if (s->check == TLS_CHECK_PKIX) {
        if (!add_hosts(tc->ssl, k, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)) /* RFC 9525 2 */
            return ERR_NOMEM;
    }
    SSL_set_verify(tc->ssl, k->check == TLS_CHECK_NONE ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    return ERR_OK;
}

static enum err set_up_client(struct tls_shake *k, const struct tls_start *s)
{
    SSL *ssl = k->tc->ssl;
    char name[DNS_NAME_MAX + 1];
    unsigned char alpn[64];
    enum err err = copy_names(k, s);
    if (err == ERR_OK)
        err = set_up_check(k, s);
    if (err != ERR_OK)
        return err;
    if (s->server_name.n > 0) {
        if (!is_name(s->server_name, false) || !str_to_c(s->server_name, name, sizeof name))
            return ERR_INVALID;
        if (SSL_set_tlsext_host_name(ssl, name) != 1)
            return ERR_NOMEM;
    }
    if (s->alpn.n > 0) {
        must(s->alpn.n < sizeof alpn);
        alpn[0] = (unsigned char)s->alpn.n;
        memcpy(alpn + 1, s->alpn.p, s->alpn.n);
        if (SSL_set_alpn_protos(ssl, alpn, (unsigned)s->alpn.n + 1) != 0)
            return ERR_NOMEM;
    }
    if (s->resume != NULL && s->check != TLS_CHECK_DANE && s->resume->context == k->tc->context &&
        SSL_set_session(ssl, s->resume->session) != 1)
        return ERR_NOMEM;
    SSL_set_connect_state(ssl);
    return ERR_OK;
}

enum err io_tls_start(struct conn *c, bool is_server, const struct tls_start *s,
                      void (*fn)(void *arg, struct conn *c, enum err err, struct str why), void *arg)
{
    struct io_world *w = c->source.w;
    must(c->is_socket && c->tls == NULL && s->context->is_server == is_server && s->context->w->io == w);
    struct tls_conn *tc = tls_conn_new(c, s->context);
    struct tls_shake *k = tc == NULL ? NULL : mem_new(struct tls_shake);
    if (tc == NULL)
        return ERR_NOMEM;
    enum err err = ERR_NOMEM;
    if (k != NULL) {
        k->tc = tc;
        k->fn = fn;
        k->arg = arg;
        k->deadline.fire = on_deadline;
        list_init(&k->link);
        tc->shake = k;
        err = ERR_OK;
    }
    if (err == ERR_OK && is_server)
        SSL_set_accept_state(tc->ssl);
    else if (err == ERR_OK)
        err = set_up_client(k, s);
    if (err != ERR_OK) {
        tls_shake_abort(tc);
        tls_let_go(tc);
        tls_free(tc);
        return err;
    }
    if (s->context->is_signing)
        (void)SSL_set_mode(tc->ssl, SSL_MODE_ASYNC);
    c->tls = tc;
    io_timer_set(&w->base, &k->deadline, s->deadline_ms);
    task_post(w, &tc->wake);
    source_touch(&c->source);
    return ERR_OK;
}
