#include "sim/sim_client.h"

#include "base/mem.h"
#include "sim/sim_mem.h"

#include <string.h>

enum {
    REPLY_MAX = 4096,
    CONNECT_MS = 60 * 1000,
    REPLY_MS = 6 * 60 * 1000,
    OUT_MAX = 8192,
    MAILS_A_SESSION = 20
};

struct sim_client {
    struct sim *sim;
    struct sim_proc *proc;
    struct world *world; /* NULL: not yet started */
    struct list waiting;
    unsigned n_sessions, sessions_max;
};

enum step { STEP_GREETING = 0, STEP_EHLO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_END, STEP_QUIT };
struct session {
    struct sim_client *client;
    struct conn *conn;
    struct timer timer;
    enum step step;
    unsigned n_rcpt; /* replies to RCPT so far */
    unsigned n_mails;
    bool is_pipelining;
    struct sim_mail *mail;
    struct buf out;  /* commands */
    struct str data; /* what is left of the mail's octets */
    char in[REPLY_MAX];
    size_t n_in;
};

static void take_work(void *arg);
static void on_ready(void *arg, struct conn *c, unsigned ready);

static void finish_mail(struct session *s, bool is_accepted)
{
    struct sim_mail *m = s->mail;
    if (m == NULL)
        return;
    s->mail = NULL;
    m->is_accepted = is_accepted;
    m->done_us = sim_now_us(s->client->sim);
    struct sim_heap *was = sim_heap_enter(NULL);
    m->done(m->arg, m);
    (void)sim_heap_enter(was);
}

static void session_del(struct session *s)
{
    struct sim_client *c = s->client;
    if (s->mail != NULL)
        s->mail->is_unknown = s->step == STEP_END;
    finish_mail(s, false);
    world_timer_cancel(c->world, &s->timer);
    if (s->conn != NULL)
        conn_close(s->conn);
    buf_fini(&s->out);
    mem_free(s);
    c->n_sessions--;
    take_work(c);
}

static void on_timeout(struct timer *t)
{
    session_del(container_of(t, struct session, timer));
}

static void wait_reply(struct session *s)
{
    world_timer_set(s->client->world, &s->timer, world_now_ms(s->client->world) + REPLY_MS);
}

/* ---- what is said ---- */

static void say_mail(struct session *s)
{
    buf_printf(&s->out, "MAIL FROM:<%s>\r\n", s->mail->from);
    s->step = STEP_MAIL;
    s->n_rcpt = 0;
}

static void say_rcpt(struct session *s, size_t i)
{
    buf_printf(&s->out, "RCPT TO:<%s>\r\n", s->mail->rcpts[i]);
}

static void begin_mail(struct session *s)
{
    s->n_mails++;
    s->is_pipelining = world_random_below(s->client->world, 2) == 0;
    memset(s->mail->rcpt_accepted, 0, sizeof s->mail->rcpt_accepted);
    say_mail(s);
    for (size_t i = 0; s->is_pipelining && i < s->mail->n_rcpts; i++)
        say_rcpt(s, i);
    if (s->is_pipelining)
        buf_puts(&s->out, "DATA\r\n");
}

static struct sim_mail *next_mail(struct sim_client *c, const struct netaddr *to)
{
    list_each (l, &c->waiting) {
        struct sim_mail *m = list_entry(l, struct sim_mail, link);
        if (to == NULL || netaddr_eq(&m->to, to)) {
            list_remove(&m->link);
            return m;
        }
    }
    return NULL;
}

/* The mail is settled; another one for the same server, or the end. */
static void next_or_quit(struct session *s, bool is_accepted, bool may_go_on)
{
    struct netaddr to = s->mail->to;
    finish_mail(s, is_accepted);
    s->mail = may_go_on && s->n_mails < MAILS_A_SESSION ? next_mail(s->client, &to) : NULL;
    if (s->mail != NULL) {
        begin_mail(s);
    } else {
        buf_puts(&s->out, "QUIT\r\n");
        s->step = STEP_QUIT;
    }
}

static bool any_accepted(const struct sim_mail *m)
{
    for (size_t i = 0; i < m->n_rcpts; i++) {
        if (m->rcpt_accepted[i])
            return true;
    }
    return false;
}

static void on_rcpt(struct session *s, unsigned code)
{
    s->mail->rcpt_accepted[s->n_rcpt++] = code / 100 == 2;
    if (s->n_rcpt < s->mail->n_rcpts) {
        if (!s->is_pipelining)
            say_rcpt(s, s->n_rcpt);
        return;
    }
    s->step = STEP_DATA;
    if (!s->is_pipelining && any_accepted(s->mail))
        buf_puts(&s->out, "DATA\r\n");
    else if (!s->is_pipelining)
        next_or_quit(s, false, false);
}

/* false: the session is over. */
static bool on_reply(struct session *s, unsigned code)
{
    bool ok = code / 100 == 2;
    switch (s->step) {
    case STEP_GREETING:
    case STEP_EHLO:
        if (!ok)
            return false;
        if (s->step == STEP_EHLO)
            begin_mail(s);
        else
            buf_puts(&s->out, "EHLO client.sim\r\n");
        s->step = s->step == STEP_GREETING ? STEP_EHLO : STEP_MAIL;
        return true;
    case STEP_MAIL:
        if (!ok)
            return false;
        s->step = STEP_RCPT;
        if (!s->is_pipelining)
            say_rcpt(s, 0);
        return true;
    case STEP_RCPT:
        on_rcpt(s, code);
        return true;
    case STEP_DATA:
        if (code != 354)
            return false;
        s->data = s->mail->data;
        s->step = STEP_END;
        return true;
    case STEP_END:
        if (s->data.n > 0) /* an answer before the end: what goes on is no dialogue */
            return false;
        next_or_quit(s, ok, ok);
        return true;
    case STEP_QUIT:
        break;
    }
    return false;
}

/* ---- octets ---- */

/* One reply with all its lines; false: it is not all there. */
static bool take_reply(struct session *s, unsigned *out_code)
{
    struct str rest = str_of(s->in, s->n_in);
    for (;;) {
        size_t nl = str_chr(rest, '\n');
        if (nl == STR_NPOS)
            return false;
        struct str line = str_slice(rest, 0, nl + 1);
        rest = str_skip(rest, nl + 1);
        uint64_t code;
        if (line.n < 6 || !str_to_u64(str_slice(line, 0, 3), 599, &code) || line.p[3] == '-')
            continue;
        *out_code = (unsigned)code;
        if (s->mail != NULL && s->step != STEP_QUIT) {
            s->mail->code = (uint16_t)code;
            struct str text =
                str_slice(str_trim(str_slice(line, 0, line.n - 2)), 0, sizeof s->mail->text - 1);
            (void)str_to_c(text, s->mail->text, sizeof s->mail->text);
        }
        memmove(s->in, rest.p, rest.n);
        s->n_in = rest.n;
        return true;
    }
}

/* false: broken. */
static bool push(struct session *s)
{
    static const struct str dot = {".\r\n", 3};
    while (s->out.n > 0 || (s->step == STEP_END && s->data.n > 0)) {
        struct str piece = s->out.n > 0 ? buf_str(&s->out) : s->data;
        size_t n;
        enum err e = conn_write(s->conn, &piece, 1, &n);
        if (e == ERR_AGAIN)
            break;
        if (e != ERR_OK)
            return false;
        if (s->out.n > 0)
            buf_consume(&s->out, n);
        else
            s->data = str_skip(s->data, n);
        if (s->step == STEP_END && s->out.n == 0 && s->data.n == 0 && s->data.p != dot.p + dot.n)
            s->data = dot;
    }
    bool wants_out = s->out.n > 0 || (s->step == STEP_END && s->data.n > 0);
    conn_want(s->conn, CONN_READABLE | (wants_out ? (unsigned)CONN_WRITABLE : 0u));
    return true;
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct session *s = arg;
    UNUSED(ready);
    for (;;) {
        size_t n;
        if (s->n_in == sizeof s->in) {
            session_del(s);
            return;
        }
        enum err e = conn_read(c, s->in + s->n_in, sizeof s->in - s->n_in, &n);
        if (e == ERR_AGAIN)
            break;
        if (e != ERR_OK) {
            session_del(s);
            return;
        }
        s->n_in += n;
        unsigned code;
        while (take_reply(s, &code)) {
            wait_reply(s);
            if (!on_reply(s, code)) {
                session_del(s);
                return;
            }
        }
    }
    if (!push(s))
        session_del(s);
}

static const struct conn_user user = {on_ready};

static void on_connected(void *arg, enum err err, struct conn *c)
{
    struct session *s = arg;
    s->conn = c;
    if (err != ERR_OK) {
        session_del(s);
        return;
    }
    conn_set_user(c, &user, s);
    conn_want(c, CONN_READABLE);
    wait_reply(s);
}

/* ---- sessions ---- */

static void take_work(void *arg)
{
    struct sim_client *c = arg;
    struct sim_mail *m;
    while (c->world != NULL && c->n_sessions < c->sessions_max && (m = next_mail(c, NULL)) != NULL) {
        struct session *s = mem_must_new(struct session);
        s->client = c;
        s->mail = m;
        s->timer.fire = on_timeout;
        buf_init(&s->out, OUT_MAX);
        c->n_sessions++;
        struct connecting *k =
            world_connect(c->world, &m->to, NULL, world_now_ms(c->world) + CONNECT_MS, on_connected, s);
        must(k != NULL);
    }
}

static void client_main(struct world *w, void *arg)
{
    struct sim_client *c = arg;
    c->world = w;
    take_work(c);
}

struct sim_client *sim_client_new(struct sim_host *h, unsigned sessions_max)
{
    struct sim_client *c = sim_make(struct sim_client);
    c->sim = sim_host_sim(h);
    c->sessions_max = sessions_max;
    list_init(&c->waiting);
    c->proc = sim_proc_new(h, "client", client_main, NULL, c);
    return c;
}

void sim_client_del(struct sim_client **cp)
{
    mem_free(*cp);
    *cp = NULL;
}

void sim_client_send(struct sim_client *c, struct sim_mail *m)
{
    list_init(&m->link);
    list_push_back(&c->waiting, &m->link);
    sim_proc_post(c->proc, 1, take_work, c);
}
