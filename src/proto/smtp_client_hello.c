/* proto/smtp_client_hello.c: how a session begins: greeting, hello, STARTTLS and hello once more.
 * The login that may follow is smtp_client_auth.c.
 *
 * Nothing that was learnt in the clear is kept once TLS stands (RFC 3207 4.2), neither what the server
 * offered nor what it is called. Octets that come behind the 220 and before TLS were put there by somebody in
 * between, to be taken for the server's first words inside TLS: they end the session.
 */
#include "proto/smtp_client_impl.h"

/* ---- what EHLO offers ------------------------------------------------------------------------ */

/* RFC 9422 3: NAME=number, any number of them; those that we don't know are no business of ours. */
static void take_limits(struct smtp_client *c, struct str list)
{
    while (list.n > 0) {
        struct str value = str_cut(&list, ' ');
        struct str name = str_cut(&value, '=');
        if (str_ieq(name, STR("RCPTMAX")) && !str_to_u64(value, 999999, &c->rcpt_max))
            c->rcpt_max = 0;
        if (str_ieq(name, STR("RCPTDOMAINMAX")) && !str_to_u64(value, 999999, &c->domain_max))
            c->domain_max = 0;
        if (str_ieq(name, STR("MAILMAX")) && !str_to_u64(value, 999999, &c->mail_max))
            c->mail_max = 0;
    }
}

void smtp_client_hello_line(void *arg, struct str line)
{
    static const struct {
        struct str word;
        unsigned offer;
    } words[] = {
        {STR_INIT("PIPELINING"), SMTP_OFFERS_PIPELINING},
        {STR_INIT("SIZE"), SMTP_OFFERS_SIZE},
        {STR_INIT("8BITMIME"), SMTP_OFFERS_8BITMIME},
        {STR_INIT("SMTPUTF8"), SMTP_OFFERS_SMTPUTF8},
        {STR_INIT("DSN"), SMTP_OFFERS_DSN},
        {STR_INIT("DELIVERBY"), SMTP_OFFERS_DELIVERBY},
        {STR_INIT("MT-PRIORITY"), SMTP_OFFERS_MT_PRIORITY},
        {STR_INIT("CHUNKING"), SMTP_OFFERS_CHUNKING},
        {STR_INIT("BINARYMIME"), SMTP_OFFERS_BINARYMIME},
        {STR_INIT("LIMITS"), SMTP_OFFERS_LIMITS},
        {STR_INIT("STARTTLS"), SMTP_OFFERS_STARTTLS},
        {STR_INIT("REQUIRETLS"), SMTP_OFFERS_REQUIRETLS},
    };
    struct smtp_client *c = arg;
    line = str_trim(line);
    struct str word = str_cut(&line, ' ');
    if (c->hello_lines++ == 0) {
        c->is_ourselves = str_ieq(word, c->conf.hostname.n > 0 ? c->conf.hostname : c->conf.helo);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!str_ieq(word, words[i].word))
            continue;
        c->offers |= words[i].offer;
        if (words[i].offer == SMTP_OFFERS_SIZE && !str_to_u64(str_trim(line), UINT64_MAX, &c->size_limit))
            c->size_limit = 0; /* RFC 1870 4: without a number, or with 0, there is no fixed limit */
        if (words[i].offer == SMTP_OFFERS_DELIVERBY && !str_to_u64(str_trim(line), 999999999, &c->by_min))
            c->by_min = 0; /* RFC 2852 2: no number, no least time */
        if (words[i].offer == SMTP_OFFERS_LIMITS)
            take_limits(c, line);
    }
    if (str_ieq(word, STR("AUTH")))
        c->mechanisms |= sasl_of_list(line);
    else if (str_istarts(word, STR("AUTH="))) /* of servers older than RFC 2554 */
        c->mechanisms |= sasl_of_list(str_skip(word, 5)) | sasl_of_list(line);
}

/* ---- greeting and hello ---------------------------------------------------------------------- */

void smtp_client_leave_for(struct smtp_client *c, struct smtp_client_result why)
{
    c->failure = why;
    smtp_plan_reset(&c->plan);
    smtp_plan_add(&c->plan, SMTP_STEP_QUIT, 0);
    smtp_client_set_state(c, SMTP_CLIENT_ST_QUIT);
}

static void refuse_session(struct smtp_client *c, enum smtp_client_stage stage)
{
    smtp_client_leave_for(c, smtp_client_theirs(c, stage));
}

static void refuse_ourselves(struct smtp_client *c)
{
    smtp_client_leave_for(
        c, smtp_client_ours(SMTP_OUTCOME_PERMANENT, SMTP_AT_HELLO, ESC(5, 4, 6),
                            STR("the mail exchanger is this server: the mail would come back")));
}

void smtp_client_on_greeting(struct smtp_client *c)
{
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_GREETING);
    if (outcome == SMTP_OUTCOME_PENDING) {
        smtp_client_die_of_nonsense(c, "a new connection");
        return;
    }
    if (outcome != SMTP_OUTCOME_OK) {
        refuse_session(c, SMTP_AT_GREETING);
        return;
    }
    smtp_plan_received(&c->plan);
    smtp_plan_add(&c->plan, c->conf.lmtp ? SMTP_STEP_LHLO : SMTP_STEP_EHLO, 0);
    smtp_client_set_state(c, SMTP_CLIENT_ST_HELLO);
}

/* What an EHLO has taught is gone. */
static void forget_offers(struct smtp_client *c)
{
    c->offers = c->mechanisms = 0;
    c->size_limit = c->by_min = c->rcpt_max = c->mail_max = c->domain_max = 0;
    c->hello_lines = 0;
    c->is_ourselves = false;
}

/* The mail must not go in the clear, and this server gives nothing else: it waits. Of the codes of RFC
 * 3463 3.8 and of Postfix: 4.7.4 where there is no TLS to be had, 4.7.5 where it came to nothing. */
static void refuse_plain(struct smtp_client *c)
{
    smtp_client_leave_for(
        c, smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_TLS, ESC(4, 7, 4),
                            STR("TLS is required here and the server does not offer STARTTLS")));
}

void smtp_client_become_greeted(struct smtp_client *c)
{
    smtp_client_become_ready(c);
    c->events |= 1u << SMTP_CLIENT_READY;
}

/* Encrypted as far as it will be. */
static void after_tls(struct smtp_client *c)
{
    if (c->conf.login != NULL)
        smtp_client_auth_begin(c);
    else
        smtp_client_become_greeted(c);
}

static void after_hello(struct smtp_client *c)
{
    if (c->is_encrypted || c->conf.tls == SMTP_CLIENT_TLS_NONE)
        after_tls(c);
    else if ((c->offers & SMTP_OFFERS_STARTTLS) != 0)
        smtp_plan_add(&c->plan, SMTP_STEP_STARTTLS, 0);
    else if (c->conf.tls == SMTP_CLIENT_TLS_MUST)
        refuse_plain(c);
    else
        after_tls(c);
}

void smtp_client_on_hello(struct smtp_client *c, enum smtp_step_kind kind)
{
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_HELLO);
    /* only 250 (RFC 5321 4.3.2): a server that greets twice would be one reply ahead for ever */
    if (outcome == SMTP_OUTCOME_PENDING || (outcome == SMTP_OUTCOME_OK && c->parser.reply.code != 250)) {
        smtp_client_die_of_nonsense(c, smtp_step_name(kind));
        return;
    }
    smtp_plan_received(&c->plan);
    if (outcome == SMTP_OUTCOME_OK && c->conf.is_mx && c->is_ourselves) {
        refuse_ourselves(c);
    } else if (outcome == SMTP_OUTCOME_OK) {
        after_hello(c);
    } else {
        forget_offers(c);
        if (kind == SMTP_STEP_EHLO && outcome == SMTP_OUTCOME_PERMANENT)
            smtp_plan_add(&c->plan, SMTP_STEP_HELO, 0); /* RFC 5321 3.2: an old server */
        else
            refuse_session(c, SMTP_AT_HELLO);
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

/* RFC 3207 4: 220, and nothing else, means that TLS begins. 4.1 lets a client go on in the clear after a
 * refusal; where TLS must be, the mail waits, whatever the class of the reply. */
void smtp_client_on_starttls(struct smtp_client *c)
{
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_TLS);
    if (outcome == SMTP_OUTCOME_PENDING || (outcome == SMTP_OUTCOME_OK && c->parser.reply.code != 220)) {
        smtp_client_die_of_nonsense(c, smtp_step_name(SMTP_STEP_STARTTLS));
        return;
    }
    smtp_plan_received(&c->plan);
    if (outcome == SMTP_OUTCOME_OK) {
        smtp_client_set_state(c, SMTP_CLIENT_ST_TLS);
        c->events |= 1u << SMTP_CLIENT_WANT_TLS;
    } else if (c->conf.tls == SMTP_CLIENT_TLS_MUST) {
        struct smtp_client_result why = smtp_client_theirs(c, SMTP_AT_TLS);
        why.outcome = SMTP_OUTCOME_TEMPORARY;
        why.esc = ESC(4, 7, 5);
        smtp_client_leave_for(c, why);
    } else {
        after_tls(c);
    }
}

void smtp_client_die_of_injection(struct smtp_client *c)
{
    struct smtp_client_result why =
        smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_TLS, ESC(4, 7, 5),
                         STR("octets came in the clear behind the reply to STARTTLS: somebody else may have "
                             "put them there"));
    smtp_client_die(c, &why);
}

void smtp_client_tls(struct smtp_client *c, const struct smtp_client_secured *s, uint64_t now_ms)
{
    must(c->state == SMTP_CLIENT_ST_TLS || c->state == SMTP_CLIENT_ST_DEAD);
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    must((c->events & 1u << SMTP_CLIENT_WANT_TLS) == 0 && c->out.n == 0);
    c->now_ms = now_ms;
    c->is_encrypted = true;
    c->secured = *s;
    forget_offers(c);
    smtp_plan_reset(&c->plan);
    smtp_plan_add(&c->plan, c->conf.lmtp ? SMTP_STEP_LHLO : SMTP_STEP_EHLO, 0);
    smtp_client_set_state(c, SMTP_CLIENT_ST_HELLO);
    smtp_client_pump(c);
}

void smtp_client_no_tls(struct smtp_client *c, struct str why, uint64_t now_ms)
{
    must(c->state == SMTP_CLIENT_ST_TLS || c->state == SMTP_CLIENT_ST_DEAD);
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    char mem[SMTP_REPLY_TEXT_MAX];
    struct buf b;
    struct str text;
    c->now_ms = now_ms;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, "TLS could not be established: ");
    buf_put(&b, str_slice(why, 0, sizeof mem - b.n));
    if (!arena_str(&c->arena, buf_str(&b), &text))
        text = STR("TLS could not be established");
    struct smtp_client_result res = smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_TLS, ESC(4, 7, 5), text);
    smtp_client_die(c, &res);
}
