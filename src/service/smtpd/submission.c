/* service/smtpd/submission.c: what a program or user of ours submits becomes mail that the world can read and
 * answer: addresses of this machine are rewritten (policy/rewrite.h), and the header gets what it lacks
 * (wire/header_fix.h).
 */
#include "policy/rewrite.h"
#include "service/smtpd/smtpd.h"

/* And not one that another server relays through us. */
static bool is_submission(const struct session *s)
{
    return s->is_ours && (s->at->is_submit || s->at->submission);
}

struct str submission_rcpt(const struct session *s, const struct address *to, struct buf *mem)
{
    return is_submission(s) ? rewrite_rcpt(&s->conf->config->policy, to, mem) : to->text;
}

bool submission_is_copy(const struct session *s, uint32_t i)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    char mem[2][SMTP_PATH_MAX] __attribute__((uninitialized));
    struct buf b[2];
    buf_init_fixed(&b[0], mem[0], sizeof mem[0]);
    struct str to = submission_rcpt(s, &t->rcpts[i].to, &b[0]);
    if (to.p == t->rcpts[i].to.text.p)
        return false; /* said twice by the client itself: his own affair */
    for (uint32_t k = 0; k < i; k++) {
        buf_init_fixed(&b[1], mem[1], sizeof mem[1]);
        if (t->rcpts[k].notify == t->rcpts[i].notify &&
            str_ieq(to, submission_rcpt(s, &t->rcpts[k].to, &b[1])))
            return true;
    }
    return false;
}

static bool readdress(void *arg, struct str text, struct buf *out)
{
    const struct session *s = arg;
    char mem[SMTP_PATH_MAX] __attribute__((uninitialized));
    struct buf b;
    struct address a;
    buf_init_fixed(&b, mem, sizeof mem);
    if (address_parse(text, true, &a) != NULL)
        return false;
    struct str to =
        rewrite_author(&s->conf->config->policy, smtp_server_transaction(&s->server)->from.text, &a, &b);
    return to.n > 0 && buf_put(out, to);
}

void submission_begin(struct put *p)
{
    struct session *s = p->session;
    const struct policy_conf *policy = &s->conf->config->policy;
    const struct address *from = &smtp_server_transaction(&s->server)->from;
    struct buf mem;
    p->sender = from->text;
    p->fix.at = HEADER_FIX_BODY;
    if (!is_submission(s))
        return;
    buf_init_fixed(&mem, p->sender_mem, sizeof p->sender_mem);
    p->sender = rewrite_sender(policy, from, &mem);
    bool is_on = rewrite_is_on(policy);
    struct header_fix_facts facts = {
        .from = from->domain.n > 0 ? p->sender : STR_NIL,
        .host = policy->hostname,
        .queue_id = p->id,
        .unix_s = world_wall_ms(s->d->world) / 1000,
        .readdress = is_on ? readdress : NULL,
        .readdress_arg = s,
    };
    header_fix_init(&p->fix, &facts);
}
