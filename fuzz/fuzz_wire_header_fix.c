/* The header section of a submitted message against the same made by wire/header.h of the whole of it, cut at
 * places that the input's first two octets choose. */
#include "wire/header.h"
#include "wire/header_fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each address is replaced, by itself. */
static bool readdress(void *arg, struct str address, struct buf *out)
{
    UNUSED(arg);
    must(address.n > 0);
    return buf_put(out, address);
}

static const struct header_fix_facts facts = {.from = STR_INIT("a@b.test"),
                                              .host = STR_INIT("c.test"),
                                              .queue_id = 1,
                                              .unix_s = 0,
                                              .readdress = readdress};

static void drain(struct header_fix *f, struct str in, struct buf *out)
{
    struct str piece;
    while (header_fix_next(f, &in, &piece))
        must(piece.n > 0 && buf_put(out, piece));
    must(in.n == 0);
}

static void fix(struct str message, size_t first, size_t step, struct buf *out)
{
    struct header_fix f;
    header_fix_init(&f, &facts);
    drain(&f, str_slice(message, 0, first), out);
    for (size_t at = first; at < message.n; at += step)
        drain(&f, str_slice(message, at, at + step), out);
    header_fix_end(&f);
    drain(&f, STR_NIL, out);
    must(header_fix_is_done(&f));
}

/* Does a line of the section hold more before its colon than may be a name? Then the two differ. */
static bool has_long_name(struct str message)
{
    struct header_walk w;
    struct header_field f = {0};
    header_walk_init(&w, message);
    while (header_walk_next(&w, &f)) {
        if ((size_t)(f.body.p - f.raw.p) > HEADER_FIX_NAME_MAX)
            return true;
    }
    return false;
}

static bool is_dropped(struct str name)
{
    return str_ieq(name, STR("Bcc")) || str_ieq(name, STR("Resent-Bcc")) || str_ieq(name, STR("Return-Path"));
}

static void add(bool wanted, const char *field, struct buf *out)
{
    if (wanted)
        buf_puts(out, field);
}

static void expect(struct str in, struct buf *out)
{
    struct header_walk w;
    struct header_field f = {0};
    bool is_open = false, is_resent = false;
    size_t n = 0;
    header_walk_init(&w, in);
    while (header_walk_next(&w, &f)) {
        is_resent = is_resent || str_istarts(f.name, STR("Resent-"));
        is_open = !is_dropped(f.name) && !str_ends(f.raw, STR("\n"));
        n += f.raw.n;
        if (!is_dropped(f.name))
            buf_put(out, f.raw);
    }
    bool no_from = header_count(in, STR("From")) == 0, no_date = header_count(in, STR("Date")) == 0;
    bool no_id = header_count(in, STR("Message-ID")) == 0;
    if (!is_resent && (no_from || no_date || no_id)) {
        add(is_open, "\r\n", out);
        add(no_from, "From: a@b.test\r\n", out);
        add(no_date, "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n", out);
        add(no_id, "Message-ID: <0.0000000000001@c.test>\r\n", out);
    }
    add(w.rest.n > 0 && w.rest.n == in.n - n, "\r\n", out); /* it has no empty line */
    buf_put(out, str_skip(in, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str in = str_of(data + 2, size - 2);
    if (has_long_name(in))
        return 0;
    struct buf got, want;
    buf_init(&got, size + 4096);
    buf_init(&want, size + 4096);
    fix(in, data[0], (size_t)data[1] + 1, &got);
    expect(in, &want);
    must(!got.failed && !want.failed && str_eq(buf_str(&got), buf_str(&want)));
    /* it lacks nothing now: a second time changes nothing, unless all that told of a resending was taken off
     */
    buf_reset(&want);
    fix(buf_str(&got), SIZE_MAX, 1, &want);
    must(str_eq(buf_str(&got), buf_str(&want)) || header_count(in, STR("Resent-Bcc")) > 0);
    buf_fini(&got);
    buf_fini(&want);
    return 0;
}
