/* service/smtpd/ask.c: what a session can't know itself and asks lookup, queue, keys or auth for, and what it
 * answers alone beside mail: EXPN.
 *
 * Owns:     the open question of each session (struct ask), found by its token.
 * Limits:   one question a session, SMTPD_ASKS_MAX a process, each for SMTPD_ASK_MS or SMTPD_CALLOUT_MS.
 * Errors:   trouble of ours never refuses a sender; a recipient that can't be verified is a 450.
 */
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/smtpd/smtpd.h"

void ask_forget(struct session *s)
{
    if (s->ask.kind == ASK_NONE)
        return;
    (void)idmap_remove(&s->d->asks, s->ask.by_token.id);
    s->d->n_asks--;
    s->ask = (struct ask){.kind = ASK_NONE};
}

/* Answers the open question; the caller pumps. */
static void finish(struct session *s, enum smtp_reply_id id, struct str arg)
{
    struct ask a = s->ask;
    ask_forget(s);
    if (a.kind == ASK_CALLOUT)
        session_answer_rcpt(s, a.question, a.rcpt, id);
    else if (a.kind == ASK_SENDER)
        session_answer_mail(s, a.question, id);
    else
        smtp_server_answer(&s->server, a.question, id, arg);
}

static bool is_login(enum ask_kind kind)
{
    return kind == ASK_AUTH || kind == ASK_ELSEWHERE || kind == ASK_TOKEN;
}

/* What is said without an answer. why: of a login, for the journal. */
static void finish_without(struct session *s, const char *why)
{
    static const enum smtp_reply_id replies[] = {
        [ASK_SENDER] = R_MAIL_OK, [ASK_CALLOUT] = R_CALLOUT_LATER, [ASK_ETRN] = R_ETRN_UNABLE};
    if (is_login(s->ask.kind))
        login_without(s, why);
    else
        finish(s, replies[s->ask.kind], s->ask.text);
}

static enum role role_of(enum ask_kind kind)
{
    return kind == ASK_SENDER ? ROLE_LOOKUP
           : kind == ASK_AUTH ? ROLE_KEYS
           : is_login(kind)   ? ROLE_AUTH
                              : ROLE_QUEUE;
}

static struct channel *channel_of(const struct smtpd *d, enum ask_kind kind)
{
    enum role r = role_of(kind);
    return r == ROLE_LOOKUP ? d->lookup : r == ROLE_KEYS ? d->keys : r == ROLE_AUTH ? d->auth : d->queue;
}

bool ask_begin(struct session *s, enum ask_kind kind, const struct smtp_event *ev)
{
    struct smtpd *d = s->d;
    must(s->ask.kind == ASK_NONE);
    if (d->n_asks >= SMTPD_ASKS_MAX || channel_of(d, kind) == NULL)
        return false;
    uint64_t now = world_now_ms(d->world);
    s->ask = (struct ask){.kind = kind, .question = ev->question, .rcpt = ev->rcpt, .text = ev->text};
    s->ask.due_ms = now + (kind == ASK_CALLOUT ? SMTPD_CALLOUT_MS
                           : is_login(kind)    ? SMTPD_AUTH_MS
                                               : SMTPD_ASK_MS);
    s->ask.by_token.id = d->next_token++;
    idmap_insert(&d->asks, &s->ask.by_token, s->ask.by_token.id);
    d->n_asks++;
    world_timer_set(d->world, &s->timer, s->ask.due_ms);
    return true;
}

/* Is it a stranger's domain that DNS can say something of? The name to ask for is put into out. */
static bool sender_domain(const struct session *s, struct buf *out)
{
    const struct address *from = &smtp_server_transaction(&s->server)->from;
    const struct policy_conf *p = &s->conf->config->policy;
    if (s->is_ours || from->text.n == 0 || from->kind != DOMAIN_NAME ||
        policy_domain(p, from->domain) != NULL)
        return false;
    if (str_is_ascii(from->domain))
        return buf_put(out, from->domain);
    return p->to_ascii != NULL && p->to_ascii(from->domain, out);
}

/* Who has logged in writes as himself. */
static bool may_send(struct session *s)
{
    struct str login = login_address(s);
    return login.n == 0 || policy_may_send(&s->conf->config->policy, &s->d->pool, login,
                                           &smtp_server_transaction(&s->server)->from);
}

void ask_sender(struct session *s, const struct smtp_event *ev)
{
    char mem[DNS_NAME_MAX];
    struct buf name;
    buf_init_fixed(&name, mem, sizeof mem);
    if (s->at->submission && !s->is_ours) {
        session_answer_mail(s, ev->question, R_SENDER_REFUSED);
        return;
    }
    if (!may_send(s)) {
        session_answer_mail(s, ev->question, R_SENDER_NOT_YOURS);
        return;
    }
    if (!sender_domain(s, &name) || name.failed || !ask_begin(s, ASK_SENDER, ev)) {
        session_answer_mail(s, ev->question, R_MAIL_OK);
        return;
    }
    struct ipc_mx_ask m = {.token = s->ask.by_token.id, .domain = buf_str(&name)};
    if (ipc_send_mx_ask(s->d->lookup, &m, NULL) != ERR_OK)
        finish_without(s, "");
}

void ask_callout(struct session *s, const struct smtp_event *ev)
{
    if (!ask_begin(s, ASK_CALLOUT, ev)) {
        session_answer_rcpt(s, ev->question, ev->rcpt, R_CALLOUT_LATER);
        return;
    }
    struct ipc_callout_ask m = {.token = s->ask.by_token.id, .rcpt = ev->rcpt->text};
    if (ipc_send_callout_ask(s->d->queue, &m, NULL) != ERR_OK)
        finish_without(s, "");
}

void ask_etrn(struct session *s, const struct smtp_event *ev)
{
    const struct config *c = s->conf->config;
    if (!session_is_in(c->etrn_from, c->n_etrn_from, &s->peer)) {
        smtp_server_answer(&s->server, ev->question, R_ETRN_DENIED, ev->text);
        return;
    }
    if (!ask_begin(s, ASK_ETRN, ev)) {
        smtp_server_answer(&s->server, ev->question, R_ETRN_UNABLE, ev->text);
        return;
    }
    struct ipc_etrn_ask m = {.token = s->ask.by_token.id, .domain = ev->text};
    if (ipc_send_etrn_ask(s->d->queue, &m, NULL) != ERR_OK)
        finish_without(s, "");
}

/* ---- answers that come ---------------- */

static struct session *find(struct smtpd *d, uint64_t token)
{
    struct idmap_node *n = idmap_find(&d->asks, token);
    if (n == NULL) /* too late, or the client is gone */
        return NULL;
    return container_of(container_of(n, struct ask, by_token), struct session, ask);
}

static struct session *asker(struct smtpd *d, uint64_t token, enum ask_kind kind)
{
    struct session *s = find(d, token);
    return s != NULL && s->ask.kind == kind ? s : NULL;
}

void ask_on_mx(struct smtpd *d, const struct ipc_mx_answer *m)
{
    struct session *s = asker(d, m->token, ASK_SENDER);
    if (s == NULL)
        return;
    finish(s, m->status == DNS_STATUS_NULL_MX ? R_SENDER_NULL_MX : R_MAIL_OK, STR_NIL);
    session_pump(s);
}

void ask_on_callout(struct smtpd *d, const struct ipc_callout_answer *m)
{
    struct session *s = asker(d, m->token, ASK_CALLOUT);
    if (s == NULL)
        return;
    finish(s,
           m->kind == RESULT_OK          ? R_RCPT_OK
           : m->kind == RESULT_PERMANENT ? (m->code == 0 ? R_NO_SUCH_USER : R_CALLOUT_UNKNOWN)
                                         : R_CALLOUT_LATER,
           STR_NIL);
    session_pump(s);
}

void ask_on_etrn(struct smtpd *d, const struct ipc_etrn_answer *m)
{
    char mem[16];
    struct buf number;
    buf_init_fixed(&number, mem, sizeof mem);
    struct session *s = asker(d, m->token, ASK_ETRN);
    if (s == NULL)
        return;
    buf_printf(&number, "%u", (unsigned)m->n);
    if (m->is_run == 0)
        finish(s, R_ETRN_UNABLE, s->ask.text);
    else if (m->n == 0)
        finish(s, R_ETRN_NOTHING, s->ask.text);
    else
        finish(s, R_ETRN_PENDING_N, buf_str(&number));
    session_pump(s);
}

void ask_on_auth(struct smtpd *d, enum role from, const struct ipc_auth_answer *m)
{
    struct session *s = find(d, m->token);
    if (s == NULL || !is_login(s->ask.kind) || role_of(s->ask.kind) != from)
        return;
    login_on_answer(s, m);
    session_pump(s);
}

void ask_on_timer(struct session *s)
{
    s->d->count.trouble++;
    finish_without(s, "no answer came in time from the process that looks at passwords");
}

void ask_on_lost(struct smtpd *d, enum role who)
{
    list_each (l, &d->sessions) {
        struct session *s = list_entry(l, struct session, link);
        if (s->ask.kind == ASK_NONE || role_of(s->ask.kind) != who)
            continue;
        finish_without(s, "the process that looks at passwords ended");
        session_pump(s);
    }
}

/* ---- EXPN ---------------- */

/* The domain of a bare name: of our host name, of postmaster, or any (they are sorted by name). */
static struct str list_domain(const struct policy_conf *p)
{
    size_t at = str_rchr(p->postmaster, '@');
    struct str domain = at == STR_NPOS ? STR_NIL : str_skip(p->postmaster, at + 1);
    if (policy_domain(p, p->hostname) != NULL)
        return p->hostname;
    return domain.n > 0 && policy_domain(p, domain) != NULL ? domain : p->domains[0].name;
}

static bool list_address(const struct policy_conf *p, struct str text, struct buf *out)
{
    if (str_starts(text, STR("<")) && str_ends(text, STR(">")))
        text = str_slice(text, 1, text.n - 1);
    (void)buf_put(out, text);
    if (str_find(text, STR("@")) == STR_NPOS && p->n_domains > 0) {
        (void)buf_putc(out, '@');
        (void)buf_put(out, list_domain(p));
    }
    return !out->failed;
}

void answer_expn(struct session *s, const struct smtp_event *ev)
{
    const struct policy_conf *p = &s->conf->config->policy;
    char mem[SMTP_PATH_MAX], lines_mem[SMTP_REPLY_FILLED_MAX];
    struct buf name, lines;
    buf_init_fixed(&name, mem, sizeof mem);
    buf_init_fixed(&lines, lines_mem, sizeof lines_mem);
    struct arena a;
    arena_init(&a, &s->d->pool, SMTPD_EXPN_MEMORY);
    struct expansion x = {.kind = EXPAND_NONE};
    enum smtp_reply_id id = R_EXPN;
    struct address address;
    if (!s->is_ours)
        id = R_EXPN_DENIED;
    else if (!list_address(p, ev->text, &name) || address_parse(buf_str(&name), true, &address) != NULL)
        id = R_NO_SUCH_LIST;
    else if (!policy_expand(p, &(struct rcpt){.address = buf_str(&name)}, &a, &x))
        id = R_NO_MEMORY;
    else if (x.kind != EXPAND_ALIAS)
        id = x.kind == EXPAND_FAILED ? R_ALIAS_TROUBLE : R_NO_SUCH_LIST;
    for (size_t i = 0; id == R_EXPN && i < x.n_targets; i++) {
        if (i > 0)
            (void)buf_putc(&lines, '\n');
        (void)buf_putc(&lines, '<');
        (void)buf_put(&lines, x.targets[i].address); /* of a program the alias that leads to it */
        (void)buf_putc(&lines, '>');
    }
    if (lines.failed)
        id = R_EXPN_TOO_LONG;
    smtp_server_answer(&s->server, ev->question, id, id == R_EXPN ? buf_str(&lines) : STR_NIL);
    arena_reset(&a);
}
