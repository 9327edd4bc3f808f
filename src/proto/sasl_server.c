#include "proto/sasl_server.h"

#include "base/base64.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "proto/sasl_oauth.h"
#include "proto/sasl_scram.h"

#include <string.h>

enum phase {
    PHASE_NEW = 0,
    PHASE_FIRST,          /* the first response is due */
    PHASE_LOGIN_PASSWORD, /* LOGIN: the user has come */
    PHASE_SCRAM_FINAL,    /* server-first is out */
    PHASE_SCRAM_ACK,      /* server-final is out: an empty response is due (RFC 4954 4) */
    PHASE_TOKEN_ACK,      /* a token was refused: a response without meaning is due (RFC 7628 3.2.3) */
    PHASE_QUESTION,
    PHASE_OVER,
};

enum {
    HEADER_MAX = 1024 + 8, /* of GS2: a name with all of it escaped, flags */
    BINDING_MAX = 64,      /* octets of a channel binding: a digest or an exporter's 32 */
    NONCE_TEXT_MAX = SASL_NONCE_MAX + BASE64_SIZE(SASL_SERVER_NONCE_MAX),
    PROOF_MAX = 64,
};

struct sasl_server {
    const struct sasl_server_conf *conf;
    enum sasl_mechanism mechanism;
    enum phase phase;
    enum sasl_failure failure;
    struct sasl_question question;
    struct str kept; /* a copy of the response that the question's slices point into */
    struct buf user, login, challenge;
    /* SCRAM */
    struct buf header, nonce, auth, proof;
    char user_mem[SASL_NAME_MAX], login_mem[SASL_NAME_MAX], challenge_mem[SASL_SCRAM_MAX];
    char header_mem[HEADER_MAX], nonce_mem[NONCE_TEXT_MAX], auth_mem[SCRAM_AUTH_MESSAGE_MAX],
        proof_mem[PROOF_MAX];
};

struct sasl_server *sasl_server_new(const struct sasl_server_conf *conf)
{
    if (conf->nonce.n < SASL_SERVER_NONCE || conf->nonce.n > SASL_SERVER_NONCE_MAX)
        return NULL;
    struct sasl_server *s = mem_new(struct sasl_server);
    if (s == NULL)
        return NULL;
    s->conf = conf;
    buf_init_fixed(&s->user, s->user_mem, sizeof s->user_mem);
    buf_init_fixed(&s->login, s->login_mem, sizeof s->login_mem);
    buf_init_fixed(&s->challenge, s->challenge_mem, sizeof s->challenge_mem);
    buf_init_fixed(&s->header, s->header_mem, sizeof s->header_mem);
    buf_init_fixed(&s->nonce, s->nonce_mem, sizeof s->nonce_mem);
    buf_init_fixed(&s->auth, s->auth_mem, sizeof s->auth_mem);
    buf_init_fixed(&s->proof, s->proof_mem, sizeof s->proof_mem);
    return s;
}

/* What could be of use to others. The user's name stays, for logs. */
static void forget(struct sasl_server *s)
{
    secret_free(&s->kept);
    secret_wipe_buf(&s->auth);
    secret_wipe_buf(&s->proof);
    s->question = (struct sasl_question){0};
}

void sasl_server_del(struct sasl_server **s)
{
    if (*s == NULL)
        return;
    forget(*s);
    secret_wipe(*s, sizeof **s);
    mem_free(*s);
    *s = NULL;
}

static enum sasl_step fail(struct sasl_server *s, enum sasl_failure why)
{
    forget(s);
    s->failure = why;
    s->phase = PHASE_OVER;
    return SASL_STEP_FAILED;
}

static enum sasl_step done(struct sasl_server *s)
{
    forget(s);
    s->phase = PHASE_OVER;
    return SASL_STEP_DONE;
}

static enum sasl_step challenge(struct sasl_server *s, enum phase next)
{
    if (s->challenge.failed)
        return fail(s, SASL_FAIL_TEMPORARY);
    s->phase = next;
    return SASL_STEP_CHALLENGE;
}

static enum sasl_step ask(struct sasl_server *s, enum sasl_question_kind kind)
{
    s->question.kind = kind;
    s->question.user = buf_str(&s->user);
    s->phase = PHASE_QUESTION;
    return SASL_STEP_QUESTION;
}

/* Takes who the client says it is; may_be_none: an empty name is one. */
static bool take_user(struct sasl_server *s, struct str name, bool may_be_none)
{
    buf_reset(&s->user);
    if (name.n == 0)
        return may_be_none;
    return sasl_is_text_up_to(name, SASL_NAME_MAX) && buf_put(&s->user, name);
}

/* The same with the escapes of GS2 and SCRAM. */
static bool take_saslname(struct sasl_server *s, struct str text, bool may_be_none)
{
    char mem[SASL_NAME_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    return sasl_take_saslname(text, &b) && take_user(s, buf_str(&b), may_be_none);
}

static bool is_self(const struct sasl_server *s, struct str authzid)
{
    return authzid.n == 0 || str_ieq(authzid, buf_str(&s->user));
}

static enum sasl_step ask_password(struct sasl_server *s, struct str password)
{
    if (!sasl_is_text_up_to(password, SASL_PASSWORD_MAX))
        return fail(s, SASL_FAIL_MALFORMED);
    s->question.password = password;
    return ask(s, SASL_ASK_PASSWORD);
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd */
static enum sasl_step plain_first(struct sasl_server *s)
{
    struct str rest = s->kept;
    bool has_two = str_chr(rest, '\0') != str_rchr(rest, '\0');
    struct str authzid = str_cut(&rest, '\0');
    struct str user = str_cut(&rest, '\0');
    if (!has_two || !take_user(s, user, false))
        return fail(s, SASL_FAIL_MALFORMED);
    if (!is_self(s, authzid))
        return fail(s, SASL_FAIL_AUTHZID);
    return ask_password(s, rest);
}

/* The draft's challenges are "User Name" and "Password" with a NUL behind; all that is in use has these, and
 * some clients wait for them. */
static enum sasl_step login_first(struct sasl_server *s)
{
    if (!take_user(s, s->kept, false))
        return fail(s, SASL_FAIL_MALFORMED);
    buf_puts(&s->challenge, "Password:");
    return challenge(s, PHASE_LOGIN_PASSWORD);
}

static enum sasl_step external_first(struct sasl_server *s)
{
    if (!take_user(s, s->kept, true))
        return fail(s, SASL_FAIL_MALFORMED);
    s->question.identity = s->conf->client_identity;
    return ask(s, SASL_ASK_EXTERNAL);
}

/* The client hears where it can get a better token, answers something, and only then has failed. */
static enum sasl_step refuse_token(struct sasl_server *s)
{
    const struct sasl_server_conf *conf = s->conf;
    forget(s);
    sasl_put_oauth_error(&s->challenge, s->mechanism, conf->oauth_scope, conf->openid_configuration);
    return challenge(s, PHASE_TOKEN_ACK);
}

static enum sasl_step token_first(struct sasl_server *s)
{
    struct sasl_oauth o;
    if (!sasl_take_oauth(s->mechanism, s->kept, &o))
        return fail(s, SASL_FAIL_MALFORMED);
    bool ok = s->mechanism == SASL_OAUTHBEARER ? take_saslname(s, o.user, true) : take_user(s, o.user, false);
    if (!ok)
        return fail(s, SASL_FAIL_MALFORMED);
    if (o.token.n == 0)
        return refuse_token(s);
    s->question.token = o.token;
    return ask(s, SASL_ASK_TOKEN);
}

static struct str binding_of(const struct sasl_server *s, struct str name)
{
    struct str none = STR_NIL;
    return str_eq(name, SCRAM_TLS_EXPORTER)           ? s->conf->tls_exporter
           : str_eq(name, SCRAM_TLS_SERVER_END_POINT) ? s->conf->tls_server_end_point
                                                      : none;
}

/* RFC 5802 6: what the client says of channel bindings against what is so. */
static enum sasl_failure judge_binding(const struct sasl_server *s, const struct sasl_gs2 *gs2)
{
    if (gs2->flag == 'y' && (sasl_server_offered(s->conf) & SASL_PLUS) != 0)
        return SASL_FAIL_DOWNGRADE;
    if ((gs2->flag == 'p') != sasl_is_plus(s->mechanism))
        return SASL_FAIL_BINDING;
    if (gs2->flag == 'p' && binding_of(s, gs2->binding).n == 0)
        return SASL_FAIL_BINDING;
    return SASL_FAIL_NONE;
}

static enum sasl_step scram_first(struct sasl_server *s)
{
    struct scram_client_first f;
    char mem[SASL_NAME_MAX];
    struct buf authzid;
    buf_init_fixed(&authzid, mem, sizeof mem);
    if (!scram_take_client_first(s->kept, &f) || !take_saslname(s, f.user, false) ||
        !sasl_take_saslname(f.gs2.authzid, &authzid) || !buf_put(&s->header, f.gs2.text))
        return fail(s, SASL_FAIL_MALFORMED);
    enum sasl_failure why = judge_binding(s, &f.gs2);
    if (why != SASL_FAIL_NONE)
        return fail(s, why);
    if (!is_self(s, buf_str(&authzid)))
        return fail(s, SASL_FAIL_AUTHZID);
    buf_put(&s->auth, f.bare);
    buf_put(&s->nonce, f.nonce);
    if (!base64_put(&s->nonce, s->conf->nonce))
        return fail(s, SASL_FAIL_TEMPORARY);
    s->question.hash = sasl_hash(s->mechanism);
    return ask(s, SASL_ASK_SCRAM_FIRST);
}

static enum sasl_step scram_salt(struct sasl_server *s, const struct sasl_answer *a)
{
    if (a->salt.n < 1 || a->salt.n > SCRAM_SALT_MAX || a->iterations < SCRAM_ITERATIONS_MIN ||
        a->iterations > SCRAM_ITERATIONS_MAX)
        return fail(s, SASL_FAIL_TEMPORARY);
    buf_puts(&s->challenge, "r=");
    buf_put(&s->challenge, buf_str(&s->nonce));
    buf_puts(&s->challenge, ",s=");
    base64_put(&s->challenge, a->salt);
    buf_printf(&s->challenge, ",i=%u", a->iterations);
    buf_putc(&s->auth, ',');
    buf_put(&s->auth, buf_str(&s->challenge));
    return challenge(s, PHASE_SCRAM_FINAL);
}

/* "c" must be what the first message said, and the binding that only the two ends of one TLS session know. */
static bool is_bound(const struct sasl_server *s, struct str c)
{
    char octets[HEADER_MAX + BINDING_MAX], text[BASE64_SIZE(sizeof octets)];
    struct buf b, t;
    struct sasl_gs2 gs2;
    struct str rest = buf_str(&s->header);
    buf_init_fixed(&b, octets, sizeof octets);
    buf_init_fixed(&t, text, sizeof text);
    must(sasl_take_gs2(&rest, &gs2));
    buf_put(&b, buf_str(&s->header));
    if (gs2.flag == 'p')
        buf_put(&b, binding_of(s, gs2.binding));
    return !b.failed && base64_put(&t, buf_str(&b)) && secret_eq(buf_str(&t), c);
}

static enum sasl_step scram_final(struct sasl_server *s)
{
    struct scram_client_final f;
    if (!scram_take_client_final(s->kept, &f) || !base64_take(f.proof, &s->proof) ||
        !str_eq(f.nonce, buf_str(&s->nonce)))
        return fail(s, SASL_FAIL_MALFORMED);
    if (!is_bound(s, f.binding))
        return fail(s, SASL_FAIL_BINDING);
    buf_putc(&s->auth, ',');
    if (!buf_put(&s->auth, f.without_proof))
        return fail(s, SASL_FAIL_TOO_BIG);
    s->question.hash = sasl_hash(s->mechanism);
    s->question.auth_message = buf_str(&s->auth);
    s->question.proof = buf_str(&s->proof);
    return ask(s, SASL_ASK_SCRAM_FINAL);
}

static enum sasl_step first(struct sasl_server *s)
{
    switch (s->mechanism) {
    case SASL_EXTERNAL:
        return external_first(s);
    case SASL_SCRAM_SHA256_PLUS:
    case SASL_SCRAM_SHA1_PLUS:
    case SASL_SCRAM_SHA256:
    case SASL_SCRAM_SHA1:
        return scram_first(s);
    case SASL_OAUTHBEARER:
    case SASL_XOAUTH2:
        return token_first(s);
    case SASL_PLAIN:
        return plain_first(s);
    case SASL_LOGIN:
        return login_first(s);
    case SASL_NONE:
    case SASL_MECHANISMS:
        break;
    }
    must_not_reach();
}

enum sasl_step sasl_server_start(struct sasl_server *s, struct str mechanism, const struct str *initial)
{
    must(s->phase == PHASE_NEW);
    enum sasl_mechanism m = sasl_of_name(mechanism);
    if (m == SASL_NONE)
        return fail(s, SASL_FAIL_UNKNOWN);
    if ((sasl_server_offered(s->conf) & SASL_BIT(m)) == 0)
        return fail(s, SASL_FAIL_NOT_OFFERED);
    s->mechanism = m;
    s->phase = PHASE_FIRST;
    if (initial != NULL)
        return sasl_server_feed(s, *initial);
    buf_puts(&s->challenge, m == SASL_LOGIN ? "Username:" : "");
    return challenge(s, PHASE_FIRST);
}

enum sasl_step sasl_server_feed(struct sasl_server *s, struct str response)
{
    enum phase phase = s->phase;
    buf_reset(&s->challenge);
    secret_free(&s->kept);
    if (response.n > SASL_RESPONSE_MAX)
        return fail(s, SASL_FAIL_TOO_BIG);
    if (!secret_copy(response, &s->kept))
        return fail(s, SASL_FAIL_TEMPORARY);
    switch (phase) {
    case PHASE_FIRST:
        return first(s);
    case PHASE_LOGIN_PASSWORD:
        return ask_password(s, s->kept);
    case PHASE_SCRAM_FINAL:
        return scram_final(s);
    case PHASE_SCRAM_ACK:
        return response.n == 0 ? done(s) : fail(s, SASL_FAIL_MALFORMED);
    case PHASE_TOKEN_ACK:
        return fail(s, SASL_FAIL_CREDENTIALS);
    case PHASE_NEW:
    case PHASE_QUESTION:
    case PHASE_OVER:
        break;
    }
    must_not_reach(); /* the caller feeds after challenges only */
}

/* Whose login it is, by the answer or by the client's word that the answer confirms. */
static bool take_login(struct sasl_server *s, struct str login)
{
    struct str name = login.n > 0 ? login : buf_str(&s->user);
    buf_reset(&s->login);
    return sasl_is_text_up_to(name, SASL_NAME_MAX) && buf_put(&s->login, name);
}

static enum sasl_step accepted(struct sasl_server *s, const struct sasl_answer *a)
{
    enum sasl_question_kind kind = s->question.kind;
    if (kind == SASL_ASK_SCRAM_FIRST)
        return scram_salt(s, a);
    if (!take_login(s, a->login))
        return fail(s, SASL_FAIL_TEMPORARY);
    if (kind != SASL_ASK_SCRAM_FINAL)
        return done(s);
    if (a->signature.n != scram_size(s->question.hash))
        return fail(s, SASL_FAIL_TEMPORARY);
    buf_puts(&s->challenge, "v=");
    base64_put(&s->challenge, a->signature);
    return challenge(s, PHASE_SCRAM_ACK);
}

enum sasl_step sasl_server_answer(struct sasl_server *s, const struct sasl_answer *answer)
{
    must(s->phase == PHASE_QUESTION);
    buf_reset(&s->challenge);
    switch (answer->verdict) {
    case SASL_OK:
        return accepted(s, answer);
    case SASL_BAD:
        return s->question.kind == SASL_ASK_TOKEN ? refuse_token(s) : fail(s, SASL_FAIL_CREDENTIALS);
    case SASL_TEMPORARY:
        return fail(s, SASL_FAIL_TEMPORARY);
    }
    must_not_reach();
}

enum sasl_step sasl_server_cancel(struct sasl_server *s)
{
    must(s->phase != PHASE_OVER);
    return fail(s, SASL_FAIL_CANCELLED);
}

enum sasl_mechanism sasl_server_mechanism(const struct sasl_server *s)
{
    return s->mechanism;
}

struct str sasl_server_challenge(const struct sasl_server *s)
{
    return buf_str(&s->challenge);
}

const struct sasl_question *sasl_server_question(const struct sasl_server *s)
{
    must(s->phase == PHASE_QUESTION);
    return &s->question;
}

enum sasl_failure sasl_server_failure(const struct sasl_server *s)
{
    return s->failure;
}

struct str sasl_server_user(const struct sasl_server *s)
{
    return buf_str(&s->user);
}

struct str sasl_server_login(const struct sasl_server *s)
{
    must(s->phase == PHASE_OVER && s->failure == SASL_FAIL_NONE);
    return buf_str(&s->login);
}

unsigned sasl_server_offered(const struct sasl_server_conf *conf)
{
    unsigned mask = conf->mechanisms & SASL_ALL;
    if (conf->tls_exporter.n == 0 && conf->tls_server_end_point.n == 0)
        mask &= ~SASL_PLUS;
    if (conf->client_identity.n == 0)
        mask &= ~SASL_BIT(SASL_EXTERNAL);
    return mask;
}
