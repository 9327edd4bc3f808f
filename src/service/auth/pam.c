/* service/auth/pam.c: PAM's modules, which may wait for whatever they like, are asked in processes of their
 * own: ROLE_PAM_N of them, each with one question at a time (service/pam/pam.c).
 *
 * A question whose time is over is answered without them; the process is asked nothing more until it has
 * answered, or ended because it took too long.
 */
#include "service/auth/auth.h"

static void ask_waiting(struct auth *a);

/* The one that it works on, if it is still open. */
static struct auth_question *question_of(const struct pam_line *p)
{
    list_each (l, &p->auth->questions) {
        struct auth_question *q = list_entry(l, struct auth_question, link);
        if (q->id == p->busy)
            return q;
    }
    return NULL;
}

static void free_line(struct pam_line *p, enum auth_say say, struct str why)
{
    struct auth_question *q = p->busy == 0 ? NULL : question_of(p);
    p->busy = 0;
    if (q != NULL)
        auth_answer(q, say, STR_NIL, why);
    ask_waiting(p->auth);
}

static void lose_line(struct pam_line *p)
{
    p->channel = NULL;
    free_line(p, AUTH_SAYS_LATER, STR("the process that runs PAM's modules ended"));
}

static void on_closed(void *arg, struct channel *c)
{
    struct pam_line *p = arg;
    role_peer_closed(p->auth->env, c);
    lose_line(p);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct pam_line *p = arg;
    struct ipc_auth_answer m;
    UNUSED(given);
    if (!role_message_allowed(p->auth->env, ROLE_PAM, c, type)) {
        lose_line(p);
    } else if (type != IPC_AUTH_ANSWER || !ipc_decode_auth_answer(payload, &m) || p->busy == 0 ||
               m.token != p->busy) {
        role_message_malformed(p->auth->env, ROLE_PAM, c, type);
        lose_line(p);
    } else {
        free_line(p,
                  m.verdict == AUTH_OK    ? AUTH_SAYS_YES
                  : m.verdict == AUTH_BAD ? AUTH_SAYS_NO
                                          : AUTH_SAYS_LATER,
                  STR("PAM's modules could not say; why is in the log of the process pam"));
    }
}

static void on_room(void *arg, struct channel *c)
{
    struct pam_line *p = arg;
    UNUSED(c);
    ask_waiting(p->auth);
}

static const struct channel_user line_user = {on_message, on_room, on_closed};

static struct pam_line *idle_line(struct auth *a)
{
    for (size_t i = 0; i < ARRAY_LEN(a->pam); i++) {
        if (a->pam[i].channel != NULL && a->pam[i].busy == 0)
            return &a->pam[i];
    }
    return NULL;
}

static void ask_waiting(struct auth *a)
{
    struct pam_line *p;
    while (!list_is_empty(&a->pam_waiting) && (p = idle_line(a)) != NULL) {
        struct auth_question *q = list_entry(a->pam_waiting.next, struct auth_question, place);
        struct ipc_auth_ask m = {.token = q->id,
                                 .kind = AUTH_PASSWORD,
                                 .file = q->backend->conf.service,
                                 .user = auth_name(q),
                                 .client = str_of(q->client, q->n_client),
                                 .secret = q->secret};
        enum err e = ipc_send_auth_ask(p->channel, &m, NULL);
        if (e != ERR_OK) /* AGAIN: on_room comes; CLOSED: on_closed comes */
            return;
        list_remove(&q->place);
        q->asked_ms = world_now_ms(a->world);
        p->busy = q->id;
    }
}

void pam_lines_init(struct auth *a)
{
    list_init(&a->pam_waiting);
    for (size_t i = 0; i < ARRAY_LEN(a->pam); i++)
        a->pam[i].auth = a;
}

void pam_lines_peer(struct auth *a, unsigned index, struct channel *c)
{
    if (index >= ARRAY_LEN(a->pam)) {
        role_peer_closed(a->env, c);
        return;
    }
    a->pam[index].channel = c;
    channel_set_user(c, &line_user, &a->pam[index]);
    ask_waiting(a);
}

void pam_lines_ask(struct auth *a, struct auth_question *q)
{
    list_push_back(&a->pam_waiting, &q->place);
    ask_waiting(a);
}
