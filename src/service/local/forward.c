/* service/local/forward.c: see forward.h. */
#include "service/local/forward.h"

#include "base/limits.h"
#include "base/mem.h"

enum { WRITABLE_BY_OTHERS = 0022 };

struct reading {
    struct disk_op op;
    void (*fn)(void *arg, uint64_t token, const struct forward_answer *a);
    void *arg;
    struct ipc_forward_ask ask; /* its texts lie in the members below */
    struct forward_answer answer;
    char text[FORWARD_OCTETS_MAX];
    char user[SMTP_PATH_MAX], rcpt[SMTP_PATH_MAX];
};

/* Why the file can't be read, for its owner; NULL: it was. */
static const char *unreadable(const struct disk_op *read, uint32_t uid)
{
    if (read->err == ERR_INVALID)
        return "it is a symbolic link, which is not followed";
    if (read->err == ERR_TOO_BIG)
        return "it has more than 32768 octets";
    if (read->err != ERR_OK)
        return err_str(read->err);
    if (!read->about.is_regular)
        return "it is no regular file";
    if (uid != UINT32_MAX && read->about.uid != uid && read->about.uid != 0)
        return "it belongs to another user";
    if ((read->about.mode & WRITABLE_BY_OTHERS) != 0)
        return "others than its owner can write it";
    return NULL;
}

/* RFC 3463 3.3: 4.2.0 is the mailbox, which the user can put right; 4.3.0 is the system. */
static void say_trouble(struct forward_answer *out, struct esc esc, unsigned line, const char *why)
{
    struct buf text;
    buf_init_fixed(&text, out->text, sizeof out->text);
    if (line > 0)
        buf_printf(&text, "line %u of the user's .forward: %s", line, why);
    else
        buf_printf(&text, "the user's .forward: %s", why);
    out->says = HOME_SAYS_RESULT;
    out->result = (struct job_result){.kind = RESULT_TEMPORARY, .esc = esc, .text = buf_str(&text)};
}

void forward_say(const struct disk_op *read, const struct ipc_forward_ask *m, struct forward_answer *out)
{
    const struct forward_whose whose = {.user = m->user_name, .rcpt = m->rcpt};
    struct forward_found found;
    struct buf targets;
    buf_init_fixed(&targets, out->targets, sizeof out->targets);
    out->says = HOME_SAYS_NOTHING;
    if (read->err == ERR_NOTFOUND)
        return;
    const char *why = unreadable(read, m->uid);
    if (why != NULL) {
        bool is_ours = read->err == ERR_IO || read->err == ERR_NOMEM;
        say_trouble(out, is_ours ? ESC(4, 3, 0) : ESC(4, 2, 0), 0, why);
        return;
    }
    switch (forward_read(str_of(read->mem, read->n_done), &whose, &targets, &found)) {
    case FORWARD_NONE:
        return;
    case FORWARD_TARGETS:
        out->says = HOME_SAYS_RESULT;
        out->result =
            (struct job_result){.kind = RESULT_EXPANDED, .esc = ESC(2, 1, 5), .targets = buf_str(&targets)};
        return;
    case FORWARD_BAD:
        say_trouble(out, ESC(4, 2, 0), found.line, found.why);
        return;
    }
    must_not_reach();
}

static void on_read(struct disk_op *op)
{
    struct reading *r = container_of(op, struct reading, op);
    forward_say(op, &r->ask, &r->answer);
    r->fn(r->arg, r->ask.token, &r->answer);
    mem_free(r);
}

bool forward_start(struct disk *d, const struct ipc_forward_ask *m,
                   void (*fn)(void *arg, uint64_t token, const struct forward_answer *a), void *arg)
{
    struct reading *r = mem_new(struct reading);
    struct buf user, rcpt;
    if (r == NULL)
        return false;
    buf_init_fixed(&user, r->user, sizeof r->user);
    buf_init_fixed(&rcpt, r->rcpt, sizeof r->rcpt);
    if (!buf_put(&user, m->user_name) || !buf_put(&rcpt, m->rcpt)) {
        mem_free(r);
        return false;
    }
    r->fn = fn;
    r->arg = arg;
    r->ask = (struct ipc_forward_ask){
        .token = m->token, .uid = m->uid, .user_name = buf_str(&user), .rcpt = buf_str(&rcpt)};
    r->op = (struct disk_op){.kind = DISK_READ_SMALL,
                             .lane = DISK_LANE_READ,
                             .name = ".forward",
                             .mem = r->text,
                             .size = sizeof r->text,
                             .done = on_read};
    disk_submit(d, &r->op);
    return true;
}
