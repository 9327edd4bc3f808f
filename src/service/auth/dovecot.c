/* service/auth/dovecot.c: one connection to Dovecot's auth process, for all questions that it is asked.
 *
 * DOWN -> CONNECTING -> HELLO (both sides say who they are) -> READY (questions) -> DOWN ...
 * It is made for the first question and kept. When it ends, all questions that wait for it are answered as
 * temporary failures; the next question makes a new one.
 *
 * Limits:   AUTH_HELLO_MS until READY; a question that is overdue while nothing was heard since it was asked
 *           ends the connection.
 * Security: what was written of a question is wiped when it is on its way.
 */
#include "service/auth/auth.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <string.h>

enum dovecot_state { DOVECOT_DOWN = 0, DOVECOT_CONNECTING, DOVECOT_HELLO, DOVECOT_UP };
enum { INPUT_SIZE = 4096, INPUTS_A_TURN = 16 };

struct dovecot {
    struct backend *backend;
    struct world *world;
    enum dovecot_state state;
    bool is_known_down; /* the log says so */
    struct connecting *connecting;
    struct conn *conn;
    struct timer timer; /* until READY */
    uint64_t heard_ms;
    struct list waiting, asked; /* questions */
    struct dovecot_auth protocol;
    struct buf out; /* what of the hello or of one question was not written yet */
    char out_mem[DOVECOT_QUESTION_MAX];
};

static void set_state(struct dovecot *d, enum dovecot_state to)
{
    static const bool allowed[4][4] = {
        [DOVECOT_DOWN] = {[DOVECOT_CONNECTING] = true},
        [DOVECOT_CONNECTING] = {[DOVECOT_HELLO] = true, [DOVECOT_DOWN] = true},
        [DOVECOT_HELLO] = {[DOVECOT_UP] = true, [DOVECOT_DOWN] = true},
        [DOVECOT_UP] = {[DOVECOT_DOWN] = true},
    };
    must(allowed[d->state][to]);
    d->state = to;
}

/* ---- the end of a connection ---------------- */

static void answer_all(struct list *place, struct str why)
{
    while (!list_is_empty(place))
        auth_answer(list_entry(place->next, struct auth_question, place), AUTH_SAYS_LATER, STR_NIL, why);
}

/* Once for each time that it is away, and only where somebody waits: an idle one may go. */
static void tell_down(struct dovecot *d, struct str why)
{
    if (d->is_known_down || (list_is_empty(&d->waiting) && list_is_empty(&d->asked)))
        return;
    d->is_known_down = true;
    log_error(world_log(d->world), "auth.down", LC("socket", d->backend->conf.at.path), LS("why", why));
}

static void close_down(struct dovecot *d)
{
    world_timer_cancel(d->world, &d->timer);
    if (d->connecting != NULL)
        connecting_cancel(d->connecting);
    if (d->conn != NULL)
        conn_close(d->conn);
    d->connecting = NULL;
    d->conn = NULL;
    secret_wipe(d->out_mem, sizeof d->out_mem);
    buf_reset(&d->out);
    if (d->state != DOVECOT_DOWN)
        set_state(d, DOVECOT_DOWN);
}

static void end(struct dovecot *d, struct str why)
{
    tell_down(d, why);
    close_down(d);
    answer_all(&d->asked, why);
    answer_all(&d->waiting, why);
}

/* ---- out ---------------- */

/* false: it ended. */
static bool flush(struct dovecot *d)
{
    while (d->out.n > 0) {
        struct str piece = buf_str(&d->out);
        size_t n = 0;
        enum err e = conn_write(d->conn, &piece, 1, &n);
        if (e == ERR_AGAIN)
            break;
        if (e != ERR_OK) {
            end(d, str_from_c(err_str(e)));
            return false;
        }
        buf_consume(&d->out, n);
    }
    if (d->out.n == 0)
        secret_wipe(d->out_mem, sizeof d->out_mem);
    conn_want(d->conn, d->out.n > 0 ? CONN_READABLE | CONN_WRITABLE : CONN_READABLE);
    return true;
}

static bool put_question(struct dovecot *d, const struct auth_question *q)
{
    char mem[SMTP_LOCAL_PART_MAX + 1 + SMTP_DOMAIN_MAX];
    struct buf user;
    buf_init_fixed(&user, mem, sizeof mem);
    buf_put(&user, auth_name(q));
    buf_putc(&user, '@');
    buf_put(&user, str_of(q->domain, q->n_domain));
    struct dovecot_question text = {.id = q->id,
                                    .user = buf_str(&user),
                                    .password = q->secret,
                                    .client = str_of(q->client, q->n_client)};
    return !user.failed && dovecot_put_question(&d->out, &text);
}

static void send_waiting(struct dovecot *d)
{
    while (d->state == DOVECOT_UP && d->out.n == 0 && !list_is_empty(&d->waiting)) {
        struct auth_question *q = list_entry(d->waiting.next, struct auth_question, place);
        if (!put_question(d, q)) {
            auth_answer(q, AUTH_SAYS_LATER, STR_NIL, STR("the question can't be put to Dovecot"));
            continue;
        }
        list_remove(&q->place);
        list_push_back(&d->asked, &q->place);
        q->asked_ms = world_now_ms(d->world);
        if (!flush(d))
            return;
    }
}

/* ---- in ---------------- */

static void on_answer(struct dovecot *d, const struct dovecot_event *e)
{
    static const enum auth_say say[] = {
        [DOVECOT_YES] = AUTH_SAYS_YES, [DOVECOT_NO] = AUTH_SAYS_NO, [DOVECOT_LATER] = AUTH_SAYS_LATER};
    struct auth_question *q = auth_find(&d->asked, e->id);
    struct str why = e->why.n > 0 ? e->why : STR("Dovecot could not say");
    if (q != NULL) /* else its time was over */
        auth_answer(q, say[e->verdict], e->user, why);
}

/* false: it ended. */
static bool take(struct dovecot *d, struct str in)
{
    for (;;) {
        struct dovecot_event e = dovecot_auth_feed(&d->protocol, &in);
        if (e.kind == DOVECOT_MORE)
            return true;
        if (e.kind == DOVECOT_BROKEN) {
            end(d, e.why);
            return false;
        }
        if (e.kind == DOVECOT_ANSWER) {
            on_answer(d, &e);
            continue;
        }
        set_state(d, DOVECOT_UP);
        world_timer_cancel(d->world, &d->timer);
        if (d->is_known_down)
            log_info(world_log(d->world), "auth.up", LC("socket", d->backend->conf.at.path));
        d->is_known_down = false;
    }
}

static bool read_all(struct dovecot *d)
{
    char mem[INPUT_SIZE];
    for (unsigned i = 0; i < INPUTS_A_TURN; i++) {
        size_t n = 0;
        enum err e = conn_read(d->conn, mem, sizeof mem, &n);
        if (e == ERR_AGAIN)
            return true;
        if (e != ERR_OK) {
            end(d, e == ERR_CLOSED ? STR("Dovecot closed the connection") : str_from_c(err_str(e)));
            return false;
        }
        d->heard_ms = world_now_ms(d->world);
        if (!take(d, str_of(mem, n)))
            return false;
    }
    return true; /* the rest comes in the next turn */
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct dovecot *d = arg;
    UNUSED(c);
    if ((ready & CONN_READABLE) != 0 && !read_all(d))
        return;
    if ((ready & CONN_WRITABLE) != 0 && !flush(d))
        return;
    send_waiting(d);
}

static const struct conn_user conn_user = {on_ready};

/* ---- the beginning of one ---------------- */

static void on_connected(void *arg, enum err err, struct conn *c)
{
    struct dovecot *d = arg;
    uint32_t pid;
    char mem[128];
    struct buf why;
    d->connecting = NULL;
    if (err != ERR_OK) {
        buf_init_fixed(&why, mem, sizeof mem);
        buf_printf(&why, "Dovecot can't be reached at its socket: %s", err_str(err));
        end(d, buf_str(&why));
        return;
    }
    d->conn = c;
    set_state(d, DOVECOT_HELLO);
    conn_set_user(c, &conn_user, d);
    dovecot_auth_init(&d->protocol);
    world_random(d->world, &pid, sizeof pid); /* its own would tell nothing either */
    dovecot_put_hello(&d->out, pid >> 1 | 1);
    must(!d->out.failed);
    (void)flush(d);
}

static void on_late(struct timer *t)
{
    struct dovecot *d = container_of(t, struct dovecot, timer);
    end(d, d->state == DOVECOT_CONNECTING ? STR("no connection to Dovecot in time")
                                          : STR("Dovecot did not say in time what it offers"));
}

static void begin(struct dovecot *d)
{
    uint64_t deadline = world_now_ms(d->world) + AUTH_HELLO_MS;
    d->connecting = world_connect(d->world, &d->backend->conf.at, NULL, deadline, on_connected, d);
    if (d->connecting == NULL) {
        end(d, STR("no memory or descriptors for a connection"));
        return;
    }
    set_state(d, DOVECOT_CONNECTING);
    world_timer_set(d->world, &d->timer, deadline);
}

void dovecot_ask(struct dovecot *d, struct auth_question *q)
{
    list_push_back(&d->waiting, &q->place);
    if (d->state == DOVECOT_DOWN)
        begin(d);
    else
        send_waiting(d);
}

void dovecot_overdue(struct dovecot *d, struct auth_question *q)
{
    bool is_silent = d->state == DOVECOT_UP && q->asked_ms > 0 && d->heard_ms <= q->asked_ms;
    if (is_silent)
        tell_down(d, STR("Dovecot is silent"));
    list_remove(&q->place);
    if (is_silent)
        end(d, STR("Dovecot is silent"));
}

struct dovecot *dovecot_new(struct backend *b)
{
    struct dovecot *d = mem_new(struct dovecot);
    if (d == NULL)
        return NULL;
    d->backend = b;
    d->world = b->auth->world;
    d->timer.fire = on_late;
    list_init(&d->waiting);
    list_init(&d->asked);
    buf_init_fixed(&d->out, d->out_mem, sizeof d->out_mem);
    return d;
}

void dovecot_del(struct dovecot **dp)
{
    struct dovecot *d = *dp;
    if (d == NULL)
        return;
    must(list_is_empty(&d->waiting) && list_is_empty(&d->asked));
    close_down(d);
    mem_free(d);
    *dp = NULL;
}
