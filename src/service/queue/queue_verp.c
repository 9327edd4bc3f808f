/* service/queue/queue_verp.c: the return paths of list mail (VERP): which ones we wrote, and whose they are.
 *
 * A return path carries a tag: SipHash-2-4 of the list's owner and the member, with a key of this spool. So
 * what comes back is known to answer to mail of ours, and of which list, without a table: the lists of the
 * domain are tried. Who never had mail of the list can't guess a tag (40 bits, for each try a RCPT that is
 * refused); a member knows his own and can only speak of himself. Tags do not expire, like Postfix's and
 * ezmlm's return paths.
 *
 * The key is the file `verp` in the spool, made once: write-new, fdatasync, rename, fsync of the folder, and
 * only then used. It never leaves this role. A file that can't be read is trouble that is told, and there is
 * no VERP: lists go on with their owner's address. With another key (a new spool) what is still on its way
 * back is refused at RCPT.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "service/queue/queue.h"

#include <string.h>

enum { HEAD_N = 15, FILE_N = HEAD_N + 2 * SIPHASH_KEY + 1 };

static const char name_now[] = "verp", name_new[] = "verp.new", head[] = "waxwing-verp 1\n";
_Static_assert(sizeof head - 1 == HEAD_N, "the file's first line");

enum step {
    STEP_NONE = 0,
    READ_OPEN,
    READ_READ,
    READ_CLOSE,
    MAKE_UNLINK,
    MAKE_OPEN,
    MAKE_WRITE,
    MAKE_CLOSE,
    MAKE_RENAME,
    MAKE_SYNC
};
struct verp_key {
    struct queue *q;
    bool has_key, is_starting;
    unsigned char key[SIPHASH_KEY];
    enum step step; /* under way */
    enum err err;
    struct disk_op op;
    struct disk_file *file;
    size_t n_read;
    char text[FILE_N + 1];
    struct str piece;
};

/* ---- the file ---- */

static void on_step(struct disk_op *op);

static void submit(struct verp_key *v, enum step step, enum disk_kind kind, const char *name)
{
    v->step = step;
    v->op.kind = kind;
    v->op.lane = DISK_LANE_RELEASE;
    v->op.name = name;
    v->op.file = v->file;
    v->op.done = on_step;
    queue_store_busy(v->q);
    disk_submit(v->q->disk, &v->op);
}

static void start(struct verp_key *v, enum step step)
{
    v->op = (struct disk_op){.done = on_step};
    switch (step) {
    case READ_OPEN:
        submit(v, step, DISK_OPEN, name_now);
        break;
    case READ_READ:
        v->op.mem = v->text;
        v->op.size = sizeof v->text;
        submit(v, step, DISK_READ, NULL);
        break;
    case MAKE_UNLINK:
        submit(v, step, DISK_UNLINK, name_new);
        break;
    case MAKE_OPEN:
        v->op.create = DISK_CREATE_NEW;
        submit(v, step, DISK_OPEN, name_new);
        break;
    case MAKE_WRITE:
        v->piece = str_of(v->text, FILE_N);
        v->op.pieces = &v->piece;
        v->op.n_pieces = 1;
        v->op.sync = true;
        submit(v, step, DISK_WRITE, NULL);
        break;
    case READ_CLOSE:
    case MAKE_CLOSE:
        submit(v, step, DISK_CLOSE, NULL);
        v->file = NULL;
        break;
    case MAKE_RENAME:
        v->op.name2 = name_now;
        submit(v, step, DISK_RENAME, name_new);
        break;
    case MAKE_SYNC:
        submit(v, step, DISK_SYNC_DIR, ".");
        break;
    case STEP_NONE:
        must_not_reach();
    }
}

static void finish(struct verp_key *v)
{
    struct queue *q = v->q;
    v->step = STEP_NONE;
    v->has_key = v->err == ERR_OK;
    if (v->err != ERR_OK && v->err != ERR_NOTFOUND)
        queue_trouble(q, v->err,
                      "the file `verp` in the spool, the key of return paths, can't be used (remove it for a "
                      "new one): lists send with their owner's address");
    if (v->is_starting)
        queue_begin(q);
    v->is_starting = false;
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum err take(struct verp_key *v)
{
    if (v->n_read != FILE_N || !str_starts(str_of(v->text, v->n_read), str_from_c(head)) ||
        v->text[FILE_N - 1] != '\n')
        return ERR_CORRUPT;
    for (unsigned i = 0; i < SIPHASH_KEY; i++) {
        int high = hex_of(v->text[HEAD_N + 2 * i]), low = hex_of(v->text[HEAD_N + 2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_CORRUPT;
        v->key[i] = (unsigned char)(high * 16 + low);
    }
    return ERR_OK;
}

static void make(struct verp_key *v)
{
    struct buf b;
    world_random(v->q->world, v->key, sizeof v->key);
    buf_init_fixed(&b, v->text, sizeof v->text);
    buf_puts(&b, head);
    for (unsigned i = 0; i < SIPHASH_KEY; i++)
        buf_printf(&b, "%02x", v->key[i]);
    buf_putc(&b, '\n');
    must(!b.failed && b.n == FILE_N);
    start(v, MAKE_UNLINK);
}

static void step_read(struct verp_key *v, enum err err)
{
    if (v->step == READ_CLOSE) {
        if (v->err == ERR_OK)
            v->err = take(v);
        finish(v);
        return;
    }
    v->err = err;
    if (v->step == READ_READ) {
        v->n_read = err == ERR_OK ? v->op.n_done : 0;
        start(v, READ_CLOSE);
    } else if (err == ERR_OK) {
        v->file = v->op.file;
        start(v, READ_READ);
    } else if (err == ERR_NOTFOUND && v->q->config->policy.verp.n > 0) {
        make(v);
    } else {
        finish(v);
    }
}

static void step_make(struct verp_key *v, enum err err)
{
    if (v->step == MAKE_UNLINK) {
        v->err = ERR_OK;
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    if (v->step == MAKE_OPEN && err == ERR_OK)
        v->file = v->op.file;
    if (v->err == ERR_OK)
        v->err = err;
    if (v->err != ERR_OK && v->file != NULL)
        start(v, MAKE_CLOSE);
    else if (v->err != ERR_OK || v->step == MAKE_SYNC)
        finish(v);
    else
        start(v, v->step + 1);
}

static void on_step(struct disk_op *op)
{
    struct verp_key *v = container_of(op, struct verp_key, op);
    queue_store_idle(v->q);
    if (v->step < MAKE_UNLINK)
        step_read(v, op->err);
    else
        step_make(v, op->err);
}

void verp_load(struct queue *q)
{
    struct verp_key *v = mem_new(struct verp_key);
    if (v == NULL) {
        queue_fail(q, "the key of return paths can't be read", ERR_NOMEM);
        return;
    }
    q->verp = v;
    v->q = q;
    v->is_starting = true;
    start(v, READ_OPEN);
}

void verp_reload(struct queue *q)
{
    struct verp_key *v = q->verp;
    if (v != NULL && !v->has_key && v->step == STEP_NONE && q->phase == QUEUE_OPEN &&
        q->config->policy.verp.n > 0)
        start(v, READ_OPEN);
}

void verp_fini(struct queue *q)
{
    mem_free(q->verp);
    q->verp = NULL;
}

/* ---- tags ---- */

static void tag_of(const struct verp_key *v, struct str owner, struct str member, char out[VERP_TAG])
{
    char mem[2 * SMTP_PATH_MAX + 1];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < owner.n; i++)
        buf_putc(&b, ascii_lower(owner.p[i]));
    buf_putc(&b, '\0');
    for (size_t i = 0; i < member.n; i++) /* hosts on the way may have changed the case */
        buf_putc(&b, ascii_lower(member.p[i]));
    must(!b.failed);
    unsigned char hash[SIPHASH_SIZE];
    siphash(v->key, buf_str(&b), hash);
    verp_tag(get_u64_at(hash), out);
}

static bool has_key(const struct queue *q)
{
    return q->verp != NULL && q->verp->has_key;
}

bool verp_put_sender(const struct queue *q, struct str owner, struct str member, struct buf *out)
{
    char tag[VERP_TAG];
    struct str domain = str_skip(owner, str_rchr(owner, '@') + 1);
    if (!has_key(q) || owner.n > SMTP_PATH_MAX || member.n > SMTP_PATH_MAX ||
        !domain_is_valid(domain, false)) /* "*" is none */
        return false;
    tag_of(q->verp, owner, member, tag);
    return verp_format(q->config->policy.verp, member, tag, domain, out);
}

enum verp_found verp_find(const struct queue *q, struct str address, struct buf *mem, struct str *owner,
                          struct str *member)
{
    char local_mem[SMTP_LOCAL_PART_TAKEN_MAX], tag[VERP_TAG];
    struct buf local;
    struct verp_path path;
    buf_init_fixed(&local, local_mem, sizeof local_mem);
    if (!policy_verp(&q->config->policy, address, &local, &path))
        return VERP_NO;
    if (!has_key(q))
        return VERP_UNKNOWN;
    size_t at = mem->n;
    buf_put(mem, path.parts.local);
    buf_putc(mem, '@');
    buf_put(mem, path.parts.domain);
    *member = str_skip(buf_str(mem), at);
    for (size_t i = 0; !mem->failed && i < path.home->n_aliases; i++) {
        *owner = path.home->aliases[i].owner;
        if (owner->n == 0 || owner->n > SMTP_PATH_MAX)
            continue;
        tag_of(q->verp, *owner, *member, tag);
        if (memcmp(tag, path.parts.tag, VERP_TAG) == 0)
            return VERP_OURS;
    }
    return VERP_FORGED;
}
