/* service/smtpd/login.c: logins (RFC 4954): what the SASL exchange wants to know is asked of the keys role,
 * by the names that policy gives to users and files; of auth where others look at the domain's passwords, and
 * where the client has a token.
 *
 * Owns:     struct login of a session with TLS that was asked for one: channel bindings, a nonce for each
 *           exchange, and who has logged in.
 * Limits:   one open question a session (ask.c), SMTPD_AUTH_MS for its answer.
 * Errors:   trouble of ours is a 454, with its reason in the journal; who guesses too often hears it, and is
 *           not looked at.
 * Security: a name of no user of ours is asked all the same, so that it costs the same work.
 */
#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/saslprep.h"
#include "service/smtpd/smtpd.h"

#include <string.h>

/* ---- what the connection can do ---------------- */

void login_on_offer(struct smtpd *d, unsigned scram)
{
    d->mechanisms = SASL_BIT(SASL_EXTERNAL) | SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN);
    if ((scram & 1u << SCRAM_SHA256) != 0)
        d->mechanisms |= SASL_BIT(SASL_SCRAM_SHA256) | SASL_BIT(SASL_SCRAM_SHA256_PLUS);
    if ((scram & 1u << SCRAM_SHA1) != 0)
        d->mechanisms |= SASL_BIT(SASL_SCRAM_SHA1) | SASL_BIT(SASL_SCRAM_SHA1_PLUS);
}

/* A client takes the strongest that it knows, and with whom others look at there is no SCRAM to be had.
 * Tokens go beside whatever there is. */
static unsigned mechanisms_of(const struct session *s)
{
    const unsigned scram = SASL_PLUS | SASL_BIT(SASL_SCRAM_SHA256) | SASL_BIT(SASL_SCRAM_SHA1);
    const unsigned tokens = SASL_BIT(SASL_OAUTHBEARER) | SASL_BIT(SASL_XOAUTH2);
    const struct config *c = s->conf->config;
    unsigned mechanisms = s->d->mechanisms;
    if (c->n_auths > 0)
        mechanisms &= ~scram;
    if (c->n_auths == 0 && c->n_password_files == 0)
        mechanisms &= SASL_BIT(SASL_EXTERNAL);
    return c->oauth.by != OAUTH_NONE ? mechanisms | tokens : mechanisms;
}

/* The common name of a certificate's subject (RFC 4514), where it is plain text; empty: none. */
static struct str common_name(struct str subject)
{
    while (subject.n > 0) {
        struct str part = str_cut(&subject, ',');
        if (str_istarts(part, STR("CN=")))
            return str_chr(part, '\\') == STR_NPOS ? str_skip(part, 3) : STR_NIL;
    }
    return STR_NIL;
}

/* A certificate of client_ca whose common name is an address of a user. */
static struct str identity_of(const struct session *s)
{
    const struct tls_facts *f = conn_tls(s->conn);
    bool is_good = s->conf->config->client_ca.n > 0 && f->has_peer_certificate && f->is_trusted;
    return is_good ? common_name(f->peer_subject) : STR_NIL;
}

unsigned login_mechanisms(struct session *s)
{
    struct sasl_server_conf c = {.mechanisms = mechanisms_of(s), .client_identity = identity_of(s)};
    unsigned char exporter[32], end_point[64];
    size_t n;
    if (conn_tls_exporter(s->conn, exporter))
        c.tls_exporter = str_of(exporter, sizeof exporter);
    if (conn_tls_server_end_point(s->conn, end_point, &n))
        c.tls_server_end_point = str_of(end_point, n);
    return sasl_server_offered(&c);
}

/* Makes s->login ready for an exchange. false: no memory. */
static bool prepare(struct session *s)
{
    struct login *l = s->login != NULL ? s->login : mem_new(struct login);
    size_t n;
    if (l == NULL)
        return false;
    s->login = l;
    world_random(s->d->world, l->nonce, sizeof l->nonce);
    l->conf = (struct sasl_server_conf){.mechanisms = mechanisms_of(s),
                                        .client_identity = identity_of(s),
                                        .oauth_scope = s->conf->config->oauth.scope,
                                        .openid_configuration = s->conf->config->oauth.discovery,
                                        .nonce = str_of(l->nonce, sizeof l->nonce)};
    if (conn_tls_exporter(s->conn, l->exporter))
        l->conf.tls_exporter = str_of(l->exporter, sizeof l->exporter);
    if (conn_tls_server_end_point(s->conn, l->end_point, &n))
        l->conf.tls_server_end_point = str_of(l->end_point, n);
    return true;
}

void login_forget(struct session *s)
{
    if (s->login == NULL)
        return;
    secret_wipe(s->login, sizeof *s->login);
    mem_free(s->login);
    s->login = NULL;
}

struct str login_address(const struct session *s)
{
    return s->login == NULL ? STR_NIL : str_of(s->login->address, s->login->n_address);
}

/* ---- journal ---------------- */

static void tell(struct session *s, struct str user, enum smtp_reply_id id)
{
    s->d->count.logins_failed++;
    session_tell_refused(s, user, id);
}

/* It could not be looked at: no word against the user. */
static void tell_trouble(struct session *s, struct str user, const char *why)
{
    s->d->count.logins_trouble++;
    session_tell_trouble(s, user, R_AUTH_LATER, str_from_c(why));
}

/* ---- questions ---------------- */

static const struct local_domain *first_elsewhere(const struct policy_conf *p)
{
    for (size_t i = 0; i < p->n_domains; i++) {
        if (p->domains[i].auth > 0)
            return &p->domains[i];
    }
    return NULL;
}

/* A name outside ASCII is taken as it came where that is a user's, else as SASLprep has it (RFC 4616 2, RFC
 * 5802 5.1). false: as policy_login(). */
static bool find_login(const struct policy_conf *p, struct str name, struct buf *mem,
                       struct policy_login *out)
{
    char prepared_mem[SASL_NAME_MAX];
    struct buf prepared;
    size_t before = mem->n;
    bool ok = policy_login(p, name, mem, out);
    buf_init_fixed(&prepared, prepared_mem, sizeof prepared_mem);
    if (str_is_ascii(name) || saslprep(name, SASLPREP_QUERY, &prepared) != SASLPREP_OK)
        return ok;
    size_t at = ok ? str_rchr(out->address, '@') : 0;
    if (ok &&
        policy_has_user(policy_domain(p, str_skip(out->address, at + 1)), str_slice(out->address, 0, at)))
        return true;
    mem->n = before;
    return policy_login(p, buf_str(&prepared), mem, out);
}

/* Who is asked about. A name that nobody can have stands for one that policy does not know. */
static struct policy_login whom(const struct session *s, struct str user, struct buf *mem)
{
    const struct config *c = s->conf->config;
    const struct local_domain *d = c->n_password_files > 0 ? NULL : first_elsewhere(&c->policy);
    struct policy_login who = {.address = STR_NIL, .user = STR("@"), .passwords = 1};
    bool is_known = find_login(&c->policy, user, mem, &who);
    if (is_known && who.passwords + who.auth > 0)
        return who;
    if (d == NULL) /* he may have tokens, and has no password */
        return (struct policy_login){.address = STR_NIL, .user = STR("@"), .passwords = 1};
    buf_reset(mem);
    buf_puts(mem, "@@");
    buf_put(mem, d->name);
    return (struct policy_login){.address = buf_str(mem), .user = STR("@"), .auth = d->auth};
}

/* The address that guesses are counted by: of IPv6 a /64, which is what a host has. */
static void put_client(const struct session *s, struct buf *out)
{
    struct netaddr a = s->peer;
    for (size_t i = 8; i < sizeof a.ip && a.kind == NETADDR_IP6; i++)
        a.ip[i] = 0;
    if (a.kind == NETADDR_IP4 || a.kind == NETADDR_IP6)
        netaddr_format_ip(&a, out);
}

static void refuse(struct session *s, uint32_t question, enum sasl_verdict verdict)
{
    smtp_server_auth_answer(&s->server, question, &(struct sasl_answer){.verdict = verdict});
}

static bool can_be_asked(const struct session *s, const struct policy_login *who,
                         enum sasl_question_kind kind)
{
    if (who->auth > 0)
        return kind == SASL_ASK_PASSWORD; /* SCRAM was on offer under another configuration */
    return who->passwords <= s->conf->config->n_password_files;
}

static void ask_who(struct session *s, const struct smtp_event *ev)
{
    const struct sasl_question *q = ev->sasl;
    char mem[POLICY_LOGIN_MAX], client_mem[NETADDR_TEXT_MAX];
    struct buf text, client;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_init_fixed(&client, client_mem, sizeof client_mem);
    put_client(s, &client);
    struct policy_login who = whom(s, q->user, &text);
    bool is_elsewhere = who.auth > 0;
    struct smtp_event asked = *ev;
    asked.text = q->user;
    bool is_password = q->kind == SASL_ASK_PASSWORD, is_first = q->kind == SASL_ASK_SCRAM_FIRST;
    if (!can_be_asked(s, &who, q->kind)) {
        tell_trouble(s, q->user, "the configuration has changed meanwhile");
        refuse(s, ev->question, SASL_TEMPORARY);
        return;
    }
    if (!ask_begin(s, is_elsewhere ? ASK_ELSEWHERE : ASK_AUTH, &asked)) {
        bool is_there = (is_elsewhere ? s->d->auth : s->d->keys) != NULL;
        tell_trouble(s, q->user,
                     is_there ? "too many questions are open"
                              : "the process that looks at passwords is not there");
        refuse(s, ev->question, SASL_TEMPORARY);
        return;
    }
    struct ipc_auth_ask m = {.token = s->ask.by_token.id,
                             .kind = is_password ? AUTH_PASSWORD
                                     : is_first  ? AUTH_SCRAM_FIRST
                                                 : AUTH_SCRAM_FINAL,
                             .hash = (uint8_t)q->hash,
                             .file = is_elsewhere ? str_skip(who.address, str_rchr(who.address, '@') + 1)
                                                  : s->conf->config->password_files[who.passwords - 1],
                             .user = who.user,
                             .client = buf_str(&client),
                             .secret = is_password ? q->password : q->proof,
                             .message = q->auth_message};
    if (ipc_send_auth_ask(is_elsewhere ? s->d->auth : s->d->keys, &m, NULL) != ERR_OK)
        login_without(s, "the process that looks at passwords takes no questions");
}

static void ask_token(struct session *s, const struct smtp_event *ev)
{
    char mem[NETADDR_TEXT_MAX], user_mem[POLICY_LOGIN_MAX];
    struct buf client, text;
    struct policy_login who = {.address = ev->sasl->user}; /* as he is called, where nobody has that name */
    buf_init_fixed(&client, mem, sizeof mem);
    buf_init_fixed(&text, user_mem, sizeof user_mem);
    put_client(s, &client);
    if (ev->sasl->user.n > 0 && !find_login(&s->conf->config->policy, ev->sasl->user, &text, &who))
        who.address = ev->sasl->user;
    struct smtp_event asked = *ev;
    asked.text = ev->sasl->user;
    bool is_off = s->conf->config->oauth.by == OAUTH_NONE;
    if (is_off || !ask_begin(s, ASK_TOKEN, &asked)) {
        tell_trouble(s, ev->sasl->user,
                     is_off               ? "the configuration has changed meanwhile"
                     : s->d->auth != NULL ? "too many questions are open"
                                          : "the process that looks at tokens is not there");
        refuse(s, ev->question, SASL_TEMPORARY);
        return;
    }
    struct ipc_auth_ask m = {.token = s->ask.by_token.id,
                             .kind = AUTH_TOKEN,
                             .user = who.address,
                             .client = buf_str(&client),
                             .secret = ev->sasl->token};
    if (ipc_send_auth_ask(s->d->auth, &m, NULL) != ERR_OK)
        login_without(s, "the process that looks at tokens takes no questions");
}

/* Is there a user of this name, and is he the one that the client wants to be (empty: no matter who)? His
 * domain; his address is put into mem. NULL: no. */
static const struct local_domain *user_of(const struct session *s, struct str name, struct str wanted,
                                          struct buf *mem, struct str *out)
{
    const struct policy_conf *p = &s->conf->config->policy;
    struct policy_login who, other;
    *out = STR_NIL;
    if (!policy_login(p, name, mem, &who))
        return NULL;
    *out = who.address;
    const struct local_domain *d = policy_domain(p, str_skip(who.address, str_chr(who.address, '@') + 1));
    if (!policy_has_user(d, who.user))
        return NULL;
    bool is_wanted =
        wanted.n == 0 || (find_login(p, wanted, mem, &other) && str_eq(other.address, who.address));
    return is_wanted ? d : NULL;
}

/* The certificate says who it is; whether there is such a user the configuration knows. */
static void answer_external(struct session *s, const struct smtp_event *ev)
{
    char mem[2 * POLICY_LOGIN_MAX];
    struct buf text;
    struct str address;
    buf_init_fixed(&text, mem, sizeof mem);
    bool ok = user_of(s, ev->sasl->identity, ev->sasl->user, &text, &address) != NULL;
    struct sasl_answer a = {.verdict = ok ? SASL_OK : SASL_BAD, .login = ok ? address : STR_NIL};
    if (!ok)
        tell(s, ev->sasl->identity, R_AUTH_BAD);
    smtp_server_auth_answer(&s->server, ev->question, &a);
}

void login_question(struct session *s, const struct smtp_event *ev)
{
    if (ev->sasl == NULL) {
        if (prepare(s))
            smtp_server_auth_begin(&s->server, ev->question, &s->login->conf);
        else {
            tell_trouble(s, STR_NIL, "no memory");
            smtp_server_answer(&s->server, ev->question, R_AUTH_LATER, STR_NIL);
        }
        return;
    }
    switch (ev->sasl->kind) {
    case SASL_ASK_PASSWORD:
    case SASL_ASK_SCRAM_FIRST:
    case SASL_ASK_SCRAM_FINAL:
        ask_who(s, ev);
        break;
    case SASL_ASK_EXTERNAL:
        answer_external(s, ev);
        break;
    case SASL_ASK_TOKEN:
        ask_token(s, ev);
        break;
    }
}

void login_without(struct session *s, const char *why)
{
    uint32_t question = s->ask.question;
    tell_trouble(s, s->ask.text, why);
    ask_forget(s);
    refuse(s, question, SASL_TEMPORARY);
}

/* Who looks at the passwords of some domains has no say in those whose passwords are in files. */
static bool is_of_elsewhere(const struct session *s, struct str user)
{
    char mem[POLICY_LOGIN_MAX];
    struct buf text;
    struct policy_login who;
    buf_init_fixed(&text, mem, sizeof mem);
    return policy_login(&s->conf->config->policy, user, &text, &who) && who.auth > 0;
}

static void tell_answer(struct session *s, struct str user, const struct ipc_auth_answer *m,
                        enum sasl_verdict verdict)
{
    if (m->verdict == AUTH_TOO_MANY) {
        tell(s, user, R_AUTH_TOO_MANY);
    } else if (verdict == SASL_BAD) {
        tell(s, user, R_AUTH_BAD);
    } else if (verdict == SASL_TEMPORARY) {
        s->d->count.logins_trouble++;
        session_tell_trouble(s, user, R_AUTH_LATER,
                             m->verdict == AUTH_OK
                                 ? STR("who looks at the password named a user who is not his to name")
                             : m->why.n > 0 ? m->why
                                            : STR("the process that looked at it gave no reason"));
    }
}

/* Of whom the token is, and whether that is whom the client wants to be. */
static void on_token_answer(struct session *s, const struct ipc_auth_answer *m)
{
    uint32_t question = s->ask.question;
    char mem[2 * POLICY_LOGIN_MAX];
    struct buf text;
    struct str address = STR_NIL, wanted = s->ask.text;
    struct sasl_answer a = {.verdict = SASL_TEMPORARY};
    bool is_too_many = m->verdict == AUTH_TOO_MANY;
    buf_init_fixed(&text, mem, sizeof mem);
    if (m->verdict == AUTH_OK) {
        const struct local_domain *d = user_of(s, m->user, wanted, &text, &address);
        a.verdict = d != NULL && d->tokens ? SASL_OK : SASL_BAD;
    } else if (m->verdict == AUTH_BAD) {
        a.verdict = SASL_BAD;
    }
    if (a.verdict == SASL_OK)
        a.login = address;
    tell_answer(s, wanted.n > 0 ? wanted : address, m, a.verdict);
    ask_forget(s);
    if (is_too_many)
        smtp_server_answer(&s->server, question, R_AUTH_TOO_MANY, STR_NIL);
    else
        smtp_server_auth_answer(&s->server, question, &a);
}

void login_on_answer(struct session *s, const struct ipc_auth_answer *m)
{
    if (s->ask.kind == ASK_TOKEN) {
        on_token_answer(s, m);
        return;
    }
    uint32_t question = s->ask.question;
    bool is_elsewhere = s->ask.kind == ASK_ELSEWHERE;
    struct str user = s->ask.text;
    struct sasl_answer a = {
        .verdict = SASL_BAD, .salt = m->salt, .iterations = m->iterations, .signature = m->signature};
    bool is_too_many = m->verdict == AUTH_TOO_MANY;
    if (m->verdict == AUTH_OK && is_elsewhere && !is_of_elsewhere(s, m->user))
        a.verdict = SASL_TEMPORARY;
    else if (m->verdict == AUTH_OK)
        a.verdict = SASL_OK;
    else if (m->verdict != AUTH_BAD)
        a.verdict = SASL_TEMPORARY;
    if (is_elsewhere)
        a.login = m->user;
    tell_answer(s, user, m, a.verdict);
    ask_forget(s);
    if (is_too_many)
        smtp_server_answer(&s->server, question, R_AUTH_TOO_MANY, STR_NIL);
    else
        smtp_server_auth_answer(&s->server, question, &a);
}

/* Who it is, as all else calls him: rights, limits and trace. */
void login_done(struct session *s, const struct smtp_event *ev)
{
    struct login *l = s->login;
    struct policy_login who;
    struct buf text;
    buf_init_fixed(&text, l->address, sizeof l->address);
    if (!find_login(&s->conf->config->policy, ev->text, &text, &who)) {
        tell_trouble(s, ev->text, "the configuration has changed meanwhile");
        smtp_server_answer(&s->server, ev->question, R_AUTH_LATER, STR_NIL);
        return;
    }
    memmove(l->address, who.address.p, who.address.n);
    l->n_address = (uint16_t)who.address.n;
    s->d->count.logins++;
    s->has_login = true;
    session_offer(s);
    smtp_server_answer(&s->server, ev->question, R_AUTH_OK, STR_NIL);
}
