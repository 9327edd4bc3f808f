#include "service/agent/replace.h"

static void on_step(struct disk_op *op);

static void submit(struct replace *r, enum replace_step step, enum disk_kind kind, const char *name)
{
    struct disk_file *file = r->op.file;
    r->op =
        (struct disk_op){.kind = kind, .lane = DISK_LANE_WRITE, .name = name, .file = file, .done = on_step};
    list_init(&r->op.link);
    r->step = step;
    switch (step) {
    case REPLACE_OPEN:
        r->op.create = DISK_CREATE_NEW;
        break;
    case REPLACE_WRITE:
        r->op.pieces = &r->octets;
        r->op.n_pieces = 1;
        r->op.sync = true;
        break;
    case REPLACE_RENAME:
        r->op.name2 = r->name;
        break;
    case REPLACE_IDLE:
    case REPLACE_CLEAR:
    case REPLACE_CLOSE:
    case REPLACE_SYNC:
        break;
    }
    disk_submit(r->disk, &r->op);
}

static void end(struct replace *r)
{
    r->step = REPLACE_IDLE;
    r->done(r, r->failed);
}

static void on_step(struct disk_op *op)
{
    struct replace *r = container_of(op, struct replace, op);
    if (op->err != ERR_OK && op->err != ERR_NOTFOUND && r->failed == ERR_OK)
        r->failed = op->err;
    switch (r->step) {
    case REPLACE_CLEAR:
        submit(r, REPLACE_OPEN, DISK_OPEN, r->fresh);
        return;
    case REPLACE_OPEN:
        if (op->err == ERR_OK)
            submit(r, REPLACE_WRITE, DISK_WRITE, NULL);
        else
            end(r);
        return;
    case REPLACE_WRITE:
        submit(r, REPLACE_CLOSE, DISK_CLOSE, NULL);
        return;
    case REPLACE_CLOSE:
        r->op.file = NULL;
        if (r->failed == ERR_OK)
            submit(r, REPLACE_RENAME, DISK_RENAME, r->fresh);
        else
            end(r);
        return;
    case REPLACE_RENAME:
        if (r->failed == ERR_OK)
            submit(r, REPLACE_SYNC, DISK_SYNC_DIR, ".");
        else
            end(r);
        return;
    case REPLACE_SYNC:
        end(r);
        return;
    case REPLACE_IDLE:
        break;
    }
    must_not_reach();
}

void replace_write(struct replace *r, const char *name, struct str octets)
{
    must(replace_is_idle(r));
    r->name = name;
    r->octets = octets;
    r->failed = ERR_OK;
    submit(r, REPLACE_CLEAR, DISK_UNLINK, r->fresh);
}

void replace_remove(struct replace *r, const char *name)
{
    must(replace_is_idle(r));
    r->name = name;
    r->failed = ERR_OK;
    submit(r, REPLACE_RENAME, DISK_UNLINK, name);
}
