/* service/smtpd/ask.c: what the queue is asked beside messages: does the host behind a relayed domain take a
 * recipient (callout), and what waits for a domain (ETRN). A session has one such question open at a time; it
 * reads nothing meanwhile. Without an answer the client hears a 4xx.
 */
#include "base/limits.h"
#include "ipc/lists.h"
#include "service/smtpd/smtpd.h"

static void wait_for(struct session *s, uint32_t question, uint64_t token, bool is_etrn)
{
    s->asked_question = question;
    s->asks_etrn = is_etrn;
    s->asked_ms = world_now_ms(s->d->world);
    idmap_insert(&s->d->asks, &s->by_ask, token);
}

void ask_forget(struct session *s)
{
    if (s->asked_question == 0)
        return;
    s->asked_question = 0;
    (void)idmap_remove(&s->d->asks, s->by_ask.id);
}

/* The session that asked so, no longer waiting; NULL: it is gone. */
static struct session *take(struct smtpd *d, uint64_t token, bool is_etrn, uint32_t *out_question)
{
    struct idmap_node *n = idmap_find(&d->asks, token);
    if (n == NULL)
        return NULL;
    struct session *s = container_of(n, struct session, by_ask);
    if (s->asks_etrn != is_etrn)
        return NULL;
    *out_question = s->asked_question;
    ask_forget(s);
    return s;
}

/* The recipient that is being asked about. */
static struct str rcpt_of(const struct session *s)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    return t == NULL ? STR_NIL : t->rcpts[t->n_rcpts].to.text;
}

void ask_callout(struct session *s, const struct smtp_event *ev)
{
    struct smtpd *d = s->d;
    struct ipc_callout_ask m = {.token = d->next_token++, .rcpt = ev->rcpt->text};
    if (d->queue == NULL || ipc_send_callout_ask(d->queue, &m, NULL) != ERR_OK)
        session_rcpt_reply(s, ev->question, R_CALLOUT_LATER, ev->rcpt->text);
    else
        wait_for(s, ev->question, m.token, false);
}

void ask_on_callout(struct smtpd *d, const struct ipc_callout_answer *m)
{
    static const enum smtp_reply_id replies[] = {[RESULT_OK] = R_RCPT_OK,
                                                 [RESULT_TEMPORARY] = R_CALLOUT_LATER,
                                                 [RESULT_PERMANENT] = R_CALLOUT_UNKNOWN};
    uint32_t question;
    struct session *s = take(d, m->token, false, &question);
    if (s == NULL)
        return;
    enum smtp_reply_id id = m->kind < ARRAY_LEN(replies) ? replies[m->kind] : R_CALLOUT_LATER;
    session_rcpt_reply(s, question, id, rcpt_of(s));
    session_pump(s);
}

void ask_etrn(struct session *s, const struct smtp_event *ev, struct str domain)
{
    struct smtpd *d = s->d;
    struct ipc_etrn_ask m = {.token = d->next_token++, .domain = domain};
    if (d->queue == NULL || ipc_send_etrn_ask(d->queue, &m, NULL) != ERR_OK)
        smtp_server_answer(&s->server, ev->question, R_ETRN_UNABLE, domain);
    else
        wait_for(s, ev->question, m.token, true);
}

void ask_on_etrn(struct smtpd *d, const struct ipc_etrn_answer *m)
{
    uint32_t question;
    struct session *s = take(d, m->token, true, &question);
    if (s == NULL)
        return;
    char mem[16];
    struct buf n;
    buf_init_fixed(&n, mem, sizeof mem);
    buf_printf(&n, "%u", (unsigned)m->n);
    if (m->n > 0)
        smtp_server_answer(&s->server, question, R_ETRN_PENDING_N, buf_str(&n));
    else
        smtp_server_answer(&s->server, question, R_ETRN_NOTHING, STR("this node"));
    session_pump(s);
}

void ask_give_up(struct session *s)
{
    uint32_t question = s->asked_question;
    bool is_etrn = s->asks_etrn;
    ask_forget(s);
    if (is_etrn)
        smtp_server_answer(&s->server, question, R_ETRN_UNABLE, STR("this node"));
    else
        session_rcpt_reply(s, question, R_CALLOUT_LATER, rcpt_of(s));
}

static void collect(struct idmap_node *n, void *arg)
{
    struct session **out = arg;
    *out = container_of(n, struct session, by_ask);
}

void ask_on_queue_lost(struct smtpd *d)
{
    for (;;) {
        struct session *s = NULL;
        idmap_each(&d->asks, collect, &s);
        if (s == NULL)
            return;
        ask_give_up(s);
        session_pump(s);
    }
}
