/* service/local/pipe.c: one message into one program, several beside each other.
 *
 *   HEADER: the message is read until its header section is whole: one that has been here before is no work
 * for the program. Return-Path and Delivered-To stand on top, lines end in LF, as in a Maildir. RUNNING: the
 * program has started. Octets go in as it takes them, at most two pieces are in memory; its output is read to
 * the end, the first 4 KiB are kept. It may read as little as it likes (Postfix: no failure).
 *   -> answered when it has ended. Nobody waits for the end of its output: what it left in the background may
 * hold that open for ever.
 *
 * A message that breaks off on its way to us ends the program by SIGKILL before its input ends: it never
 * takes a half for the whole. At the end of its time it gets SIGTERM, then SIGKILL; what it says then does
 * not count.
 */
#include "service/local/pipe.h"

#include "base/limits.h"
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/local/body.h"
#include "service/local/verdict.h"

#include <string.h>

enum {
    PIPE_KILL_MS = 5000, /* from SIGTERM to SIGKILL */
    PIPE_STEPS_MAX = 16, /* writes in a row before others have their turn */
    PIPE_READS_MAX = 16, /* likewise reads of its output */
    PIPE_ENV_MAX = 12,   /* variables */
    PIPE_ENV_OCTETS = 32 * 1024,
};

struct runner {
    struct world *world;
    struct channel *local;
    struct boot_hooks hooks;
    struct pipe_account account;
    struct list jobs;
    size_t n_jobs;
    uint64_t convert_octets; /* at most BODY_CONVERT_MAX */
    bool is_draining, has_failed;
};
struct job {
    struct list link;
    struct runner *r;
    uint64_t token;
    struct body body;
    struct program *program; /* NULL: not started, or it has ended */
    struct conn *input, *output;
    struct timer timer; /* the end of its time */
    uint32_t time_limit_s;
    bool is_running, is_out_of_time, was_asked_to_end;
    char kept_mem[VERDICT_OUTPUT_MAX]; /* of its output */
    struct buf kept;
    const char *env[PIPE_ENV_MAX + 1];
    size_t n_env;
    struct buf env_text; /* on the heap, of a fixed size: env points into it */
    const char *folder;  /* in env_text */
    size_t n_words;
    char rcpt[SMTP_PATH_MAX + 1];
    const char **argv; /* n_words and NULL; their text lies behind it */
};

/* ---- answers ---------------- */

static void maybe_leave(struct runner *r)
{
    if (r->is_draining && r->n_jobs == 0)
        r->hooks.exit(r->hooks.arg, 0);
}

static void send_result(struct runner *r, uint64_t token, const struct job_result *result)
{
    char mem[RESULT_TEXT_MAX + 64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    (void)list_put_result(&b, result);
    struct ipc_job_done m = {.token = token, .results = buf_str(&b)};
    if (ipc_send_job_done(r->local, &m, NULL) !=
        ERR_OK) /* local counts a child that says nothing as failed */
        r->hooks.exit(r->hooks.arg, 1);
}

static void send_failure(struct runner *r, uint64_t token, struct str text)
{
    struct job_result result = {.kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0), .text = text};
    send_result(r, token, &result);
}

static void job_end(struct job *j, const struct job_result *result)
{
    struct runner *r = j->r;
    must(j->program == NULL);
    send_result(r, j->token, result);
    world_timer_cancel(r->world, &j->timer);
    if (j->input != NULL)
        conn_close(j->input);
    if (j->output != NULL)
        conn_close(j->output);
    body_fini(&j->body);
    buf_fini(&j->env_text);
    mem_free(j->argv);
    list_remove(&j->link);
    r->n_jobs--;
    mem_free(j);
    maybe_leave(r);
}

/* Before or without a program: what the body says. */
static void job_refuse(struct job *j)
{
    char mem[RESULT_TEXT_MAX];
    struct buf text;
    struct job_result result = {.kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0)};
    buf_init_fixed(&text, mem, sizeof mem);
    if (j->body.text.is_loop) {
        body_loop_result(&j->body, &text, &result);
    } else {
        buf_printf(&text, "the program could not be given the message: %s: %s", j->body.what,
                   err_str(j->body.err));
        result.text = buf_str(&text);
    }
    job_end(j, &result);
}

static void job_finish(struct job *j, const struct program_end *end)
{
    char mem[RESULT_TEXT_MAX];
    struct buf text;
    struct job_result result = {.kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0)};
    buf_init_fixed(&text, mem, sizeof mem);
    if (j->body.err != ERR_OK) {
        job_refuse(j);
        return;
    }
    if (j->is_out_of_time && end->err == ERR_OK) {
        buf_printf(&text, "the program did not end within %u seconds and was stopped",
                   (unsigned)j->time_limit_s);
        result.text = buf_str(&text);
    } else {
        verdict_of(end, buf_str(&j->kept), &text, &result);
    }
    job_end(j, &result);
}

/* ---- into the program ---------------- */

static void close_input(struct job *j)
{
    if (j->input != NULL)
        conn_close(j->input);
    j->input = NULL;
    body_abandon(&j->body);
}

/* One write. false: no more now. */
static bool feed_once(struct job *j)
{
    struct str ready = buf_str(&j->body.out);
    size_t n;
    if (ready.n > 0) {
        enum err e = conn_write(j->input, &ready, 1, &n);
        if (e == ERR_OK)
            buf_consume(&j->body.out, n);
        else if (e == ERR_AGAIN)
            conn_want(j->input, CONN_WRITABLE);
        else
            close_input(j); /* it has what it wants; its exit status tells */
        return e == ERR_OK;
    }
    if (j->body.is_last) {
        close_input(j);
        return false;
    }
    switch (body_next(&j->body)) {
    case BODY_READY:
        return true;
    case BODY_WAIT:
        conn_want(j->input, 0);
        break;
    case BODY_FAILED: /* its input stays open: it must not see an end */
        conn_want(j->input, 0);
        body_abandon(&j->body);
        program_kill(j->program, true);
        break;
    }
    return false;
}

static void feed(struct job *j)
{
    for (unsigned i = 0; i < PIPE_STEPS_MAX; i++) {
        if (j->input == NULL || j->program == NULL || j->body.err != ERR_OK || !feed_once(j))
            return;
    }
    conn_want(j->input, CONN_WRITABLE);
}

static void on_input(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    feed(arg);
}

/* ---- out of the program ---------------- */

static void read_output(struct job *j)
{
    char waste[4096];
    for (unsigned i = 0; i < PIPE_READS_MAX && j->output != NULL; i++) {
        size_t room = j->kept.max - j->kept.n, n = 0;
        char *to = room > 0 ? j->kept.p + j->kept.n : waste;
        enum err e = conn_read(j->output, to, room > 0 ? room : sizeof waste, &n);
        if (e == ERR_AGAIN)
            return;
        if (room > 0)
            j->kept.n += n;
        if (e != ERR_OK) {
            conn_close(j->output);
            j->output = NULL;
        }
    }
}

static void on_output(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    read_output(arg);
}

static const struct conn_user input_user = {on_input}, output_user = {on_output};

/* ---- its life ---------------- */

static void on_time(struct timer *t)
{
    struct job *j = container_of(t, struct job, timer);
    if (j->program == NULL)
        return;
    j->is_out_of_time = true;
    program_kill(j->program, j->was_asked_to_end);
    if (!j->was_asked_to_end)
        world_timer_set(j->r->world, t, world_now_ms(j->r->world) + PIPE_KILL_MS);
    j->was_asked_to_end = true;
}

static void on_program_end(void *arg, const struct program_end *end)
{
    struct job *j = arg;
    j->program = NULL;
    read_output(j); /* what it wrote before it ended is there */
    job_finish(j, end);
}

static void start_program(struct job *j)
{
    struct runner *r = j->r;
    const struct program_plan plan = {.argv = j->argv, .env = j->env, .folder = j->folder};
    enum err e = world_program(r->world, &plan, on_program_end, j, &j->input, &j->output, &j->program);
    if (e != ERR_OK) {
        const struct program_end end = {.err = e};
        job_finish(j, &end);
        return;
    }
    j->is_running = true;
    conn_set_user(j->input, &input_user, j);
    conn_set_user(j->output, &output_user, j);
    conn_want(j->output, CONN_READABLE);
    world_timer_set(r->world, &j->timer, world_now_ms(r->world) + (uint64_t)j->time_limit_s * 1000);
    feed(j);
}

static void job_step(struct job *j)
{
    if (j->is_running) {
        feed(j);
        return;
    }
    while (j->body.err == ERR_OK && !j->body.text.is_loop && !body_has_header(&j->body)) {
        if (body_next(&j->body) == BODY_WAIT)
            return;
    }
    if (j->body.err != ERR_OK || j->body.text.is_loop)
        job_refuse(j);
    else
        start_program(j);
}

static void on_body(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    job_step(arg);
}

static const struct conn_user body_user = {on_body};

/* ---- words and environment ---------------- */

/* false: no memory, or no words. */
static bool set_words(struct job *j, struct str list)
{
    struct reader r = reader_of(list);
    struct str word;
    size_t n = list_count_str(list);
    if (n == 0 || n > PIPE_WORDS_MAX)
        return false;
    j->argv = mem_alloc((n + 1) * sizeof *j->argv + list.n + n);
    if (j->argv == NULL)
        return false;
    char *at = (char *)(void *)(j->argv + n + 1);
    while (list_next_str(&r, &word)) {
        if (!str_to_c(word, at, word.n + 1)) /* NUL within */
            return false;
        j->argv[j->n_words++] = at;
        at += word.n + 1;
    }
    return j->argv[0][0] == '/';
}

/* Octets that a shell gives a meaning become '_', as in Postfix (command_expansion_filter): scripts are
 * careless with their quotes. Words are left as they are. Letters outside ASCII stay, which Postfix replaces
 * too. */
static bool is_harmless(char c)
{
    return ascii_is_alnum(c) || (unsigned char)c > 0x7f || (c != '\0' && strchr("!@%-_=+:,./", c) != NULL);
}

static void set_env(struct job *j, const char *name, struct str value, bool is_foreign)
{
    struct buf *b = &j->env_text;
    must(j->n_env < PIPE_ENV_MAX);
    size_t start = b->n;
    buf_puts(b, name);
    buf_putc(b, '=');
    for (size_t i = 0; i < value.n; i++)
        buf_putc(b, is_foreign ? (is_harmless(value.p[i]) ? value.p[i] : '_') : value.p[i]);
    buf_putc(b, '\0');
    j->env[j->n_env++] = b->p + start;
}

static void set_environment(struct job *j, const struct ipc_pipe_job *m)
{
    const struct pipe_account *a = &j->r->account;
    struct str home = m->home.n > 0 ? m->home : a->home.n > 0 ? a->home : STR("/");
    struct str login = m->login.n > 0 ? m->login : a->name;
    size_t at = str_rchr(m->rcpt, '@');
    set_env(j, "PATH", STR("/usr/local/bin:/usr/bin:/bin"), false);
    set_env(j, "SHELL", a->shell.n > 0 ? a->shell : STR("/bin/sh"), false);
    set_env(j, "HOME", home, false);
    j->folder = j->env[j->n_env - 1] + sizeof "HOME=" - 1;
    if (login.n > 0) {
        set_env(j, "USER", login, false);
        set_env(j, "LOGNAME", login, false);
    }
    set_env(j, "SENDER", m->sender, true);
    set_env(j, "RECIPIENT", m->rcpt, true);
    set_env(j, "LOCAL", str_slice(m->rcpt, 0, at), true);
    set_env(j, "EXTENSION", m->extension, true);
    set_env(j, "DOMAIN", m->domain, true);
}

/* ---- jobs ---------------- */

static struct job *job_new(struct runner *r, const struct ipc_pipe_job *m, struct handle *given)
{
    struct job *j = mem_new(struct job);
    if (j == NULL)
        return NULL;
    j->r = r;
    j->token = m->token;
    j->time_limit_s = m->time_limit_s;
    j->timer.fire = on_time;
    buf_init_fixed(&j->kept, j->kept_mem, sizeof j->kept_mem);
    buf_init(&j->env_text, PIPE_ENV_OCTETS);
    bool has_rcpt = str_to_c(m->rcpt, j->rcpt, sizeof j->rcpt);
    struct body_plan plan = {.size = m->size,
                             .flags = m->flags,
                             .is_piped = m->is_piped,
                             .octets = m->body,
                             .rcpt = str_from_c(j->rcpt),
                             .convert_octets = &r->convert_octets};
    body_init(&j->body, r->world, &plan, given, &body_user, j);
    if (buf_reserve(&j->env_text, PIPE_ENV_OCTETS)) /* it does not move from here on */
        set_environment(j, m);
    if (j->env_text.failed || !has_rcpt || !set_words(j, m->words))
        body_fail(&j->body, ERR_NOMEM, "its words");
    maildir_head(m->sender, m->rcpt, &j->body.out);
    list_push_back(&r->jobs, &j->link);
    r->n_jobs++;
    return j;
}

static void on_job(struct runner *r, struct str payload, struct handle *given)
{
    struct ipc_pipe_job m;
    if (!ipc_decode_pipe_job(payload, &m)) {
        r->hooks.exit(r->hooks.arg, 1);
        return;
    }
    struct job *j = job_new(r, &m, given);
    if (j == NULL)
        send_failure(r, m.token, STR("no memory for a program"));
    else
        job_step(j);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct runner *r = arg;
    UNUSED(c);
    if (r->has_failed)
        return; /* local was told, and ends us */
    if (!ipc_may_send(ROLE_LOCAL, ROLE_PIPE, type)) {
        r->hooks.exit(r->hooks.arg, 1);
    } else if (type == IPC_PIPE_JOB) {
        on_job(r, payload, given);
    } else {
        r->is_draining = true;
        maybe_leave(r);
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

/* Nobody hears our answers any more, so the deliveries are made again: what runs must not run beside that. */
static void on_closed(void *arg, struct channel *c)
{
    struct runner *r = arg;
    UNUSED(c);
    list_each (k, &r->jobs) {
        struct job *j = list_entry(k, struct job, link);
        if (j->program != NULL)
            program_kill(j->program, true);
    }
    r->hooks.exit(r->hooks.arg, 1);
}

static const struct channel_user local_user = {on_message, on_room, on_closed};

void pipe_start(struct world *w, struct channel *local, const struct pipe_account *account,
                const struct boot_hooks *hooks)
{
    struct runner *r = mem_must_new(struct runner);
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    *r = (struct runner){.world = w, .local = local, .hooks = *hooks, .account = *account};
    list_init(&r->jobs);
    channel_set_user(local, &local_user, r);
    if (hooks->enter_sandbox == NULL || hooks->enter_sandbox(hooks->arg, NULL, &why))
        return;
    struct ipc_sup_failed m = {.reason = buf_str(&why)};
    r->has_failed = true;
    if (ipc_send_sup_failed(local, &m, NULL) != ERR_OK)
        log_error(w->log, "pipe.unheard", LS("why", m.reason));
}
