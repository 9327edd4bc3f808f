/* proto/smtp_client_auth.c: the login of a session (RFC 4954), by way of proto/sasl_client.h.
 *
 * The initial response goes along with AUTH. What the server can't prove, or
 * asks that is none of the mechanism, is cancelled with "*". A refusal, of whatever class, is about the login
 * and no message: the mail waits. Passwords are in one allocation, in the SASL exchange and for a moment in
 * the output; all three are wiped.
 */
#include "base/base64.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "proto/smtp_client_impl.h"

/* RFC 4954 4: the longest AUTH command. The largest initial response, a token with its frame, has room in it.
 */
enum { AUTH_COMMAND_MAX = 12288, FRAME_MAX = 320 };
_Static_assert(BASE64_SIZE(SASL_TOKEN_MAX + SASL_NAME_MAX + FRAME_MAX) + FRAME_MAX <= AUTH_COMMAND_MAX,
               "an initial response may have to wait for a challenge");

void smtp_client_auth_end(struct smtp_client *c)
{
    if (c->auth == NULL)
        return;
    sasl_client_del(&c->auth->sasl);
    secret_wipe(c->auth, sizeof *c->auth);
    mem_free(c->auth);
    c->auth = NULL;
    secret_wipe_buf(&c->out);
}

/* why must live as long as the session. */
static struct smtp_client_result ours(struct esc esc, struct str why)
{
    return smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_AUTH, esc, why);
}

static void leave(struct smtp_client *c, struct esc esc, struct str why)
{
    smtp_client_auth_end(c);
    smtp_client_leave_for(c, ours(esc, why));
}

/* ---- what we say ------------------------------------------------------------------------------- */

/* The next line is text and, behind it, the octets in base64. */
static void say(struct smtp_client *c, struct str text, struct str octets)
{
    struct buf *line = &c->auth->line;
    secret_wipe_buf(line);
    buf_put(line, text);
    (void)base64_put(line, octets);
    buf_puts(line, "\r\n");
    must(!line->failed); /* the exchange keeps to SASL_RESPONSE_MAX */
    smtp_plan_reset(&c->plan);
    smtp_plan_add(&c->plan, SMTP_STEP_AUTH, 0);
    secret_wipe_buf(&c->auth->challenge);
    c->auth->n_lines = 0;
}

static void say_auth(struct smtp_client *c, enum sasl_mechanism m)
{
    char mem[64];
    struct buf head;
    struct str initial = STR_NIL;
    struct sasl_client *sasl = c->auth->sasl;
    buf_init_fixed(&head, mem, sizeof mem);
    buf_puts(&head, "AUTH ");
    buf_put(&head, sasl_name(m));
    if (sasl_client_initial(sasl, &initial))
        buf_puts(&head, initial.n == 0 ? " =" : " "); /* RFC 4954 4: "=" is the empty response */
    must(!head.failed);
    say(c, buf_str(&head), initial);
}

static void cancel(struct smtp_client *c)
{
    c->auth->is_cancelled = true;
    say(c, STR("*"), STR_NIL);
}

static bool auth_new(struct smtp_client *c, enum sasl_mechanism *out)
{
    const struct smtp_client_login *login = c->conf.login;
    struct smtp_client_auth *a = mem_new(struct smtp_client_auth);
    if (a == NULL)
        return false;
    c->auth = a;
    buf_init_fixed(&a->challenge, a->challenge_mem, sizeof a->challenge_mem);
    buf_init_fixed(&a->line, a->line_mem, sizeof a->line_mem);
    a->conf = (struct sasl_client_conf){
        .crypto = login->crypto,
        .allowed = login->by_certificate ? SASL_BIT(SASL_EXTERNAL) : login->allowed,
        .has_certificate = login->by_certificate,
        .user = login->user,
        .password = login->password,
        .token = login->token,
        .scram_user = login->scram_user,
        .scram_password = login->scram_password,
        .is_encrypted = true, /* or nobody can listen */
        .tls_exporter = str_of(c->secured.exporter, c->secured.n_exporter),
        .tls_server_end_point = str_of(c->secured.end_point, c->secured.n_end_point),
        .host = login->host,
        .port = login->port,
    };
    *out = sasl_client_choose(&a->conf, c->mechanisms);
    if (*out == SASL_NONE)
        return true;
    a->sasl = sasl_client_new(&a->conf, *out, c->mechanisms, str_of(login->nonce, sizeof login->nonce));
    return a->sasl != NULL;
}

void smtp_client_auth_begin(struct smtp_client *c)
{
    enum sasl_mechanism m;
    bool by_certificate = c->conf.login->by_certificate;
    if (!c->is_encrypted && (!c->conf.is_near || by_certificate)) { /* RFC 5248: 4.7.10, encryption needed */
        leave(c, ESC(4, 7, 10), STR("logging in needs TLS, and this connection has none"));
    } else if (c->mechanisms == 0) {
        leave(c, ESC(4, 7, 4), STR("the server offers no login that is known here (AUTH)"));
    } else if (!auth_new(c, &m)) {
        leave(c, ESC(4, 3, 0), STR("no memory for the login"));
    } else if (m == SASL_NONE && by_certificate) {
        leave(c, ESC(4, 7, 4), STR("the server offers no login by a certificate (AUTH EXTERNAL)"));
    } else if (m == SASL_NONE) {
        leave(c, ESC(4, 7, 4), STR("the server offers no login that fits what is known of us (AUTH)"));
    } else {
        smtp_client_set_state(c, SMTP_CLIENT_ST_AUTH);
        say_auth(c, m);
    }
}

/* ---- what the server says ---------------------------------------------------------------------- */

void smtp_client_auth_line(void *arg, struct str line)
{
    struct smtp_client *c = arg;
    if (c->auth == NULL || c->auth->n_lines++ > 0)
        return;
    buf_put(&c->auth->challenge, line); /* fits: lines are no longer */
}

static void on_challenge(struct smtp_client *c)
{
    char mem[BASE64_OCTETS(SMTP_REPLY_IN_LINE_MAX)];
    struct buf octets;
    struct str response;
    struct smtp_client_auth *a = c->auth;
    buf_init_fixed(&octets, mem, sizeof mem);
    bool is_one = a->n_lines == 1 && base64_take(str_trim(buf_str(&a->challenge)), &octets);
    if (is_one && sasl_client_feed(a->sasl, buf_str(&octets), &response) == SASL_CLIENT_RESPONSE)
        say(c, STR_NIL, response);
    else
        cancel(c);
    secret_wipe(mem, sizeof mem);
}

/* RFC 4954 6: 535 and its like. The code stays, the class does not: what is refused is the login. */
static void on_refusal(struct smtp_client *c)
{
    static const struct {
        uint16_t code;
        struct esc esc;
    } known[] = {{534, {4, 7, 9}}, {535, {4, 7, 8}}, {538, {4, 7, 11}}};
    struct smtp_client_result why = smtp_client_theirs(c, SMTP_AT_AUTH);
    if (c->parser.reply.esc.class == 0)
        why.esc = ESC(4, 7, 0);
    for (size_t i = 0; i < ARRAY_LEN(known) && c->parser.reply.esc.class == 0; i++)
        why.esc = known[i].code == why.code ? known[i].esc : why.esc;
    why.outcome = SMTP_OUTCOME_TEMPORARY;
    why.esc.class = 4;
    if (c->auth->is_cancelled) {
        enum sasl_failure f = c->auth->sasl == NULL ? SASL_FAIL_NONE : sasl_client_failure(c->auth->sasl);
        why = ours(ESC(4, 7, 5), f != SASL_FAIL_NONE ? str_from_c(sasl_failure_text(f))
                                                     : STR("the server's challenge is not in base64"));
    }
    smtp_client_auth_end(c);
    smtp_client_leave_for(c, why);
}

void smtp_client_on_auth(struct smtp_client *c)
{
    uint16_t code = c->parser.reply.code;
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_AUTH);
    bool is_cancelled = c->auth->is_cancelled;
    if (code == 334 && !is_cancelled) {
        smtp_plan_received(&c->plan);
        on_challenge(c);
    } else if (code == 235 && !is_cancelled) {
        smtp_plan_received(&c->plan);
        bool is_right = sasl_client_succeeded(c->auth->sasl);
        smtp_client_auth_end(c);
        if (is_right)
            smtp_client_become_greeted(c);
        else
            leave(c, ESC(4, 7, 5), STR("the server let us in and did not prove that it knows our password"));
    } else if (outcome == SMTP_OUTCOME_TEMPORARY || outcome == SMTP_OUTCOME_PERMANENT) {
        smtp_plan_received(&c->plan);
        on_refusal(c);
    } else {
        smtp_client_die_of_nonsense(c, smtp_step_name(SMTP_STEP_AUTH));
    }
}
