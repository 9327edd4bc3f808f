/* service/local/body.c: see body.h. */
#include "service/local/body.h"

#include "base/limits.h"
#include "ipc/lists.h"
#include "ipc/schema.h"

void body_fail(struct body *b, enum err err, const char *what)
{
    if (b->err == ERR_OK) {
        b->err = err;
        b->what = what;
    }
}

/* Reads what the pipe has, up to a piece, or all that is to be converted. */
static void fill(struct body *b)
{
    struct buf *in = b->is_converted ? &b->whole : &b->in;
    while (!b->pipe_ended && (b->is_converted || in->n < b->n_wanted)) {
        size_t n;
        if (!buf_reserve(in, BODY_PIECE_SIZE)) {
            body_fail(b, ERR_NOMEM, "memory");
            return;
        }
        enum err e = conn_read(b->pipe, in->p + in->n, BODY_PIECE_SIZE, &n);
        if (e == ERR_AGAIN)
            return;
        if (e == ERR_OK) {
            in->n += n;
            b->n_read += n;
        } else {
            b->pipe_ended = true;
            if (e != ERR_CLOSED)
                body_fail(b, e, "the message did not arrive whole");
        }
    }
}

/* What has to become of it? */
static void scan(struct body *b)
{
    b->is_scanned = true;
    b->converter = downgrade_new(DOWNGRADE_BINARY);
    if (b->converter == NULL) {
        body_fail(b, ERR_NOMEM, "memory");
        return;
    }
    downgrade_scan(b->converter, buf_str(&b->whole));
    enum downgrade_status status = downgrade_scan_end(b->converter);
    if (status == DOWNGRADE_OK)
        return;
    downgrade_del(&b->converter);
    b->text.keeps_crlf = status != DOWNGRADE_NOT_NEEDED;
}

/* More of the converted message into b->in. true: that was all. */
static bool convert(struct body *b)
{
    size_t enough = b->in.n + BODY_PIECE_SIZE / 2;
    if (!b->is_scanned)
        scan(b);
    if (b->err == ERR_OK && !buf_reserve(&b->in, BODY_PIECE_SIZE))
        body_fail(b, ERR_NOMEM, "memory");
    if (b->err != ERR_OK)
        return true;
    struct str whole = buf_str(&b->whole);
    if (b->converter == NULL) {
        struct str piece = str_slice(whole, b->n_given, b->n_given + BODY_PIECE_SIZE);
        buf_put(&b->in, piece);
        b->n_given += piece.n;
        return b->n_given == whole.n;
    }
    while (b->n_given < whole.n && b->in.n < enough)
        b->n_given += downgrade_put(b->converter, str_skip(whole, b->n_given), &b->in);
    if (b->n_given == whole.n && !b->converter_ended)
        b->converter_ended = downgrade_end(b->converter, &b->in);
    return b->converter_ended;
}

enum body_status body_next(struct body *b)
{
    must(!b->is_last);
    if (b->pipe != NULL)
        fill(b);
    bool is_all = b->pipe == NULL || b->pipe_ended;
    if (b->err == ERR_OK && is_all && b->n_read != b->size)
        body_fail(b, ERR_CORRUPT, "the message did not arrive whole");
    if (!is_all && (b->is_converted ? b->err == ERR_OK : b->in.n < b->n_wanted)) {
        conn_want(b->pipe, CONN_READABLE);
        return b->err == ERR_OK ? BODY_WAIT : BODY_FAILED;
    }
    if (b->is_converted)
        is_all = convert(b);
    size_t used = maildir_text_feed(&b->text, buf_str(&b->in), is_all, &b->out);
    buf_consume(&b->in, used);
    b->n_wanted =
        b->in.n + BODY_PIECE_SIZE; /* a header line that is not whole yet stays: more must come with it */
    if (b->out.failed)
        body_fail(b, ERR_NOMEM, "memory");
    if (b->pipe != NULL)
        conn_want(b->pipe, 0);
    b->is_last = is_all;
    return b->err == ERR_OK ? BODY_READY : BODY_FAILED;
}

/* ---- the beginning and the end ---------------- */

/* Is it to be converted? Its memory is counted then. */
static void look_binary(struct body *b, uint32_t flags)
{
    if ((flags & MAIL_FLAG_BINARY) == 0)
        return;
    if (b->size > BODY_CONVERT_MAX) {
        b->text.keeps_crlf = true;
    } else if (b->size > BODY_CONVERT_MAX - *b->convert_octets) {
        body_fail(b, ERR_NOMEM, "memory");
    } else {
        b->is_converted = true;
        *b->convert_octets += b->size;
    }
}

void body_init(struct body *b, struct world *w, const struct body_plan *plan, struct handle *given,
               const struct conn_user *user, void *arg)
{
    *b = (struct body){.size = plan->size,
                       .convert_octets = plan->convert_octets,
                       .n_wanted = BODY_PIECE_SIZE,
                       .text = {.rcpt = plan->rcpt}};
    look_binary(b, plan->flags);
    buf_init(&b->whole, (size_t)(b->is_converted ? b->size : 0) + BODY_PIECE_SIZE);
    buf_init(&b->in, (size_t)BODY_PIECE_SIZE * 2 + HEADER_SECTION_MAX);
    buf_init(&b->out, (size_t)BODY_PIECE_SIZE * 3 + 2 * HEADER_SECTION_MAX + 2 * SMTP_PATH_MAX + 64);
    if (plan->is_piped) {
        b->pipe = handle_take_conn(w, given);
        if (b->pipe != NULL)
            conn_set_user(b->pipe, user, arg);
        else
            body_fail(b, ERR_INVALID, "the message did not come");
        return;
    }
    b->n_read = plan->octets.n;
    if (!buf_put(b->is_converted ? &b->whole : &b->in, plan->octets))
        body_fail(b, ERR_NOMEM, "memory");
}

void body_loop_result(const struct body *b, struct buf *text, struct job_result *out)
{
    buf_puts(text, "mail forwarding loop for ");
    buf_put(text, b->text.rcpt);
    *out = (struct job_result){.kind = RESULT_PERMANENT, .esc = ESC(5, 4, 6), .text = buf_str(text)};
}

bool body_has_header(const struct body *b)
{
    return b->text.in_body || b->is_last || b->out.n > HEADER_SECTION_MAX + SMTP_PATH_MAX * 2;
}

void body_abandon(struct body *b)
{
    if (b->pipe != NULL)
        conn_close(b->pipe);
    b->pipe = NULL;
}

void body_fini(struct body *b)
{
    body_abandon(b);
    if (b->is_converted)
        *b->convert_octets -= b->size;
    downgrade_del(&b->converter);
    buf_fini(&b->whole);
    buf_fini(&b->in);
    buf_fini(&b->out);
}
