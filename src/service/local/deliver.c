/* service/local/deliver.c: one message at a time through these steps, several messages beside each other.
 *
 *   OPEN tmp/NAME (new) -> READ, WRITE ... (the last with a flush) -> CLOSE -> RENAME tmp/NAME new/NAME ->
 * SYNC_DIR new -> answered
 *
 * OPEN that finds no folder makes the folders, syncs their parents and opens again. A failure removes
 * tmp/NAME and is answered as temporary: the queue keeps the message. The answer "delivered" comes only after
 * file and folder are on disk. Return-Path is replaced, Delivered-To added (RFC 5321 4.4); a message that has
 * been delivered to this recipient before is in a loop and fails for good (Postfix local(8)).
 *
 * Where the folder is a user's home it also reads his .forward (forward.c), when local asks for that. A home
 * that is missing has none.
 */
#include "service/local/deliver.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/queue_id.h"
#include "ipc/lists.h"
#include "service/local/body.h"
#include "service/local/forward.h"

enum { DELIVER_JOBS_MAX = 256, DELIVER_PATH_MAX = 1024 };

enum job_state {
    JOB_OPEN = 0,
    JOB_MKDIR,
    JOB_SYNC_PARENT,
    JOB_READ,
    JOB_WRITE,
    JOB_CLOSE,
    JOB_RENAME,
    JOB_SYNC_NEW,
    JOB_UNLINK
};

struct deliverer {
    struct world *world;
    struct channel *local;
    struct disk *disk;
    struct boot_hooks hooks;
    struct list jobs;
    size_t n_jobs;           /* readings of .forward count too */
    uint64_t convert_octets; /* at most BODY_CONVERT_MAX */
    bool is_draining, has_failed;
    bool is_missing; /* the folder: there is no disk */
    struct str root;
};
struct job {
    struct list link;
    struct deliverer *d;
    enum job_state state;
    uint64_t token, id;
    struct disk_op op;
    struct disk_file *file;
    bool made_folders;
    struct body body;
    char rcpt[SMTP_PATH_MAX + 1]; /* what body.text.rcpt is */
    uint64_t offset;
    struct str piece;
    char maildir[DELIVER_PATH_MAX]; /* relative to the root */
    size_t maildir_n;
    size_t n_made;   /* octets of maildir whose folders were made */
    unsigned n_leaf; /* of tmp, new, cur */
    char dir[DELIVER_PATH_MAX + 8];
    char tmp[DELIVER_PATH_MAX + 160], fresh[DELIVER_PATH_MAX + 160];
};

static void job_step(struct job *j);

static void set_state(struct job *j, enum job_state to)
{
    static const bool allowed[9][9] = {
        [JOB_OPEN] = {[JOB_MKDIR] = true, [JOB_READ] = true},
        [JOB_MKDIR] = {[JOB_SYNC_PARENT] = true},
        [JOB_SYNC_PARENT] = {[JOB_MKDIR] = true, [JOB_OPEN] = true},
        [JOB_READ] = {[JOB_WRITE] = true, [JOB_CLOSE] = true},
        [JOB_WRITE] = {[JOB_READ] = true, [JOB_CLOSE] = true},
        [JOB_CLOSE] = {[JOB_RENAME] = true, [JOB_UNLINK] = true},
        [JOB_RENAME] = {[JOB_SYNC_NEW] = true, [JOB_UNLINK] = true},
    };
    must(allowed[j->state][to]);
    j->state = to;
}

/* ---- the answer ---------------- */

static void maybe_leave(struct deliverer *d)
{
    if (d->is_draining && d->n_jobs == 0)
        d->hooks.exit(d->hooks.arg, 0);
}

/* What people have to look for in the file system. */
static const char *problem(enum err e)
{
    static const struct {
        enum err err;
        const char *text;
    } rows[] = {
        {ERR_NOTFOUND, "it or a folder above it is missing or is no folder"},
        {ERR_INVALID, "a symbolic link or something else stands where a folder or a file should be"},
        {ERR_DENIED, "permission denied, or the file system is read-only"},
        {ERR_NOSPACE, "no space left on disk, or the quota is used up"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].err == e)
            return rows[i].text;
    }
    return err_str(e);
}

static void send_result(struct deliverer *d, uint64_t token, const struct job_result *r)
{
    char mem[1024];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    (void)list_put_result(&b, r);
    struct ipc_job_done m = {.token = token, .results = buf_str(&b)};
    if (ipc_send_job_done(d->local, &m, NULL) !=
        ERR_OK) /* local counts a child that says nothing as failed */
        d->hooks.exit(d->hooks.arg, 1);
}

static void send_failure(struct deliverer *d, uint64_t token, enum err err, const char *what)
{
    char mem[RESULT_TEXT_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_printf(&text, "the mailbox could not be written: %s: %s", what, problem(err));
    /* RFC 3463: 4.3.1 mail system full, 4.3.0 other mail system trouble */
    struct job_result r = {.kind = RESULT_TEMPORARY,
                           .esc = err == ERR_NOSPACE ? ESC(4, 3, 1) : ESC(4, 3, 0),
                           .text = buf_str(&text)};
    send_result(d, token, &r);
}

static void answer(struct job *j)
{
    struct job_result r = {.kind = RESULT_OK, .esc = ESC(2, 0, 0), .text = STR("delivered to the mailbox")};
    char mem[RESULT_TEXT_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    if (j->body.text.is_loop)
        body_loop_result(&j->body, &text, &r);
    else if (j->body.err != ERR_OK) {
        send_failure(j->d, j->token, j->body.err, j->body.what);
        return;
    }
    send_result(j->d, j->token, &r);
}

static void job_end(struct job *j)
{
    struct deliverer *d = j->d;
    answer(j);
    body_fini(&j->body);
    list_remove(&j->link);
    d->n_jobs--;
    mem_free(j);
    maybe_leave(d);
}

/* ---- disk ---------------- */

static void on_disk(struct disk_op *op);

static void submit(struct job *j, struct disk_op op)
{
    op.lane = DISK_LANE_WRITE;
    op.done = on_disk;
    j->op = op;
    disk_submit(j->d->disk, &j->op);
}

static void open_tmp(struct job *j)
{
    submit(j, (struct disk_op){.kind = DISK_OPEN, .name = j->tmp, .create = DISK_CREATE_NEW});
}

/* The next folder on the way to the Maildir, then its three leaves. */
static void make_next_folder(struct job *j)
{
    static const char *const leaves[] = {"new", "cur", "tmp"}; /* tmp last: where it is, all are */
    struct buf b;
    buf_init_fixed(&b, j->dir, sizeof j->dir);
    if (j->n_made < j->maildir_n) {
        size_t from = j->n_made == 0 ? 0 : j->n_made + 1;
        size_t slash = str_chr(str_of(j->maildir + from, j->maildir_n - from), '/');
        j->n_made = slash == STR_NPOS ? j->maildir_n : from + slash;
        buf_put(&b, str_of(j->maildir, j->n_made));
    } else {
        buf_printf(&b, "%.*s/%s", (int)j->maildir_n, j->maildir, leaves[j->n_leaf++]);
    }
    buf_putc(&b, '\0');
    must(!b.failed);
    submit(j, (struct disk_op){.kind = DISK_MKDIR, .name = j->dir});
}

/* fsync of the folder that holds the one just made. */
static void sync_parent(struct job *j)
{
    size_t slash = str_rchr(str_from_c(j->dir), '/');
    if (slash == STR_NPOS) {
        j->dir[0] = '.';
        slash = 1;
    }
    j->dir[slash] = '\0';
    submit(j, (struct disk_op){.kind = DISK_SYNC_DIR, .name = j->dir});
}

static void write_piece(struct job *j)
{
    j->piece = buf_str(&j->body.out);
    submit(j, (struct disk_op){.kind = DISK_WRITE,
                               .file = j->file,
                               .offset = j->offset,
                               .pieces = &j->piece,
                               .n_pieces = 1,
                               .sync = j->body.is_last});
}

/* ---- steps ---------------- */

static void on_pipe(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    job_step(arg);
}

static const struct conn_user pipe_user = {on_pipe};

static void close_file(struct job *j)
{
    set_state(j, JOB_CLOSE);
    submit(j, (struct disk_op){.kind = DISK_CLOSE, .file = j->file});
    j->file = NULL;
}

static void job_step(struct job *j)
{
    if (j->state != JOB_READ)
        return;
    enum body_status status = body_next(&j->body);
    if (j->body.text.is_loop)
        body_fail(&j->body, ERR_INVALID, "a loop");
    if (j->body.err != ERR_OK) {
        close_file(j);
    } else if (status == BODY_READY) {
        set_state(j, JOB_WRITE);
        write_piece(j);
    }
}

static void after_open(struct job *j)
{
    if (j->op.err == ERR_NOTFOUND && !j->made_folders) {
        j->made_folders = true;
        set_state(j, JOB_MKDIR);
        make_next_folder(j);
    } else if (j->op.err != ERR_OK) {
        body_fail(&j->body, j->op.err, "creating the file");
        job_end(j);
    } else {
        j->file = j->op.file;
        set_state(j, JOB_READ);
        job_step(j);
    }
}

static void after_sync_parent(struct job *j)
{
    if (j->n_made < j->maildir_n || j->n_leaf < 3) {
        set_state(j, JOB_MKDIR);
        make_next_folder(j);
    } else {
        set_state(j, JOB_OPEN);
        open_tmp(j);
    }
}

static void after_write(struct job *j)
{
    j->offset += j->body.out.n;
    buf_reset(&j->body.out);
    if (j->body.err != ERR_OK || j->body.is_last) {
        close_file(j);
    } else {
        set_state(j, JOB_READ);
        job_step(j);
    }
}

static void after_close(struct job *j)
{
    if (j->body.err != ERR_OK) {
        set_state(j, JOB_UNLINK);
        submit(j, (struct disk_op){.kind = DISK_UNLINK, .name = j->tmp});
    } else {
        set_state(j, JOB_RENAME);
        submit(j, (struct disk_op){.kind = DISK_RENAME, .name = j->tmp, .name2 = j->fresh});
    }
}

static void after_rename(struct job *j)
{
    if (j->body.err != ERR_OK) {
        set_state(j, JOB_UNLINK);
        submit(j, (struct disk_op){.kind = DISK_UNLINK, .name = j->tmp});
        return;
    }
    struct buf b;
    buf_init_fixed(&b, j->dir, sizeof j->dir);
    buf_printf(&b, "%.*s/new", (int)j->maildir_n, j->maildir);
    buf_putc(&b, '\0');
    must(!b.failed);
    set_state(j, JOB_SYNC_NEW);
    submit(j, (struct disk_op){.kind = DISK_SYNC_DIR, .name = j->dir});
}

static const char *const step_names[] = {
    [JOB_OPEN] = "creating the file",
    [JOB_MKDIR] = "making a folder",
    [JOB_SYNC_PARENT] = "flushing a folder",
    [JOB_READ] = "reading",
    [JOB_WRITE] = "writing",
    [JOB_CLOSE] = "closing",
    [JOB_RENAME] = "moving it into new/",
    [JOB_SYNC_NEW] = "flushing new/",
    [JOB_UNLINK] = "removing",
};

static void on_disk(struct disk_op *op)
{
    struct job *j = container_of(op, struct job, op);
    if (op->err != ERR_OK && j->state != JOB_OPEN && j->state != JOB_UNLINK)
        body_fail(&j->body, op->err, step_names[j->state]);
    switch (j->state) {
    case JOB_OPEN:
        after_open(j);
        break;
    case JOB_MKDIR:
        if (j->body.err != ERR_OK) {
            job_end(j);
            break;
        }
        set_state(j, JOB_SYNC_PARENT);
        sync_parent(j);
        break;
    case JOB_SYNC_PARENT:
        if (j->body.err != ERR_OK)
            job_end(j);
        else
            after_sync_parent(j);
        break;
    case JOB_WRITE:
        after_write(j);
        break;
    case JOB_CLOSE:
        after_close(j);
        break;
    case JOB_RENAME:
        after_rename(j);
        break;
    case JOB_SYNC_NEW: /* a failed flush here: the file may be seen and come again, never be lost */
    case JOB_UNLINK:
        job_end(j);
        break;
    case JOB_READ:
        must_not_reach();
    }
}

/* ---- jobs ---------------- */

/* The Maildir relative to our root: every component is checked again here, where it becomes a path. */
static bool take_path(struct job *j, struct str maildir)
{
    struct str root = j->d->root, rest;
    if (!str_starts(maildir, root) || maildir.n <= root.n + 1 || (root.n > 1 && maildir.p[root.n] != '/'))
        return false;
    rest = str_skip(maildir, root.n > 1 ? root.n + 1 : 1);
    while (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (rest.n == 0 || rest.n >= sizeof j->maildir || str_has_ctl(rest))
        return false;
    unsigned depth = 0;
    for (struct str r = rest; r.n > 0; depth++) {
        struct str part = str_cut(&r, '/');
        if (part.n == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")) || depth >= MAILDIR_DEPTH_MAX)
            return false;
    }
    j->maildir_n = rest.n;
    return str_to_c(rest, j->maildir, sizeof j->maildir);
}

/* Unique for ever: seconds, 64 random bits, the queue's id (which is never reused), our name's place is the
 * R. */
static void make_names(struct job *j)
{
    uint64_t random;
    char mem[160];
    struct buf name, out;
    world_random(j->d->world, &random, sizeof random);
    buf_init_fixed(&name, mem, sizeof mem);
    buf_printf(&name, "%lld.R%016llxQ", (long long)(world_wall_ms(j->d->world) / 1000),
               (unsigned long long)random);
    queue_id_format(j->id, &name);
    buf_puts(&name, ".waxwing");
    buf_init_fixed(&out, j->tmp, sizeof j->tmp);
    buf_printf(&out, "%s/tmp/%.*s", j->maildir, STR_FMT(buf_str(&name)));
    buf_putc(&out, '\0');
    must(!out.failed);
    buf_init_fixed(&out, j->fresh, sizeof j->fresh);
    buf_printf(&out, "%s/new/%.*s", j->maildir, STR_FMT(buf_str(&name)));
    buf_putc(&out, '\0');
    must(!out.failed);
}

static struct job *job_new(struct deliverer *d, const struct ipc_local_job *m, struct handle *given)
{
    struct job *j = mem_new(struct job);
    struct reader r = reader_of(m->rcpts);
    struct rcpt rcpt = {.address = STR_NIL};
    if (j == NULL)
        return NULL;
    bool has_rcpt = rcpt_next(&r, &rcpt) && str_to_c(rcpt.address, j->rcpt, sizeof j->rcpt);
    j->d = d;
    j->token = m->token;
    j->id = m->id;
    struct body_plan plan = {.size = m->size,
                             .flags = m->flags,
                             .is_piped = m->is_piped,
                             .octets = m->body,
                             .rcpt = str_from_c(j->rcpt),
                             .convert_octets = &d->convert_octets};
    body_init(&j->body, d->world, &plan, given, &pipe_user, j);
    if (!has_rcpt || !take_path(j, m->maildir))
        body_fail(&j->body, ERR_INVALID, "the path of the mailbox is not one");
    else
        maildir_head(m->sender, rcpt.address, &j->body.out);
    list_push_back(&d->jobs, &j->link);
    d->n_jobs++;
    return j;
}

static void on_job(struct deliverer *d, struct str payload, struct handle *given)
{
    struct ipc_local_job m;
    if (!ipc_decode_local_job(payload, &m)) {
        d->hooks.exit(d->hooks.arg, 1);
        return;
    }
    struct job *j = d->n_jobs >= DELIVER_JOBS_MAX ? NULL : job_new(d, &m, given);
    if (j == NULL) {
        send_failure(d, m.token, ERR_NOMEM, "memory");
        return;
    }
    if (j->body.err != ERR_OK) {
        job_end(j);
        return;
    }
    make_names(j);
    open_tmp(j);
}

/* ---- trouble of the process ---------------- */

static void start_failed(struct deliverer *d, struct str reason)
{
    struct ipc_sup_failed m = {.reason = reason};
    d->has_failed = true;
    if (ipc_send_sup_failed(d->local, &m, NULL) != ERR_OK)
        log_error(d->world->log, "deliver.unheard", LS("why", reason));
}

static void folder_failed(struct deliverer *d, enum err e)
{
    char mem[200];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    buf_printf(&why, "the folder of the mailboxes can't be opened: %s", problem(e));
    start_failed(d, buf_str(&why));
}

/* ---- .forward ---------------- */

static void send_answer(struct deliverer *d, uint64_t token, enum home_says says, const struct job_result *r)
{
    char mem[RESULT_TARGETS_MAX + 1024] __attribute__((uninitialized));
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (says == HOME_SAYS_RESULT)
        (void)list_put_result(&b, r);
    struct ipc_forward_answer m = {.token = token, .says = (uint8_t)says, .results = buf_str(&b)};
    if (ipc_send_forward_answer(d->local, &m, NULL) != ERR_OK)
        d->hooks.exit(d->hooks.arg, 1);
}

static void on_forward(void *arg, uint64_t token, const struct forward_answer *a)
{
    struct deliverer *d = arg;
    send_answer(d, token, a->says, &a->result);
    d->n_jobs--;
    maybe_leave(d);
}

static void on_forward_ask(struct deliverer *d, struct str payload)
{
    const struct job_result no_memory = {
        .kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0), .text = STR("no memory to read the user's .forward")};
    struct ipc_forward_ask m;
    if (!ipc_decode_forward_ask(payload, &m))
        d->hooks.exit(d->hooks.arg, 1);
    else if (d->is_missing)
        send_answer(d, m.token, HOME_IS_MISSING, NULL);
    else if (d->n_jobs < DELIVER_JOBS_MAX && forward_start(d->disk, &m, on_forward, d))
        d->n_jobs++;
    else
        send_answer(d, m.token, HOME_SAYS_RESULT, &no_memory);
}

/* ---- local ---------------- */

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct deliverer *d = arg;
    UNUSED(c);
    if (d->has_failed)
        return; /* local was told, and ends us */
    if (!ipc_may_send(ROLE_LOCAL, ROLE_DELIVER, type)) {
        d->hooks.exit(d->hooks.arg, 1);
    } else if (type == IPC_FORWARD_ASK) {
        on_forward_ask(d, payload);
    } else if (type == IPC_LOCAL_JOB && d->is_missing) {
        folder_failed(d, ERR_NOTFOUND);
    } else if (type == IPC_LOCAL_JOB) {
        on_job(d, payload, given);
    } else {
        d->is_draining = true;
        maybe_leave(d);
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_closed(void *arg, struct channel *c)
{
    struct deliverer *d = arg;
    UNUSED(c);
    d->hooks.exit(d->hooks.arg, 1);
}

static const struct channel_user local_user = {on_message, on_room, on_closed};

static struct deliverer *deliverer_new(struct world *w, struct channel *local, const char *root,
                                       const struct boot_hooks *hooks)
{
    struct deliverer *d = mem_must_new(struct deliverer);
    *d = (struct deliverer){.world = w, .local = local, .hooks = *hooks, .root = str_from_c(root)};
    list_init(&d->jobs);
    channel_set_user(local, &local_user, d);
    return d;
}

/* A folder that is missing keeps nobody from asking for .forward: a user without a home has none. */
static void start(struct deliverer *d, enum err e)
{
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    d->is_missing = e == ERR_NOTFOUND;
    if (e != ERR_OK && !d->is_missing)
        folder_failed(d, e);
    else if (d->hooks.enter_sandbox != NULL && !d->hooks.enter_sandbox(d->hooks.arg, NULL, &why))
        start_failed(d, buf_str(&why));
}

void deliver_refuse(struct world *w, struct channel *local, enum err e, const struct boot_hooks *hooks)
{
    start(deliverer_new(w, local, NULL, hooks), e);
}

void deliver_start(struct world *w, struct channel *local, const char *root, const struct boot_hooks *hooks)
{
    struct deliverer *d = deliverer_new(w, local, root, hooks);
    start(d, root == NULL ? ERR_INVALID : world_disk(w, root, &d->disk));
}
