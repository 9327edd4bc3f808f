#include "wire/dotstuff.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The decoder's states. A CR or LF that may yet be an error of the message is given out at once: it belongs
 * to the message either way. Only the dot of a line start, and a CR behind it, are kept back.
 *
 *   LINE_START --"."--> DOT_DOT --CR--> DOT_DOT_CR --LF--> done
 *   any of LINE_START, TEXT, CR --CR--> CR --LF--> LINE_START, --other--> TEXT
 *   DOT_DOT, DOT_DOT_CR --other--> TEXT
 */
static const uint8_t transitions[] = {
    /* the states reachable from each, as bits; a run goes over many at once */
    [DOT_LINE_START] = 1 << DOT_TEXT | 1 << DOT_CR | 1 << DOT_DOT,
    [DOT_TEXT] = 1 << DOT_LINE_START | 1 << DOT_CR,
    [DOT_CR] = 1 << DOT_LINE_START | 1 << DOT_TEXT,
    [DOT_DOT] = 1 << DOT_TEXT | 1 << DOT_DOT_CR,
    [DOT_DOT_CR] = 1 << DOT_LINE_START | 1 << DOT_TEXT | 1 << DOT_CR,
};

static void set_state(struct dot_decoder *d, enum dot_state to)
{
    must(to == d->state || (transitions[d->state] >> to & 1) != 0);
    d->state = to;
}

void dot_decoder_init(struct dot_decoder *d)
{
    *d = (struct dot_decoder){.state = DOT_LINE_START};
}

enum { BLOCK = 64 };

/* Where CR, LF and "." stand in a block, the first octet in the lowest bit. */
struct marks {
    uint64_t cr, lf, dot;
};

#ifdef __SSE2__
static uint64_t marks_of(const __m128i *v, char c)
{
    uint64_t m = 0;
    for (int i = 0; i < 4; i++)
        m |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], _mm_set1_epi8(c))) << (16 * i);
    return m;
}

static struct marks mark_block(const char *p)
{
    __m128i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
    return (struct marks){marks_of(v, '\r'), marks_of(v, '\n'), marks_of(v, '.')};
}
#endif

/* The same for n <= BLOCK octets. */
static struct marks mark_octets(const char *p, size_t n)
{
    struct marks m = {0, 0, 0};
    for (size_t i = 0; i < n; i++) {
        m.cr |= (uint64_t)(p[i] == '\r') << i;
        m.lf |= (uint64_t)(p[i] == '\n') << i;
        m.dot |= (uint64_t)(p[i] == '.') << i;
    }
    return m;
}

static struct marks mark(const char *p, size_t n)
{
#ifdef __SSE2__
    if (n == BLOCK)
        return mark_block(p);
#endif
    return mark_octets(p, n);
}

/* What the octet before a block was: in bit 0. */
struct carry {
    uint64_t after_cr, after_line;
};

/* Counts the lines that end in the block (ends has a bit at each CRLF's LF) and the rest of n octets. */
static void count_lines(struct dot_decoder *d, uint64_t ends, size_t n)
{
    size_t from = 0;
    while (ends != 0) {
        size_t to = (size_t)__builtin_ctzll(ends) + 1;
        d->n_line += to - from;
        if (d->n_line > d->n_line_max)
            d->n_line_max = d->n_line;
        d->n_line = 0;
        from = to;
        ends &= ends - 1;
    }
    d->n_line += n - from;
}

/* Takes a block of n octets up to its first dot at a line start; returns how many that are. */
static size_t take_block(struct dot_decoder *d, const char *p, size_t n, struct carry *c)
{
    struct marks m = mark(p, n);
    uint64_t after_cr = m.cr << 1 | c->after_cr;
    uint64_t ends = m.lf & after_cr;
    uint64_t stops = m.dot & (ends << 1 | c->after_line);
    if (stops != 0)
        n = (size_t)__builtin_ctzll(stops);
    if (n == 0)
        return 0;
    uint64_t taken = n == BLOCK ? UINT64_MAX : (UINT64_C(1) << n) - 1;
    ends &= taken;
    d->saw_bare_lf |= (m.lf & ~after_cr & taken) != 0;
    d->saw_bare_cr |= (after_cr & ~m.lf & taken) != 0;
    count_lines(d, ends, n);
    c->after_cr = m.cr >> (n - 1) & 1;
    c->after_line = ends >> (n - 1) & 1;
    return n;
}

/* The longest run at the start of in without a dot at a line start; states LINE_START, TEXT and CR. */
static size_t take_run(struct dot_decoder *d, struct str in)
{
    struct carry c = {d->state == DOT_CR, d->state == DOT_LINE_START};
    size_t i = 0;
    while (i < in.n) {
        size_t n = in.n - i < BLOCK ? in.n - i : BLOCK;
        size_t k = take_block(d, in.p + i, n, &c);
        i += k;
        if (k < n)
            break;
    }
    if (i > 0)
        set_state(d, c.after_cr ? DOT_CR : c.after_line ? DOT_LINE_START : DOT_TEXT);
    return i;
}

/* The octet that follows dot and CR. False: it did not end the data, *i is where the message goes on. */
static bool after_dot_cr(struct dot_decoder *d, struct str in, size_t *i, struct str *out_piece)
{
    char c = in.p[*i];
    if (c == '\n') {
        ++*i;
        set_state(d, DOT_LINE_START);
        d->done = true;
        return true;
    }
    d->saw_bare_cr = true;
    if (*i > 0) { /* the CR still stands in the input: the run begins with it */
        --*i;
        set_state(d, DOT_TEXT);
        return false;
    }
    d->held[0] = '\r';
    d->held[1] = c;
    d->n_line += sizeof d->held;
    *out_piece = str_of(d->held, sizeof d->held);
    set_state(d, c == '\r' ? DOT_CR : DOT_TEXT);
    *i = 1;
    return true;
}

size_t dot_decode(struct dot_decoder *d, struct str in, struct str *out_piece)
{
    *out_piece = STR_NIL;
    size_t i = 0;
    if (d->done || in.n == 0)
        return 0;
    if (d->state == DOT_LINE_START && in.p[0] == '.') {
        set_state(d, DOT_DOT);
        i++;
    }
    if (d->state == DOT_DOT && i < in.n) {
        bool is_cr = in.p[i] == '\r';
        set_state(d, is_cr ? DOT_DOT_CR : DOT_TEXT);
        i += is_cr;
    }
    if (d->state == DOT_DOT_CR && i < in.n && after_dot_cr(d, in, &i, out_piece))
        return i;
    if (d->state == DOT_DOT || d->state == DOT_DOT_CR || i == in.n)
        return i;
    size_t n = take_run(d, str_skip(in, i));
    *out_piece = str_slice(in, i, i + n);
    i += n;
    if (i < in.n) { /* the run ended before a dot */
        set_state(d, DOT_DOT);
        i++;
    }
    return i;
}

void dot_encoder_init(struct dot_encoder *e)
{
    *e = (struct dot_encoder){.at_line_start = true, .is_complete = true};
}

/* Octets before the first "." that follows an LF. */
static size_t before_dot(struct str in, bool at_line_start)
{
    uint64_t carry = at_line_start;
    for (size_t i = 0; i < in.n;) {
        size_t n = in.n - i < BLOCK ? in.n - i : BLOCK;
        struct marks m = mark(in.p + i, n);
        uint64_t stops = m.dot & (m.lf << 1 | carry);
        if (stops != 0)
            return i + (size_t)__builtin_ctzll(stops);
        carry = m.lf >> (n - 1) & 1;
        i += n;
    }
    return in.n;
}

static void encoder_saw(struct dot_encoder *e, struct str piece)
{
    if (piece.n == 0)
        return;
    char last = piece.p[piece.n - 1];
    bool before_was_cr = piece.n > 1 ? piece.p[piece.n - 2] == '\r' : e->last_was_cr;
    e->at_line_start = last == '\n';
    e->is_complete = last == '\n' && before_was_cr;
    e->last_was_cr = last == '\r';
}

size_t dot_encode(struct dot_encoder *e, struct str in, struct buf *out)
{
    size_t i = 0;
    while (i < in.n && !out->failed) {
        size_t room = out->max - out->n;
        struct str rest = str_skip(in, i);
        if (e->at_line_start && rest.p[0] == '.') { /* both dots or none: no third state to remember */
            if (room < 2 || !buf_put(out, STR("..")))
                break;
            encoder_saw(e, STR("."));
            i++;
            continue;
        }
        struct str run = str_slice(rest, 0, before_dot(str_slice(rest, 0, room), e->at_line_start));
        if (run.n == 0 || !buf_put(out, run))
            break;
        encoder_saw(e, run);
        i += run.n;
    }
    return i;
}

void dot_encode_end(struct dot_encoder *e, struct buf *out)
{
    if (!e->is_complete)
        buf_put(out, STR("\r\n"));
    buf_put(out, STR(".\r\n"));
    dot_encoder_init(e);
}
