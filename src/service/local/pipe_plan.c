/* service/local/pipe_plan.c: see pipe_plan.h. */
#include "service/local/pipe_plan.h"

static bool refuse(struct job_result *why, enum result_kind kind, struct esc esc, const char *text)
{
    *why = (struct job_result){.kind = kind, .esc = esc, .text = str_from_c(text)};
    return false;
}

/* What an address made impossible is for good, as the address stays. */
static bool put_words(const struct deliver *d, const struct pipe_facts *facts, struct buf *words,
                      struct job_result *why)
{
    char mem[PIPE_WORDS_OCTETS];
    struct buf word;
    for (size_t i = 0; i < d->n_argv; i++) {
        buf_init_fixed(&word, mem, sizeof mem);
        const char *problem = policy_pipe_word(d, i, facts, &word);
        if (problem != NULL && word.failed)
            return refuse(why, RESULT_TEMPORARY, ESC(4, 3, 5), problem);
        if (problem != NULL)
            return refuse(why, RESULT_PERMANENT, ESC(5, 1, 3), problem);
        if (!list_put_str(words, buf_str(&word)))
            return refuse(why, RESULT_TEMPORARY, ESC(4, 3, 5), "the words of the program are too long");
    }
    return true;
}

bool plan_pipe(const struct config *conf, const struct ipc_local_job *m, struct pipe_plan *out,
               struct job_result *why)
{
    struct buf words, text;
    struct reader r = reader_of(m->rcpts);
    struct rcpt rcpt;
    struct route route;
    buf_init_fixed(&words, out->words, sizeof out->words);
    buf_init_fixed(&text, out->text, sizeof out->text);
    if (!rcpt_next(&r, &rcpt))
        return refuse(why, RESULT_TEMPORARY, ESC(4, 3, 0), "there is no recipient");
    policy_route(&conf->policy, &(struct route_ask){.sender = m->sender, .rcpt = &rcpt}, &text, &route);
    /* The queue asked with what it knew; the user is what we go by. */
    if (route.kind != ROUTE_PIPE || route.uid != m->uid || route.gid != m->gid)
        return refuse(why, RESULT_TEMPORARY, ESC(4, 3, 5), "the configuration has no such program any more");
    const struct pipe_facts facts = {.user = route.user,
                                     .domain = route.domain,
                                     .detail = route.detail,
                                     .sender = m->sender,
                                     .rcpt = rcpt.address};
    if (str_has_ctl(m->sender) || str_has_ctl(rcpt.address))
        return refuse(why, RESULT_PERMANENT, ESC(5, 1, 3),
                      "an address with a control character is not given to a program");
    if (!put_words(route.deliver, &facts, &words, why))
        return false;
    out->job = (struct ipc_pipe_job){
        .id = m->id,
        .flags = m->flags,
        .words = buf_str(&words),
        .login = route.login,
        .home = route.home,
        .extension = route.detail,
        .domain = route.domain,
        .sender = m->sender,
        .rcpt = rcpt.address,
        .time_limit_s = route.deliver->time_limit_s,
        .size = m->size,
        .is_piped = m->is_piped,
        .body = m->body,
    };
    return true;
}
