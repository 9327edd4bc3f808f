/* service/relay/relay_convert.c: a message made fit for a server that takes less than it has
 * (wire/downgrade.h).
 *
 * The converter sees the message twice, so a body that comes by pipe is read into memory first, all of them
 * together within RELAY_CONVERT_MAX. From then on the job has it as if it had come inline: another server may
 * get it as it is.
 */
#include "base/mem.h"
#include "service/relay/relay.h"

static void refuse(struct link *k, struct esc esc, struct str why)
{
    k->job->is_converting = false;
    smtp_client_no_convert(k->client, esc, why, world_now_ms(k->relay->world));
}

static void accept_size(struct link *k, uint64_t size)
{
    k->job->is_converting = false;
    smtp_client_convert(k->client, size, world_now_ms(k->relay->world));
}

static bool is_header_ascii(struct str message)
{
    size_t end = str_find(message, STR("\r\n\r\n"));
    return str_is_ascii(end == STR_NPOS ? message : str_slice(message, 0, end));
}

static void tell(struct link *k)
{
    struct job *j = k->job;
    char mem[RESULT_TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_put(&b, str_slice(downgrade_why(j->converter), 0, sizeof mem - 64));
    if (downgrade_breaks_dkim(j->converter))
        buf_puts(&b, "; its DKIM or ARC signature will not verify");
    struct ipc_event ev = {.kind = EVENT_CONVERTED,
                           .wall_ms = (uint64_t)world_wall_ms(k->relay->world),
                           .id = j->id,
                           .host = str_from_c(k->host),
                           .text = buf_str(&b)};
    role_event(k->relay->env, &ev);
}

bool relay_convert_next(struct job *j)
{
    buf_reset(&j->piece);
    if (!buf_reserve(&j->piece, RELAY_PIECE))
        return false;
    while (j->n_given < j->body.n && j->piece.n < RELAY_PIECE / 2)
        j->n_given += downgrade_put(j->converter, str_skip(j->body, j->n_given), &j->piece);
    if (j->n_given == j->body.n && !j->converter_ended)
        j->converter_ended = downgrade_end(j->converter, &j->piece);
    return true;
}

/* How long the message will be: SIZE must not be told too small. */
static bool measure(struct job *j, uint64_t *out_size)
{
    bool ok = true;
    *out_size = 0;
    j->n_given = 0;
    j->converter_ended = false;
    while (ok && !j->converter_ended) {
        ok = relay_convert_next(j);
        *out_size += j->piece.n;
    }
    buf_reset(&j->piece);
    downgrade_rewind(j->converter);
    j->n_given = 0;
    j->converter_ended = false;
    return ok;
}

static void convert(struct link *k, unsigned need)
{
    struct job *j = k->job;
    uint64_t size;
    j->converter = downgrade_new(need);
    if (j->converter == NULL) {
        refuse(k, ESC(4, 3, 0), STR("no memory to convert the message"));
        return;
    }
    downgrade_scan(j->converter, j->body);
    switch (downgrade_scan_end(j->converter)) {
    case DOWNGRADE_NOT_NEEDED:
        downgrade_del(&j->converter);
        accept_size(k, j->body.n);
        break;
    case DOWNGRADE_OK:
        if (!measure(j, &size)) {
            refuse(k, ESC(4, 3, 0), STR("no memory to convert the message"));
            break;
        }
        tell(k);
        accept_size(k, size);
        break;
    case DOWNGRADE_FORBIDDEN:
    case DOWNGRADE_IMPOSSIBLE:
        refuse(k, ESC(5, 6, 3), downgrade_why(j->converter));
        break;
    }
}

/* The whole message is in j->body. */
static void decide(struct link *k)
{
    unsigned need = smtp_client_need(k->client);
    unsigned convert_need = ((need & SMTP_NEED_7BIT) != 0 ? DOWNGRADE_8BIT : 0u) |
                            ((need & SMTP_NEED_LINES) != 0 ? DOWNGRADE_BINARY : 0u);
    if ((need & SMTP_NEED_HEADER) != 0 && !is_header_ascii(k->job->body))
        refuse(k, ESC(5, 6, 7),
               STR("the header fields are not ASCII and the server does not offer SMTPUTF8"));
    else if (convert_need == 0)
        accept_size(k, k->job->body.n);
    else
        convert(k, convert_need);
}

void relay_convert_begin(struct link *k)
{
    struct job *j = k->job;
    struct relay *r = k->relay;
    j->is_converting = true;
    if (j->pipe == NULL) {
        decide(k);
    } else if (j->size > RELAY_CONVERT_MAX) {
        refuse(k, ESC(5, 6, 3), STR("the server needs the message converted, and it is too big for that"));
    } else if (j->size > RELAY_CONVERT_MAX - r->convert_octets) {
        refuse(k, ESC(4, 3, 1), STR("too many messages are being converted at this time"));
    } else {
        buf_init(&j->whole, (size_t)j->size);
        if (!buf_reserve(&j->whole, (size_t)j->size)) {
            refuse(k, ESC(4, 3, 0), STR("no memory to convert the message"));
            return;
        }
        j->n_reserved = j->size;
        r->convert_octets += j->size;
        relay_convert_read(k);
    }
}

void relay_convert_read(struct link *k)
{
    struct job *j = k->job;
    size_t n;
    if (j == NULL || !j->is_converting || j->pipe == NULL)
        return;
    while (j->whole.n < j->size) {
        enum err e = conn_read(j->pipe, j->whole.p + j->whole.n, (size_t)j->size - j->whole.n, &n);
        if (e == ERR_AGAIN) {
            relay_want_pipe(j);
            return;
        }
        if (e != ERR_OK) {
            refuse(k, ESC(4, 3, 0), STR("the message could not be read to its end here"));
            return;
        }
        j->whole.n += n;
        j->n_read += n; /* without them no other server can have it, until all are there */
    }
    conn_close(j->pipe);
    j->pipe = NULL;
    j->n_read = 0;
    j->body = buf_str(&j->whole);
    decide(k);
}

void relay_convert_drop(struct job *j)
{
    downgrade_del(&j->converter);
    j->is_converting = j->converter_ended = false;
}
