/* service/relay/relay_convert.c: a message made fit for a server that takes less than it has
 * (wire/downgrade.h).
 *
 * The converter sees the message twice, so a body that comes by pipe is read into memory first, all of them
 * together within RELAY_CONVERT_MAX. From then on the job has it as if it had come inline: another server may
 * get it as it is. Reading, scanning and measuring are done a piece a turn: other connections go on beside a
 * big message.
 */
#include "base/mem.h"
#include "service/relay/relay.h"

static void refuse(struct link *k, struct esc esc, struct str why)
{
    k->job->converting = CONVERT_NOT;
    smtp_client_no_convert(k->client, esc, why, world_now_ms(k->relay->world));
}

static void accept_size(struct link *k, uint64_t size)
{
    k->job->converting = CONVERT_NOT;
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
    struct str in = str_slice(j->body, j->n_converted, j->n_converted + RELAY_PIECE / 2);
    j->n_converted += downgrade_put(j->converter, in, &j->piece);
    if (j->n_converted == j->body.n && !j->converter_ended)
        j->converter_ended = downgrade_end(j->converter, &j->piece);
    return true;
}

/* ---- a piece of the work ---------------- */

static void begin_scan(struct link *k, unsigned need)
{
    struct job *j = k->job;
    j->converter = downgrade_new(need);
    if (j->converter == NULL) {
        refuse(k, ESC(4, 3, 0), STR("no memory to convert the message"));
        return;
    }
    j->converting = CONVERT_SCAN;
    j->n_converted = 0;
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
        begin_scan(k, convert_need);
}

/* Returns the octets read. */
static size_t read_pipe(struct link *k, size_t max)
{
    struct job *j = k->job;
    size_t n = 0, rest = (size_t)j->size - j->whole.n;
    enum err e =
        rest == 0 ? ERR_OK : conn_read(j->pipe, j->whole.p + j->whole.n, rest < max ? rest : max, &n);
    if (e == ERR_AGAIN) {
        relay_want_pipe(j);
        return 0;
    }
    if (e != ERR_OK) {
        refuse(k, ESC(4, 3, 0), STR("the message could not be read to its end here"));
        return 0;
    }
    j->whole.n += n;
    j->n_read += n; /* without them no other server can have it, until all are there */
    if (n < rest) {
        relay_want_pipe(j); /* it may be this turn's last piece */
        return n;
    }
    conn_close(j->pipe);
    j->pipe = NULL;
    j->n_read = 0;
    j->body = buf_str(&j->whole);
    decide(k);
    return n;
}

static size_t scan(struct link *k, size_t max)
{
    struct job *j = k->job;
    struct str piece = str_slice(j->body, j->n_converted, j->n_converted + max);
    downgrade_scan(j->converter, piece);
    j->n_converted += piece.n;
    if (j->n_converted < j->body.n)
        return piece.n;
    switch (downgrade_scan_end(j->converter)) {
    case DOWNGRADE_NOT_NEEDED:
        downgrade_del(&j->converter);
        accept_size(k, j->body.n);
        break;
    case DOWNGRADE_OK:
        j->converting = CONVERT_MEASURE;
        j->n_converted = j->n_measured = 0;
        j->converter_ended = false;
        break;
    case DOWNGRADE_FORBIDDEN:
    case DOWNGRADE_IMPOSSIBLE:
        refuse(k, ESC(5, 6, 3), downgrade_why(j->converter));
        break;
    }
    return piece.n;
}

/* How long the message will be: SIZE must not be told too small. */
static size_t measure(struct link *k)
{
    struct job *j = k->job;
    if (!relay_convert_next(j)) {
        refuse(k, ESC(4, 3, 0), STR("no memory to convert the message"));
        return 0;
    }
    size_t n = j->piece.n;
    j->n_measured += n;
    buf_reset(&j->piece);
    if (!j->converter_ended)
        return n < RELAY_PIECE / 2 ? RELAY_PIECE / 2 : n; /* what vanishes has been work too */
    downgrade_rewind(j->converter);
    j->n_converted = 0;
    j->converter_ended = false;
    tell(k);
    accept_size(k, j->n_measured);
    return n;
}

void relay_convert_step(struct link *k)
{
    struct job *j = k->job;
    size_t left = RELAY_TURN_OCTETS;
    while (j != NULL && left > 0 && j->converting != CONVERT_NOT) {
        enum convert_stage before = j->converting;
        size_t n = before == CONVERT_READ   ? read_pipe(k, left)
                   : before == CONVERT_SCAN ? scan(k, left)
                                            : measure(k);
        if (n == 0 && j->converting == before)
            return;
        left -= n < left ? n : left;
    }
}

bool relay_convert_is_busy(const struct job *j)
{
    bool waits_for_turn = j->body_begun && j->converter != NULL && j->piece.n == 0 && !j->converter_ended;
    return j->converting == CONVERT_SCAN || j->converting == CONVERT_MEASURE || waits_for_turn;
}

void relay_convert_begin(struct link *k)
{
    struct job *j = k->job;
    struct relay *r = k->relay;
    if (j->pipe == NULL) {
        decide(k);
    } else if (j->size > RELAY_CONVERT_MAX) {
        refuse(k, ESC(5, 6, 3), STR("the server needs the message converted, and it is too big for that"));
        return;
    } else if (j->size > RELAY_CONVERT_MAX - r->convert_octets) {
        refuse(k, ESC(4, 3, 1), STR("too many messages are being converted at this time"));
        return;
    } else {
        must(j->n_reserved == 0 && j->n_read == 0);
        buf_init(&j->whole, (size_t)j->size);
        if (!buf_reserve(&j->whole, (size_t)j->size)) {
            refuse(k, ESC(4, 3, 0), STR("no memory to convert the message"));
            return;
        }
        j->n_reserved = j->size;
        r->convert_octets += j->size;
        j->converting = CONVERT_READ;
    }
    relay_convert_step(k);
}

static void give_back(struct job *j)
{
    j->relay->convert_octets -= j->n_reserved;
    j->n_reserved = 0;
    buf_fini(&j->whole);
}

void relay_convert_drop(struct job *j)
{
    downgrade_del(&j->converter);
    j->converting = CONVERT_NOT;
    j->converter_ended = false;
    if (j->pipe != NULL) /* not read to its end: the next server has it from the pipe, or nobody has it */
        give_back(j);
}
