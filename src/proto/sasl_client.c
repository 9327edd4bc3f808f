#include "proto/sasl_client.h"

#include "base/base64.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "proto/sasl_oauth.h"
#include "proto/sasl_scram.h"

enum phase {
    PHASE_FIRST = 0,      /* nothing is sent */
    PHASE_LOGIN_PASSWORD, /* LOGIN: the user is sent */
    PHASE_SCRAM_FIRST,    /* client-first is sent */
    PHASE_SCRAM_FINAL,    /* client-final is sent */
    PHASE_PROVED,         /* the server's signature was right */
    PHASE_SENT,           /* all is sent; of tokens a refusal may come */
    PHASE_REFUSED,        /* the refusal of a token was answered */
    PHASE_FAILED,
};

struct sasl_client {
    const struct sasl_client_conf *conf;
    enum sasl_mechanism mechanism;
    enum phase phase;
    enum sasl_failure failure;
    struct buf out, header, nonce, auth, detail;
    uint8_t server_key[SCRAM_KEY_MAX];
    char out_mem[SASL_RESPONSE_MAX], header_mem[64], nonce_mem[BASE64_SIZE(SASL_CLIENT_NONCE_MAX)];
    char auth_mem[SCRAM_AUTH_MESSAGE_MAX], detail_mem[SASL_CLIENT_DETAIL_MAX];
};

static bool has_binding(const struct sasl_client_conf *conf)
{
    return conf->tls_exporter.n > 0 || conf->tls_server_end_point.n > 0;
}

static bool is_usable(const struct sasl_client_conf *conf, enum sasl_mechanism m)
{
    bool has_user = sasl_is_text_up_to(conf->user, SASL_NAME_MAX);
    bool has_password = has_user && sasl_is_text_up_to(conf->password, SASL_PASSWORD_MAX);
    bool has_token = sasl_is_text_up_to(conf->token, SASL_TOKEN_MAX) && sasl_is_text(conf->host);
    if (conf->allowed != 0 && (conf->allowed & SASL_BIT(m)) == 0)
        return false;
    if ((SASL_CLEAR & SASL_BIT(m)) != 0 && !conf->is_encrypted)
        return false;
    switch (m) {
    case SASL_EXTERNAL:
        return conf->has_certificate && conf->is_encrypted && (has_user || conf->user.n == 0);
    case SASL_SCRAM_SHA256_PLUS:
    case SASL_SCRAM_SHA1_PLUS:
        return has_password && has_binding(conf);
    case SASL_SCRAM_SHA256:
    case SASL_SCRAM_SHA1:
    case SASL_PLAIN:
    case SASL_LOGIN:
        return has_password;
    case SASL_OAUTHBEARER:
        return has_token && (has_user || conf->user.n == 0);
    case SASL_XOAUTH2:
        return has_token && has_user;
    case SASL_NONE:
    case SASL_MECHANISMS:
        break;
    }
    return false;
}

enum sasl_mechanism sasl_client_choose(const struct sasl_client_conf *conf, unsigned offered)
{
    for (unsigned m = SASL_NONE + 1; m < SASL_MECHANISMS; m++) {
        if ((offered & SASL_BIT(m)) != 0 && is_usable(conf, (enum sasl_mechanism)m))
            return (enum sasl_mechanism)m;
    }
    return SASL_NONE;
}

/* RFC 5802 6: 'y' tells the server that we would have bound the channel, had it offered that. */
static void put_header(struct sasl_client *c, unsigned offered)
{
    const struct sasl_client_conf *conf = c->conf;
    bool may_bind = conf->allowed == 0 || (conf->allowed & SASL_PLUS) != 0;
    if (sasl_is_plus(c->mechanism)) {
        buf_puts(&c->header, "p=");
        buf_put(&c->header, conf->tls_exporter.n > 0 ? SCRAM_TLS_EXPORTER : SCRAM_TLS_SERVER_END_POINT);
    } else {
        buf_puts(&c->header, has_binding(conf) && may_bind && (offered & SASL_PLUS) == 0 ? "y" : "n");
    }
    buf_puts(&c->header, ",,");
}

struct sasl_client *sasl_client_new(const struct sasl_client_conf *conf, enum sasl_mechanism m,
                                    unsigned offered, struct str nonce)
{
    must(is_usable(conf, m) && nonce.n >= SASL_CLIENT_NONCE_MIN && nonce.n <= SASL_CLIENT_NONCE_MAX);
    struct sasl_client *c = mem_new(struct sasl_client);
    if (c == NULL)
        return NULL;
    c->conf = conf;
    c->mechanism = m;
    buf_init_fixed(&c->out, c->out_mem, sizeof c->out_mem);
    buf_init_fixed(&c->header, c->header_mem, sizeof c->header_mem);
    buf_init_fixed(&c->nonce, c->nonce_mem, sizeof c->nonce_mem);
    buf_init_fixed(&c->auth, c->auth_mem, sizeof c->auth_mem);
    buf_init_fixed(&c->detail, c->detail_mem, sizeof c->detail_mem);
    must(base64_put(&c->nonce, nonce));
    put_header(c, offered);
    return c;
}

void sasl_client_del(struct sasl_client **c)
{
    if (*c == NULL)
        return;
    secret_wipe(*c, sizeof **c);
    mem_free(*c);
    *c = NULL;
}

static enum sasl_client_step fail(struct sasl_client *c, enum sasl_failure why)
{
    secret_wipe_buf(&c->out);
    secret_wipe_buf(&c->auth);
    c->failure = why;
    c->phase = PHASE_FAILED;
    return SASL_CLIENT_FAILED;
}

static enum sasl_client_step respond(struct sasl_client *c, enum phase next)
{
    if (c->out.failed)
        return fail(c, SASL_FAIL_TOO_BIG);
    c->phase = next;
    return SASL_CLIENT_RESPONSE;
}

/* client-first-message-bare, which is also the front of what is signed. */
static void put_bare(struct sasl_client *c)
{
    buf_reset(&c->auth);
    buf_puts(&c->auth, "n=");
    sasl_put_saslname(&c->auth, c->conf->scram_user.n > 0 ? c->conf->scram_user : c->conf->user);
    buf_puts(&c->auth, ",r=");
    buf_put(&c->auth, buf_str(&c->nonce));
}

static enum sasl_client_step first(struct sasl_client *c)
{
    const struct sasl_client_conf *conf = c->conf;
    switch (c->mechanism) {
    case SASL_EXTERNAL:
        buf_put(&c->out, conf->user);
        return respond(c, PHASE_SENT);
    case SASL_SCRAM_SHA256_PLUS:
    case SASL_SCRAM_SHA1_PLUS:
    case SASL_SCRAM_SHA256:
    case SASL_SCRAM_SHA1:
        put_bare(c);
        buf_put(&c->out, buf_str(&c->header));
        buf_put(&c->out, buf_str(&c->auth));
        return respond(c, PHASE_SCRAM_FIRST);
    case SASL_OAUTHBEARER:
    case SASL_XOAUTH2:
        sasl_put_oauth(&c->out, c->mechanism, conf->user, conf->host, conf->port, conf->token);
        return respond(c, PHASE_SENT);
    case SASL_PLAIN:
        buf_putc(&c->out, '\0');
        buf_put(&c->out, conf->user);
        buf_putc(&c->out, '\0');
        buf_put(&c->out, conf->password);
        return respond(c, PHASE_SENT);
    case SASL_LOGIN: /* whatever the server calls it */
        buf_put(&c->out, conf->user);
        return respond(c, PHASE_LOGIN_PASSWORD);
    case SASL_NONE:
    case SASL_MECHANISMS:
        break;
    }
    must_not_reach();
}

/* The nonce must be ours with something behind it: else somebody plays an old exchange back. */
static enum sasl_failure check_server_first(const struct sasl_client *c, const struct scram_server_first *f)
{
    if (!str_starts(f->nonce, buf_str(&c->nonce)) || f->nonce.n == c->nonce.n)
        return SASL_FAIL_SERVER;
    if (f->iterations < SCRAM_ITERATIONS_MIN || f->iterations > SASL_CLIENT_ITERATIONS_MAX)
        return SASL_FAIL_COST;
    return SASL_FAIL_NONE;
}

static void put_without_proof(struct sasl_client *c, struct str nonce)
{
    char mem[sizeof c->header_mem + 64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_put(&b, buf_str(&c->header));
    if (sasl_is_plus(c->mechanism))
        buf_put(&b, c->conf->tls_exporter.n > 0 ? c->conf->tls_exporter : c->conf->tls_server_end_point);
    c->out.failed |= b.failed;
    buf_puts(&c->out, "c=");
    base64_put(&c->out, buf_str(&b));
    buf_puts(&c->out, ",r=");
    buf_put(&c->out, nonce);
}

static enum sasl_client_step put_proof(struct sasl_client *c, struct str salt, uint32_t iterations)
{
    enum scram_hash h = sasl_hash(c->mechanism);
    struct scram_keys k;
    uint8_t proof[SCRAM_KEY_MAX];
    struct str password = c->conf->scram_password.n > 0 ? c->conf->scram_password : c->conf->password;
    enum err e = scram_derive(c->conf->crypto, h, password, salt, iterations, &k);
    if (e == ERR_OK)
        e = scram_proof(c->conf->crypto, h, &k, buf_str(&c->auth), proof);
    if (e == ERR_OK) {
        for (size_t i = 0; i < sizeof c->server_key; i++)
            c->server_key[i] = k.server_key[i];
        buf_puts(&c->out, ",p=");
        base64_put(&c->out, str_of(proof, scram_size(h)));
    }
    secret_wipe(&k, sizeof k);
    return e == ERR_OK ? respond(c, PHASE_SCRAM_FINAL) : fail(c, SASL_FAIL_TEMPORARY);
}

static enum sasl_client_step scram_first(struct sasl_client *c, struct str challenge)
{
    struct scram_server_first f;
    char mem[SCRAM_SALT_MAX];
    struct buf salt;
    buf_init_fixed(&salt, mem, sizeof mem);
    if (!scram_take_server_first(challenge, &f) || !base64_take(f.salt, &salt))
        return fail(c, SASL_FAIL_MALFORMED);
    enum sasl_failure why = check_server_first(c, &f);
    if (why != SASL_FAIL_NONE)
        return fail(c, why);
    put_without_proof(c, f.nonce);
    buf_putc(&c->auth, ',');
    buf_put(&c->auth, challenge);
    buf_putc(&c->auth, ',');
    if (c->out.failed || !buf_put(&c->auth, buf_str(&c->out)) || c->auth.failed)
        return fail(c, SASL_FAIL_TOO_BIG);
    return put_proof(c, buf_str(&salt), f.iterations);
}

static void keep_detail(struct sasl_client *c, struct str text)
{
    buf_reset(&c->detail);
    buf_put(&c->detail, str_slice(text, 0, SASL_CLIENT_DETAIL_MAX));
}

static enum sasl_client_step scram_final(struct sasl_client *c, struct str challenge)
{
    enum scram_hash h = sasl_hash(c->mechanism);
    struct scram_server_final f;
    uint8_t ours[SCRAM_KEY_MAX];
    char theirs[SCRAM_KEY_MAX];
    struct buf b;
    buf_init_fixed(&b, theirs, sizeof theirs);
    if (!scram_take_server_final(challenge, &f))
        return fail(c, SASL_FAIL_MALFORMED);
    if (f.error.n > 0) {
        keep_detail(c, f.error);
        return fail(c, SASL_FAIL_CREDENTIALS);
    }
    if (scram_signature(c->conf->crypto, h, c->server_key, buf_str(&c->auth), ours) != ERR_OK)
        return fail(c, SASL_FAIL_TEMPORARY);
    if (!base64_take(f.signature, &b) || !secret_eq(buf_str(&b), str_of(ours, scram_size(h))))
        return fail(c, SASL_FAIL_SERVER);
    return respond(c, PHASE_PROVED);
}

/* A challenge after all was said: of a token it is the refusal, which wants an answer (RFC 7628 3.2.3). */
static enum sasl_client_step after_all(struct sasl_client *c, struct str challenge)
{
    bool is_token = c->mechanism == SASL_OAUTHBEARER || c->mechanism == SASL_XOAUTH2;
    if (!is_token)
        return fail(c, SASL_FAIL_MALFORMED);
    keep_detail(c, challenge);
    c->failure = SASL_FAIL_CREDENTIALS;
    if (c->mechanism == SASL_OAUTHBEARER)
        buf_putc(&c->out, '\1');
    return respond(c, PHASE_REFUSED);
}

enum sasl_client_step sasl_client_feed(struct sasl_client *c, struct str challenge, struct str *response)
{
    enum sasl_client_step step = SASL_CLIENT_FAILED;
    secret_wipe_buf(&c->out);
    switch (c->phase) {
    case PHASE_FIRST: /* what the server says before we have said anything has no meaning */
        step = first(c);
        break;
    case PHASE_LOGIN_PASSWORD:
        buf_put(&c->out, c->conf->password);
        step = respond(c, PHASE_SENT);
        break;
    case PHASE_SCRAM_FIRST:
        step = scram_first(c, challenge);
        break;
    case PHASE_SCRAM_FINAL:
        step = scram_final(c, challenge);
        break;
    case PHASE_SENT:
        step = after_all(c, challenge);
        break;
    case PHASE_PROVED:
    case PHASE_REFUSED:
        step = fail(c, SASL_FAIL_MALFORMED);
        break;
    case PHASE_FAILED:
        break;
    }
    *response = buf_str(&c->out);
    return step;
}

bool sasl_client_initial(struct sasl_client *c, struct str *response)
{
    must(c->phase == PHASE_FIRST);
    return c->mechanism != SASL_LOGIN && sasl_client_feed(c, STR_NIL, response) == SASL_CLIENT_RESPONSE;
}

bool sasl_client_succeeded(struct sasl_client *c)
{
    bool ok = c->phase == PHASE_PROVED || c->phase == PHASE_SENT;
    if (!ok && c->phase != PHASE_FAILED)
        (void)fail(c, SASL_FAIL_SERVER);
    return ok;
}

enum sasl_failure sasl_client_failure(const struct sasl_client *c)
{
    return c->failure;
}

struct str sasl_client_detail(const struct sasl_client *c)
{
    return buf_str(&c->detail);
}
