#include "sim/sim_peer.h"

#include "base/mem.h"
#include "sim/sim_mem.h"

#include <string.h>

enum { LINE_MAX_N = 4096, OUT_MAX = 4096 };

struct sim_peer {
    struct sim_host *host;
    struct sim *sim;
    enum sim_peer_mode mode;
    struct sim_proc *proc; /* NULL: it does not run */
    struct sim_peer_note notes[SIM_PEER_NOTES_MAX];
    size_t n_notes;
    struct buf text;
    unsigned n_taken;
};
struct visit {
    struct sim_peer *peer;
    struct sim_peer_note *note;
    struct conn *conn;
    enum sim_peer_mode mode;
    bool in_data, is_ending, is_silent;
    struct buf in, out, message;
};

static void visit_del(struct visit *v)
{
    v->note->end_us = sim_now_us(v->peer->sim);
    conn_close(v->conn);
    buf_fini(&v->in);
    buf_fini(&v->out);
    buf_fini(&v->message);
    mem_free(v);
}

static void say(struct visit *v, const char *line)
{
    buf_puts(&v->out, line);
    buf_puts(&v->out, "\r\n");
}

static void keep(struct visit *v)
{
    struct sim_heap *was = sim_heap_enter(NULL);
    buf_put(&v->peer->text, buf_str(&v->message));
    (void)sim_heap_enter(was);
    v->peer->n_taken++;
    v->note->n_messages++;
}

static void end_of_data(struct visit *v)
{
    v->in_data = false;
    switch (v->mode) {
    case SIM_PEER_DEFERS_END:
        say(v, "452 4.2.2 mailbox full at present");
        break;
    case SIM_PEER_REJECTS_END:
        say(v, "554 5.6.0 this content is not taken");
        break;
    case SIM_PEER_SILENT_END:
        v->is_silent = true;
        break;
    case SIM_PEER_DROPS_END:
        keep(v);
        v->is_ending = true;
        break;
    case SIM_PEER_ACCEPTS:
    case SIM_PEER_DEFERS_GREETING:
    case SIM_PEER_DEFERS_MAIL:
    case SIM_PEER_DEFERS_RCPT:
    case SIM_PEER_REJECTS_RCPT:
    case SIM_PEER_SILENT_GREETING:
    case SIM_PEER_REFUSES:
    case SIM_PEER_DOWN:
        keep(v);
        say(v, "250 2.0.0 taken");
        break;
    }
    buf_reset(&v->message);
}

static void on_line(struct visit *v, struct str line)
{
    if (v->in_data) {
        if (str_eq(line, STR(".\r\n")))
            end_of_data(v);
        else
            buf_put(&v->message, line);
        return;
    }
    if (str_istarts(line, STR("EHLO")) || str_istarts(line, STR("HELO"))) {
        say(v, "250 peer.sim");
    } else if (str_istarts(line, STR("MAIL"))) {
        buf_reset(&v->message);
        buf_put(&v->message, line);
        say(v, v->mode == SIM_PEER_DEFERS_MAIL ? "451 4.7.1 come back later" : "250 2.1.0 sender");
    } else if (str_istarts(line, STR("RCPT"))) {
        buf_put(&v->message, line);
        say(v, v->mode == SIM_PEER_DEFERS_RCPT    ? "450 4.2.0 greylisted"
               : v->mode == SIM_PEER_REJECTS_RCPT ? "550 5.1.1 nobody of that name"
                                                  : "250 2.1.5 recipient");
    } else if (str_istarts(line, STR("DATA"))) {
        v->in_data = true;
        say(v, "354 go on");
    } else if (str_istarts(line, STR("QUIT"))) {
        say(v, "221 2.0.0 bye");
        v->is_ending = true;
    } else {
        say(v, "250 2.0.0 as you like");
    }
}

/* false: over. */
static bool flush(struct visit *v)
{
    while (v->out.n > 0) {
        struct str piece = buf_str(&v->out);
        size_t n;
        enum err e = conn_write(v->conn, &piece, 1, &n);
        if (e == ERR_AGAIN)
            break;
        if (e != ERR_OK)
            return false;
        buf_consume(&v->out, n);
    }
    conn_want(v->conn, CONN_READABLE | (v->out.n > 0 ? (unsigned)CONN_WRITABLE : 0u));
    return v->out.n > 0 || !v->is_ending;
}

static void take_lines(struct visit *v)
{
    while (!v->is_ending && !v->is_silent) {
        size_t nl = str_chr(buf_str(&v->in), '\n');
        if (nl == STR_NPOS)
            return;
        on_line(v, str_slice(buf_str(&v->in), 0, nl + 1));
        buf_consume(&v->in, nl + 1);
    }
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct visit *v = arg;
    UNUSED(ready);
    for (;;) {
        size_t n;
        must(buf_reserve(&v->in, LINE_MAX_N));
        enum err e = conn_read(c, v->in.p + v->in.n, LINE_MAX_N, &n);
        if (e == ERR_AGAIN)
            break;
        if (e != ERR_OK) {
            visit_del(v);
            return;
        }
        v->in.n += n;
        if (v->is_silent)
            buf_reset(&v->in);
        take_lines(v);
    }
    if (!flush(v))
        visit_del(v);
}

static const struct conn_user user = {on_ready};

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    struct sim_peer *p = arg;
    UNUSED(l);
    must(p->n_notes < SIM_PEER_NOTES_MAX);
    struct visit *v = mem_must_new(struct visit);
    v->peer = p;
    v->mode = p->mode;
    v->conn = c;
    v->note = &p->notes[p->n_notes++];
    v->note->at_us = sim_now_us(p->sim);
    buf_init(&v->in, SIM_PEER_TEXT_MAX);
    buf_init(&v->out, OUT_MAX);
    buf_init(&v->message, SIM_PEER_TEXT_MAX);
    conn_set_user(c, &user, v);
    if (v->mode == SIM_PEER_SILENT_GREETING) {
        v->is_silent = true;
    } else if (v->mode == SIM_PEER_DEFERS_GREETING) {
        say(v, "421 4.3.2 not now");
        v->is_ending = true;
    } else {
        say(v, "220 peer.sim ESMTP");
    }
    if (!flush(v))
        visit_del(v);
}

static const struct listener_user listener_user = {on_accept};

static void peer_main(struct world *w, void *arg)
{
    struct sim_peer *p = arg;
    struct listener *l;
    struct netaddr at = *sim_host_addr(p->host);
    at.port = 25;
    must(world_listen(w, &at, 0, &l) == ERR_OK);
    listener_set_user(l, &listener_user, p);
}

void sim_peer_set(struct sim_peer *p, enum sim_peer_mode mode)
{
    bool runs = mode != SIM_PEER_REFUSES && mode != SIM_PEER_DOWN;
    p->mode = mode;
    if (!runs && p->proc != NULL) {
        sim_proc_kill(p->proc, "signal 15");
        p->proc = NULL;
    }
    if (mode == SIM_PEER_DOWN)
        sim_host_power_cut(p->host);
    else if (!sim_host_is_up(p->host))
        sim_host_power_on(p->host);
    if (runs && p->proc == NULL)
        p->proc = sim_proc_new(p->host, "peer", peer_main, NULL, p);
}

struct sim_peer *sim_peer_new(struct sim_host *h, enum sim_peer_mode mode)
{
    struct sim_peer *p = sim_make(struct sim_peer);
    p->host = h;
    p->sim = sim_host_sim(h);
    buf_init(&p->text, SIM_PEER_TEXT_MAX);
    sim_peer_set(p, mode);
    return p;
}

void sim_peer_del(struct sim_peer **pp)
{
    struct sim_peer *p = *pp;
    if (p == NULL)
        return;
    *pp = NULL;
    buf_fini(&p->text);
    mem_free(p);
}

const struct sim_peer_note *sim_peer_notes(const struct sim_peer *p, size_t *out_n)
{
    *out_n = p->n_notes;
    return p->notes;
}

struct str sim_peer_text(const struct sim_peer *p)
{
    return buf_str(&p->text);
}

unsigned sim_peer_n_taken(const struct sim_peer *p)
{
    return p->n_taken;
}
