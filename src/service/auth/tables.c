/* service/auth/tables.c: directories, databases and issuers of tokens are asked by a process of their own, which
 * may be asked about many at a time (service/tables/tables.c, oauth.c).
 *
 * While it is away, because it has ended and another one starts, questions wait for it, as long as they may.
 */
#include "service/auth/auth.h"

enum { WHY_MAX = 600 };

static void ask_waiting(struct auth *a)
{
    while (!list_is_empty(&a->tables_waiting) && a->tables != NULL) {
        struct auth_question *q = list_entry(a->tables_waiting.next, struct auth_question, place);
        struct ipc_auth_ask m = {.token = q->id,
                                 .kind = q->is_token ? AUTH_TOKEN : AUTH_PASSWORD,
                                 .file = str_of(q->domain, q->n_domain),
                                 .user = auth_name(q),
                                 .client = str_of(q->client, q->n_client),
                                 .secret = q->secret};
        enum err e = ipc_send_auth_ask(a->tables, &m, NULL);
        if (e != ERR_OK) /* AGAIN: on_room comes; CLOSED: on_closed comes */
            return;
        list_remove(&q->place);
        list_push_back(&a->tables_asked, &q->place);
        q->asked_ms = world_now_ms(a->world);
    }
}

static void lose(struct auth *a)
{
    a->tables = NULL;
    while (!list_is_empty(&a->tables_asked))
        auth_answer(list_entry(a->tables_asked.next, struct auth_question, place), AUTH_SAYS_LATER, STR_NIL,
                    STR("the process that asks directories, databases and issuers of tokens ended"));
}

static void on_closed(void *arg, struct channel *c)
{
    struct auth *a = arg;
    role_peer_closed(a->env, c);
    lose(a);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct auth *a = arg;
    struct ipc_auth_answer m;
    UNUSED(given);
    if (!role_message_allowed(a->env, ROLE_TABLES, c, type)) {
        lose(a);
    } else if (type != IPC_AUTH_ANSWER || !ipc_decode_auth_answer(payload, &m) || m.token > UINT32_MAX) {
        role_message_malformed(a->env, ROLE_TABLES, c, type);
        lose(a);
    } else {
        struct auth_question *q = auth_find(&a->tables_asked, (uint32_t)m.token);
        if (q != NULL) /* else its time was over */
            auth_answer(q,
                        m.verdict == AUTH_OK    ? AUTH_SAYS_YES
                        : m.verdict == AUTH_BAD ? AUTH_SAYS_NO
                                                : AUTH_SAYS_LATER,
                        q->is_token ? m.user : STR_NIL, str_slice(m.why, 0, WHY_MAX));
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(c);
    ask_waiting(arg);
}

static const struct channel_user tables_user = {on_message, on_room, on_closed};

void tables_init(struct auth *a)
{
    list_init(&a->tables_waiting);
    list_init(&a->tables_asked);
}

void tables_peer(struct auth *a, struct channel *c)
{
    a->tables = c;
    channel_set_user(c, &tables_user, a);
    ask_waiting(a);
}

void tables_ask(struct auth *a, struct auth_question *q)
{
    list_push_back(&a->tables_waiting, &q->place);
    ask_waiting(a);
}
