/* The child that runs programs, over a world and programs that this test holds in its hand: what goes in,
 * what comes out, how it ends, and what is answered. That programs of the kernel behave so is
 * io/program_test.c.
 */
#include "service/local/pipe.h"

#include "base/limits.h"
#include "base/mem.h"
#include "service/local/body.h"
#include "service/local/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

enum {
    CONNS_MAX = 16,
    PROGRAMS_MAX = 8,
    STREAM_MAX = 1024 * 1024,
    TEXT_MAX = 1024,
    STEPS_MAX = 100 * 1000, /* calls until nothing is ready: it must come to rest */
    PATIENCE_MS = 5000,     /* from SIGTERM to SIGKILL */
};

struct conn { /* what it reads comes from `in`, what it writes goes to `out` */
    struct world_object object;
    const struct conn_user *user;
    void *arg;
    unsigned wanted;
    bool is_closed;
    struct buf in, out;
    size_t room; /* octets it takes */
    enum err end, out_err;
};
struct program {
    struct world_object object;
    struct conn *input, *output;
    void (*on_end)(void *arg, const struct program_end *end);
    void *arg;
    unsigned n_terms, n_kills;
    bool has_ended;
    struct buf words, env; /* each followed by '|' */
    char folder[64];
};
struct channel {
    struct world_object object;
    const struct channel_user *user;
    void *arg;
};
struct handle {
    struct world_object object;
    struct conn *conn;
};
struct result {
    uint64_t token;
    enum result_kind kind;
    struct esc esc;
    char text[RESULT_TEXT_MAX + 1];
};
struct fixture {
    struct world world; /* first */
    struct log log;
    uint64_t now_ms;
    struct heap timers;
    struct conn conns[CONNS_MAX];
    struct program programs[PROGRAMS_MAX];
    size_t n_conns, n_programs, n_results;
    struct result results[8];
    struct channel local;
    enum err send_err, start_err;
    unsigned n_exits;
    int exit_status;
    bool has_no_sandbox;
    char failed[TEXT_MAX];
};
static struct fixture *the;

/* ---- the world ---------------- */

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the->now_ms;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    if (t->is_set)
        heap_remove(&the->timers, &t->node);
    t->is_set = false;
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    timer_cancel(w, t);
    heap_insert(&the->timers, &t->node, due_ms);
    t->is_set = true;
}

static void on_done(struct str payload)
{
    struct ipc_job_done m;
    struct job_result j;
    assert_true(ipc_decode_job_done(payload, &m));
    struct reader r = reader_of(m.results);
    assert_true(list_next_result(&r, &j));
    assert_true(the->n_results < ARRAY_LEN(the->results));
    struct result *to = &the->results[the->n_results++];
    *to = (struct result){.token = m.token, .kind = j.kind, .esc = j.esc};
    assert_true(str_to_c(j.text, to->text, sizeof to->text));
    assert_false(list_next_result(&r, &j)); /* one recipient */
}

static enum err send_to_local(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_ptr_equal(c, &the->local);
    assert_null(give);
    assert_true(ipc_may_send(ROLE_PIPE, ROLE_LOCAL, type));
    if (the->send_err != ERR_OK)
        return the->send_err;
    if (type == IPC_JOB_DONE) {
        on_done(payload);
        return ERR_OK;
    }
    struct ipc_sup_failed m;
    assert_true(ipc_decode_sup_failed(payload, &m));
    assert_true(str_to_c(m.reason, the->failed, sizeof the->failed));
    return ERR_OK;
}

static void set_channel_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static struct conn *take_conn(struct world *w, struct handle *h)
{
    UNUSED(w);
    return h->conn;
}

static void set_conn_user(struct conn *c, const struct conn_user *user, void *arg)
{
    assert_false(c->is_closed);
    c->user = user;
    c->arg = arg;
}

static void want(struct conn *c, unsigned mask)
{
    assert_false(c->is_closed);
    c->wanted = mask;
}

static enum err read_conn(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    assert_false(c->is_closed);
    *out_n = c->in.n < cap ? c->in.n : cap;
    if (*out_n == 0)
        return c->end;
    memcpy(out, c->in.p, *out_n);
    buf_consume(&c->in, *out_n);
    return ERR_OK;
}

static enum err write_conn(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    assert_false(c->is_closed);
    assert_int_equal(n_pieces, 1);
    if (c->out_err != ERR_OK)
        return c->out_err;
    *out_n = pieces->n < c->room ? pieces->n : c->room;
    if (*out_n == 0)
        return ERR_AGAIN;
    assert_true(buf_put(&c->out, str_slice(*pieces, 0, *out_n)));
    c->room -= *out_n;
    return ERR_OK;
}

static void close_conn(struct conn *c)
{
    assert_false(c->is_closed);
    c->is_closed = true;
}

static enum err run(struct world *w, const struct program_plan *plan,
                    void (*on_end)(void *arg, const struct program_end *end), void *arg,
                    struct conn **out_input, struct conn **out_output, struct program **out);

static void kill_program(struct program *p, bool hard)
{
    assert_false(p->has_ended);
    if (hard)
        p->n_kills++;
    else
        p->n_terms++;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_local,
                                     .channel_set_user = set_channel_user,
                                     .handle_take_conn = take_conn,
                                     .conn_set_user = set_conn_user,
                                     .conn_want = want,
                                     .conn_read = read_conn,
                                     .conn_write = write_conn,
                                     .conn_close = close_conn,
                                     .program = run,
                                     .program_kill = kill_program};

static struct conn *new_conn(void)
{
    assert_true(the->n_conns < CONNS_MAX);
    struct conn *c = &the->conns[the->n_conns++];
    *c = (struct conn){.object = {&ops}, .room = STREAM_MAX, .end = ERR_AGAIN};
    buf_init(&c->in, STREAM_MAX);
    buf_init(&c->out, STREAM_MAX);
    return c;
}

static void put_all(struct buf *out, const char *const *list)
{
    buf_init(out, STREAM_MAX);
    for (; *list != NULL; list++)
        buf_printf(out, "%s|", *list);
}

static enum err run(struct world *w, const struct program_plan *plan,
                    void (*on_end)(void *arg, const struct program_end *end), void *arg,
                    struct conn **out_input, struct conn **out_output, struct program **out)
{
    UNUSED(w);
    if (the->start_err != ERR_OK)
        return the->start_err;
    assert_true(the->n_programs < PROGRAMS_MAX);
    struct program *p = &the->programs[the->n_programs++];
    *p = (struct program){.object = {&ops}, .on_end = on_end, .arg = arg};
    put_all(&p->words, plan->argv);
    put_all(&p->env, plan->env);
    assert_true(str_to_c(str_from_c(plan->folder), p->folder, sizeof p->folder));
    *out_input = p->input = new_conn();
    *out_output = p->output = new_conn();
    *out = p;
    return ERR_OK;
}

static bool is_ready(const struct conn *c)
{
    bool is_readable = c->in.n > 0 || c->end != ERR_AGAIN, is_writable = c->room > 0 || c->out_err != ERR_OK;
    return !c->is_closed && c->user != NULL &&
           (((c->wanted & CONN_READABLE) != 0 && is_readable) ||
            ((c->wanted & CONN_WRITABLE) != 0 && is_writable));
}

/* Until nothing is ready. */
static void turn(void)
{
    for (unsigned n = 0, n_idle = 0; n_idle < the->n_conns; n++) {
        struct conn *c = &the->conns[n % the->n_conns];
        assert_true(n < STEPS_MAX);
        n_idle = is_ready(c) ? 0 : n_idle + 1;
        if (is_ready(c))
            c->user->on_ready(c->arg, c, c->wanted);
    }
}

static void pass(uint64_t ms)
{
    struct heap_node *n;
    the->now_ms += ms;
    while ((n = heap_min(&the->timers)) != NULL && n->key <= the->now_ms) {
        struct timer *t = container_of(n, struct timer, node);
        timer_cancel(&the->world, t);
        t->fire(t);
    }
    turn();
}

/* ---- local, and the process ---------------- */

static void on_exit(void *arg, int status)
{
    UNUSED(arg);
    the->n_exits++;
    the->exit_status = status;
}

static bool sandbox(void *arg, struct role_env *env, struct buf *out)
{
    UNUSED(arg);
    assert_null(env);
    if (the->has_no_sandbox)
        buf_puts(out, "no Landlock");
    return !the->has_no_sandbox;
}

static void begin(bool has_sandbox)
{
    static const struct pipe_account account = {STR_INIT("joe"), STR_INIT("/home/joe"), STR_INIT("")};
    const struct boot_hooks hooks = {.enter_sandbox = sandbox, .exit = on_exit};
    the->has_no_sandbox = !has_sandbox;
    pipe_start(&the->world, &the->local, &account, &hooks);
}

static int set_up(void **state)
{
    UNUSED(state);
    the = mem_must_new(struct fixture);
    the->log.min = LOG_ERROR;
    the->world = (struct world){.ops = &ops, .log = &the->log};
    the->now_ms = 1000;
    the->local.object.ops = &ops;
    return 0;
}

static int set_up_and_begin(void **state)
{
    (void)set_up(state);
    begin(true);
    return 0;
}

static int tear_down(void **state)
{
    UNUSED(state);
    assert_null(heap_min(&the->timers));
    for (size_t i = 0; i < the->n_conns; i++) {
        assert_true(the->conns[i].is_closed);
        buf_fini(&the->conns[i].in);
        buf_fini(&the->conns[i].out);
    }
    for (size_t i = 0; i < the->n_programs; i++) {
        assert_true(the->programs[i].has_ended);
        buf_fini(&the->programs[i].words);
        buf_fini(&the->programs[i].env);
    }
    mem_free(the->local.arg); /* the process is over */
    mem_free(the);
    return 0;
}

struct order {
    uint64_t token;
    const char *words[4]; /* none: one that is right */
    struct str text;      /* not set: a short message */
    const char *sender, *rcpt;
    struct conn *pipe;
    uint64_t n_piped;
};
static const char SHORT[] = "Subject: x\r\n\r\none\r\n.two\r\n";

static void give(const struct order *o)
{
    char mem[4096], words[512];
    struct buf b, list;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&list, words, sizeof words);
    const char *one[] = {"/bin/filter", "-x", NULL};
    for (const char *const *w = o->words[0] != NULL ? o->words : one; *w != NULL; w++)
        assert_true(list_put_str(&list, str_from_c(*w)));
    struct str text = o->text.p != NULL ? o->text : o->pipe != NULL ? STR_NIL : str_from_c(SHORT);
    struct ipc_pipe_job m = {.token = o->token,
                             .words = buf_str(&list),
                             .sender = str_from_c(o->sender != NULL ? o->sender : "a@x.test"),
                             .rcpt = str_from_c(o->rcpt != NULL ? o->rcpt : "joe+lists@y.test"),
                             .extension = STR("lists"),
                             .domain = STR("y.test"),
                             .time_limit_s = 60,
                             .size = o->pipe != NULL ? o->n_piped : text.n,
                             .is_piped = o->pipe != NULL,
                             .body = text};
    assert_true(ipc_encode_pipe_job(&m, &b));
    struct handle h = {.object = {&ops}, .conn = o->pipe};
    the->local.user->on_message(the->local.arg, &the->local, IPC_PIPE_JOB, buf_str(&b),
                                o->pipe != NULL ? &h : NULL);
    turn();
}

static void drain(void)
{
    the->local.user->on_message(the->local.arg, &the->local, IPC_SUP_DRAIN, STR_NIL, NULL);
    turn();
}

/* ---- the program ---------------- */

static struct program *last_program(void)
{
    assert_true(the->n_programs > 0);
    return &the->programs[the->n_programs - 1];
}

static void says(struct program *p, struct str text)
{
    assert_true(buf_put(&p->output->in, text));
}

static const struct result *ends_as(struct program *p, const struct program_end *end)
{
    assert_false(p->has_ended);
    p->has_ended = true;
    p->output->end = ERR_CLOSED;
    size_t n = the->n_results;
    p->on_end(p->arg, end);
    turn();
    assert_int_equal(the->n_results, n + 1);
    return &the->results[n];
}

static const struct result *ends(struct program *p, int status)
{
    return ends_as(p, &(struct program_end){.status = status});
}

static const struct result *dies(struct program *p, int signo)
{
    return ends_as(p, &(struct program_end){.signo = signo});
}

static void assert_result(const struct result *r, enum result_kind kind, struct esc esc, const char *text)
{
    assert_int_equal(r->kind, kind);
    assert_memory_equal(&r->esc, &esc, sizeof esc);
    assert_string_equal(r->text, text);
}

static void assert_octets(const struct buf *b, const char *want)
{
    assert_true(str_eq(buf_str(b), str_from_c(want)));
}

/* ---- what a program gets ---------------- */

static void it_gets_the_message_and_its_end(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 7});
    struct program *p = last_program();
    assert_octets(&p->input->out, "Return-Path: <a@x.test>\nDelivered-To: joe+lists@y.test\n"
                                  "Subject: x\n\none\n.two\n");
    assert_true(p->input->is_closed);
    assert_int_equal(the->n_results, 0);
    const struct result *r = ends(p, 0);
    assert_int_equal(r->token, 7);
    assert_result(r, RESULT_OK, ESC(2, 0, 0), "delivered to the program");
    assert_int_equal(p->n_terms + p->n_kills, 0);
    assert_int_equal(the->n_exits, 0);
}

static void words_are_left_and_variables_are_made_harmless(void **state)
{
    UNUSED(state);
    give(&(struct order){.words = {"/bin/filter", "$(rm -rf /)", ""},
                         .sender = "a`id`;\"$x\"@x.test",
                         .rcpt = "j'o e+lists@y.test"});
    struct program *p = last_program();
    assert_octets(&p->words, "/bin/filter|$(rm -rf /)||");
    assert_octets(&p->env,
                  "PATH=/usr/local/bin:/usr/bin:/bin|SHELL=/bin/sh|HOME=/home/joe|USER=joe|LOGNAME=joe|"
                  "SENDER=a_id____x_@x.test|RECIPIENT=j_o_e+lists@y.test|LOCAL=j_o_e+lists|"
                  "EXTENSION=lists|DOMAIN=y.test|");
    assert_string_equal(p->folder, "/home/joe");
    (void)ends(p, 0);
}

/* The beginning of a large message, by the pipe; what follows is up to the test. */
static struct conn *give_piped(char *text, size_t n, size_t n_first)
{
    struct conn *pipe = new_conn();
    memset(text, 'm', n);
    memcpy(text, "A: b\n\n", 6); /* LF alone is a line end of its own, and stays */
    assert_true(buf_put(&pipe->in, str_of(text, n_first)));
    give(&(struct order){.token = 9, .pipe = pipe, .n_piped = n});
    return pipe;
}

static void a_large_message_waits_for_a_slow_program(void **state)
{
    UNUSED(state);
    enum { N = 700 * 1000, HELD_MAX = 4 * BODY_PIECE_SIZE };
    char *text = mem_must_alloc(N);
    struct conn *pipe = give_piped(text, N, 3);
    assert_int_equal(the->n_programs, 0); /* it may be a message that was here before */
    assert_true(buf_put(&pipe->in, str_of(text + 3, 3 * BODY_PIECE_SIZE)));
    turn();
    struct program *p = last_program();
    p->input->room = 0;
    assert_true(buf_put(&pipe->in, str_of(text + 3 + 3 * BODY_PIECE_SIZE, N - 3 - 3 * BODY_PIECE_SIZE)));
    pipe->end = ERR_CLOSED;
    turn();
    while (pipe->in.n > 0 || !p->input->is_closed) {
        size_t n_read = N - pipe->in.n;
        assert_true(n_read <= p->input->out.n + HELD_MAX);
        p->input->room = 10 * 1000;
        turn();
        assert_true(p->input->room == 0 || p->input->is_closed);
    }
    struct str head = STR("Return-Path: <a@x.test>\nDelivered-To: joe+lists@y.test\n");
    assert_true(str_starts(buf_str(&p->input->out), head));
    assert_true(str_eq(str_skip(buf_str(&p->input->out), head.n), str_of(text, N)));
    assert_int_equal(ends(p, 0)->kind, RESULT_OK);
    mem_free(text);
}

static void a_message_that_was_here_before_is_no_work_for_it(void **state)
{
    UNUSED(state);
    give(&(struct order){.text = STR("Subject: x\r\nDelivered-To: JOE+lists@y.test\r\n\r\nx\r\n")});
    assert_int_equal(the->n_programs, 0);
    assert_int_equal(the->n_results, 1);
    assert_result(&the->results[0], RESULT_PERMANENT, ESC(5, 4, 6),
                  "mail forwarding loop for joe+lists@y.test");
}

/* ---- how it ends ---------------- */

static void its_end_is_the_answer(void **state)
{
    UNUSED(state);
    static const struct {
        int status, signo;
        const char *said;
        enum result_kind kind;
        struct esc esc;
        const char *text;
    } rows[] = {
        {0, 0, "4.2.2 all is well", RESULT_OK, {2, 0, 0}, "delivered to the program"},
        {67, 0, "", RESULT_PERMANENT, {5, 1, 1}, "the program ended with status 67 (user unknown)"},
        {75,
         0,
         "later\n",
         RESULT_TEMPORARY,
         {4, 3, 0},
         "the program ended with status 75 (temporary failure): later"},
        {1, 0, "4.2.2 over quota\n", RESULT_TEMPORARY, {4, 2, 2}, "over quota"},
        {0, 11, "oh", RESULT_TEMPORARY, {4, 3, 0}, "the program was ended by signal 11: oh"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        give(&(struct order){.token = i});
        struct program *p = last_program();
        says(p, str_from_c(rows[i].said));
        const struct result *r =
            ends_as(p, &(struct program_end){.status = rows[i].status, .signo = rows[i].signo});
        assert_int_equal(r->token, i);
        assert_result(r, rows[i].kind, rows[i].esc, rows[i].text);
    }
}

static void one_that_cannot_be_executed_is_trouble_of_ours(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    assert_result(ends_as(last_program(), &(struct program_end){.err = ERR_NOTFOUND}), RESULT_TEMPORARY,
                  ESC(4, 3, 0),
                  "the program could not be executed: it, or what it is run by, does not exist");
    the->start_err = ERR_NOMEM;
    give(&(struct order){.token = 2});
    assert_int_equal(the->n_results, 2);
    assert_int_equal(the->results[1].kind, RESULT_TEMPORARY);
    assert_non_null(strstr(the->results[1].text, "could not be executed"));
}

static void words_that_are_none_start_nothing(void **state)
{
    UNUSED(state);
    give(&(struct order){.words = {"filter", "/x"}}); /* no path */
    assert_int_equal(the->n_programs, 0);
    assert_int_equal(the->n_results, 1);
    assert_int_equal(the->results[0].kind, RESULT_TEMPORARY);
    assert_non_null(strstr(the->results[0].text, "its words"));
}

static void who_reads_little_has_what_it_wants(void **state)
{
    UNUSED(state);
    enum { N = 500 * 1000 };
    char *text = mem_must_alloc(N);
    struct conn *pipe = give_piped(text, N, BODY_PIECE_SIZE * 2);
    struct program *p = last_program();
    assert_false(p->input->is_closed);
    p->input->out_err = ERR_RESET;
    assert_true(buf_put(&pipe->in, str_of(text, BODY_PIECE_SIZE * 2)));
    turn();
    assert_true(p->input->is_closed);
    assert_true(pipe->is_closed); /* who sends it need not go on */
    assert_int_equal(p->n_terms + p->n_kills, 0);
    assert_int_equal(the->n_results, 0); /* its end tells */
    assert_int_equal(ends(p, 0)->kind, RESULT_OK);
    mem_free(text);
}

/* ---- what it says ---------------- */

static void its_output_is_read_to_the_end_and_the_first_of_it_counts(void **state)
{
    UNUSED(state);
    char *text = mem_must_alloc(STREAM_MAX);
    memset(text, '\n', STREAM_MAX);
    memcpy(text + VERDICT_OUTPUT_MAX - 9, "5.7.1 yes5.7.2 no", 17);
    give(&(struct order){.token = 1});
    struct program *p = last_program();
    for (size_t at = 0; at < STREAM_MAX; at += STREAM_MAX / 4) { /* else it would wait for us for ever */
        says(p, str_of(text + at, STREAM_MAX / 4));
        turn();
        assert_int_equal(p->output->in.n, 0);
    }
    assert_result(ends(p, 1), RESULT_PERMANENT, ESC(5, 7, 1), "yes");
    memset(text, 'y', STREAM_MAX);
    give(&(struct order){.token = 2});
    p = last_program();
    says(p, str_of(text, VERDICT_OUTPUT_MAX * 2)); /* the last words are there when it has ended */
    const struct result *r = ends(p, 75);
    assert_int_equal(strlen(r->text), RESULT_TEXT_MAX);
    assert_true(
        str_starts(str_from_c(r->text), STR("the program ended with status 75 (temporary failure): yyy")));
    mem_free(text);
}

static void what_it_leaves_in_the_background_holds_nothing_up(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    struct program *p = last_program();
    says(p, STR("4.2.1 soon"));
    p->has_ended = true; /* and the other end of its output stays open */
    p->on_end(p->arg, &(struct program_end){.status = 1});
    assert_int_equal(the->n_results, 1);
    assert_result(&the->results[0], RESULT_TEMPORARY, ESC(4, 2, 1), "soon");
    assert_true(p->output->is_closed);
}

/* ---- its time ---------------- */

static void at_the_end_of_its_time_it_is_stopped(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    struct program *p = last_program();
    pass(60 * 1000 - 1);
    assert_int_equal(p->n_terms, 0);
    pass(1);
    assert_true(p->n_terms == 1 && p->n_kills == 0);
    pass(PATIENCE_MS - 1);
    assert_int_equal(p->n_kills, 0);
    pass(1);
    assert_true(p->n_terms == 1 && p->n_kills == 1);
    assert_int_equal(the->n_results, 0); /* it has not ended yet */
    assert_result(dies(p, 9), RESULT_TEMPORARY, ESC(4, 3, 0),
                  "the program did not end within 60 seconds and was stopped");
    pass(PATIENCE_MS);
    assert_int_equal(p->n_kills, 1);
}

static void what_it_says_when_it_is_stopped_does_not_count(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    struct program *p = last_program();
    pass(60 * 1000);
    assert_int_equal(p->n_terms, 1);
    says(p, STR("5.1.1 nobody"));
    assert_result(ends(p, 0), RESULT_TEMPORARY, ESC(4, 3, 0),
                  "the program did not end within 60 seconds and was stopped");
    assert_int_equal(p->n_kills, 0);
}

/* ---- messages that do not arrive whole ---------------- */

static void breaks_off(enum err end, const char *why)
{
    enum { N = 400 * 1000 };
    char *text = mem_must_alloc(N);
    struct conn *pipe = give_piped(text, N, N / 2);
    struct program *p = last_program();
    assert_int_equal(p->n_kills, 0);
    pipe->end = end;
    turn();
    assert_int_equal(p->n_kills, 1);
    assert_false(p->input->is_closed); /* it never sees an end */
    assert_true(pipe->is_closed);
    assert_true(p->input->out.n < N);
    assert_int_equal(the->n_results, 0);
    const struct result *r = dies(p, 9);
    assert_result(r, RESULT_TEMPORARY, ESC(4, 3, 0), why);
    mem_free(text);
}

static void a_pipe_that_breaks_ends_the_program(void **state)
{
    UNUSED(state);
    char why[TEXT_MAX];
    (void)snprintf(why, sizeof why,
                   "the program could not be given the message: the message did not arrive whole: %s",
                   err_str(ERR_RESET));
    breaks_off(ERR_RESET, why);
}

static void a_pipe_that_ends_early_ends_the_program(void **state)
{
    UNUSED(state);
    char why[TEXT_MAX];
    (void)snprintf(why, sizeof why,
                   "the program could not be given the message: the message did not arrive whole: %s",
                   err_str(ERR_CORRUPT));
    breaks_off(ERR_CLOSED, why);
}

static void a_half_that_it_thinks_it_took_is_not_delivered(void **state)
{
    UNUSED(state);
    char text[BODY_PIECE_SIZE * 2];
    struct conn *pipe = give_piped(text, sizeof text, BODY_PIECE_SIZE + 100);
    struct program *p = last_program();
    pipe->end = ERR_RESET;
    turn();
    assert_int_equal(p->n_kills, 1);
    assert_int_equal(ends(p, 0)->kind, RESULT_TEMPORARY); /* it ended by itself before the signal came */
}

static void a_pipe_that_breaks_within_the_header_starts_nothing(void **state)
{
    UNUSED(state);
    char text[1000];
    struct conn *pipe = give_piped(text, sizeof text, 3);
    pipe->end = ERR_RESET;
    turn();
    assert_int_equal(the->n_programs, 0);
    assert_int_equal(the->n_results, 1);
    assert_int_equal(the->results[0].kind, RESULT_TEMPORARY);
    assert_true(pipe->is_closed);
}

/* ---- the end of the process ---------------- */

static void it_leaves_when_the_last_has_ended(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    give(&(struct order){.token = 2});
    struct program *first = &the->programs[0], *second = &the->programs[1];
    drain();
    assert_int_equal(the->n_exits, 0);
    assert_int_equal(ends(second, 0)->token, 2);
    assert_int_equal(the->n_exits, 0);
    assert_int_equal(first->n_terms + first->n_kills, 0); /* it has its time */
    assert_int_equal(ends(first, 0)->token, 1);
    assert_true(the->n_exits == 1 && the->exit_status == 0);
}

static void it_leaves_at_once_when_nothing_runs(void **state)
{
    UNUSED(state);
    drain();
    assert_true(the->n_exits == 1 && the->exit_status == 0);
}

static void without_local_what_runs_is_killed(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    give(&(struct order){.token = 2});
    the->local.user->on_closed(the->local.arg, &the->local);
    for (size_t i = 0; i < 2; i++)
        assert_true(the->programs[i].n_terms == 0 && the->programs[i].n_kills == 1);
    assert_true(the->n_exits == 1 && the->exit_status == 1);
    (void)dies(&the->programs[0], 9); /* a process would be gone: this frees what it has */
    (void)dies(&the->programs[1], 9);
}

static void an_answer_that_nobody_hears_ends_it(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1});
    struct program *p = last_program();
    the->send_err = ERR_CLOSED;
    p->has_ended = true;
    p->on_end(p->arg, &(struct program_end){.status = 0});
    assert_true(the->n_exits == 1 && the->exit_status == 1);
}

static void what_local_may_not_say_ends_it(void **state)
{
    UNUSED(state);
    the->local.user->on_message(the->local.arg, &the->local, IPC_JOB_DONE, STR_NIL, NULL);
    assert_true(the->n_exits == 1 && the->exit_status == 1);
    the->local.user->on_message(the->local.arg, &the->local, IPC_PIPE_JOB, STR("short"), NULL);
    assert_true(the->n_exits == 2 && the->exit_status == 1);
    assert_int_equal(the->n_programs, 0);
}

static void without_a_sandbox_it_runs_nothing(void **state)
{
    UNUSED(state);
    begin(false);
    assert_string_equal(the->failed, "no Landlock");
    give(&(struct order){.token = 1});
    assert_int_equal(the->n_programs, 0);
    assert_int_equal(the->n_results, 0);
    assert_int_equal(the->n_exits, 0); /* local has read why, and ends us */
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up_and_begin, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ROW(it_gets_the_message_and_its_end),
        ROW(words_are_left_and_variables_are_made_harmless),
        ROW(a_large_message_waits_for_a_slow_program),
        ROW(a_message_that_was_here_before_is_no_work_for_it),
        ROW(its_end_is_the_answer),
        ROW(one_that_cannot_be_executed_is_trouble_of_ours),
        ROW(words_that_are_none_start_nothing),
        ROW(who_reads_little_has_what_it_wants),
        ROW(its_output_is_read_to_the_end_and_the_first_of_it_counts),
        ROW(what_it_leaves_in_the_background_holds_nothing_up),
        ROW(at_the_end_of_its_time_it_is_stopped),
        ROW(what_it_says_when_it_is_stopped_does_not_count),
        ROW(a_pipe_that_breaks_ends_the_program),
        ROW(a_pipe_that_ends_early_ends_the_program),
        ROW(a_half_that_it_thinks_it_took_is_not_delivered),
        ROW(a_pipe_that_breaks_within_the_header_starts_nothing),
        ROW(it_leaves_when_the_last_has_ended),
        ROW(it_leaves_at_once_when_nothing_runs),
        ROW(without_local_what_runs_is_killed),
        ROW(an_answer_that_nobody_hears_ends_it),
        ROW(what_local_may_not_say_ends_it),
        cmocka_unit_test_setup_teardown(without_a_sandbox_it_runs_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("pipe", tests, NULL, NULL);
}
