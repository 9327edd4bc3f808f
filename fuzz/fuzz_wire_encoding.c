/* Content transfer encodings: what is encoded decodes to the same octets, in whatever pieces it came, in
 * lines that are short and no delimiters; what is mended decodes to what it did before. The first octet
 * chooses the pieces. */
#include "base/mem.h"
#include "wire/encoding.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, MENDED_LINE_MAX = 80 };

static void check_lines(struct str text, size_t longest)
{
    while (text.n > 0) {
        size_t end = str_chr(text, '\n');
        struct str line = end == STR_NPOS ? text : str_slice(text, 0, end);
        text = end == STR_NPOS ? STR_NIL : str_skip(text, end + 1);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        must(line.n <= longest && !str_starts(line, STR("--")) && str_chr(line, '\r') == STR_NPOS);
        for (size_t i = 0; i < line.n; i++)
            must((unsigned char)line.p[i] < 0x7f && ((unsigned char)line.p[i] >= 0x20 || line.p[i] == '\t'));
    }
}

static void qp(struct str in, size_t step, bool at_end, struct buf *out)
{
    struct qp_encoder e = {0};
    for (size_t i = 0; i < in.n; i += step)
        qp_encode(&e, str_slice(in, i, i + step), out);
    qp_encode_end(&e, at_end, out);
}

static void base64(struct str in, size_t step, bool at_end, struct buf *out)
{
    struct base64_encoder e = {0};
    for (size_t i = 0; i < in.n; i += step)
        base64_encode(&e, str_slice(in, i, i + step), out);
    base64_encode_end(&e, at_end, out);
}

static void check(struct str in, size_t step, bool at_end,
                  void (*encode)(struct str in, size_t step, bool at_end, struct buf *out),
                  void (*decode)(struct str in, struct buf *out))
{
    struct buf coded, whole, decoded;
    size_t max = in.n * ENCODING_GROWTH_MAX + ENCODING_END_MAX;
    buf_init(&coded, max);
    buf_init(&whole, max);
    buf_init(&decoded, max);
    encode(in, step, at_end, &coded);
    encode(in, in.n + 1, at_end, &whole);
    must(!coded.failed && str_eq(buf_str(&coded), buf_str(&whole)));
    check_lines(buf_str(&coded), ENCODING_LINE_MAX);
    decode(buf_str(&coded), &decoded);
    must(!decoded.failed && str_eq(buf_str(&decoded), in));
    buf_fini(&decoded);
    buf_fini(&whole);
    buf_fini(&coded);
}

/* The most blanks of a line: a break parts none from another. */
static size_t most_blanks(struct str in)
{
    size_t n = 0, most = 0;
    for (size_t i = 0; i < in.n; i++) {
        n = in.p[i] == '\n' ? 0 : n + (in.p[i] == ' ' || in.p[i] == '\t');
        most = n > most ? n : most;
    }
    return most;
}

/* What it says to a reader for whom a bare LF ends a line as CRLF does. */
static void decode_lines(struct str in, struct buf *out)
{
    struct buf lines;
    buf_init(&lines, in.n * 2 + 1);
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r'))
            buf_putc(&lines, '\r');
        buf_putc(&lines, in.p[i]);
    }
    qp_decode(buf_str(&lines), out);
    buf_fini(&lines);
}

/* Mended in pieces is mended at once, and says the same as before. */
static void check_mended(struct str in, size_t step)
{
    struct buf mended, whole, before, after;
    size_t max = in.n * ENCODING_GROWTH_MAX + ENCODING_END_MAX, column = 0;
    struct qp_fixer a, b;
    buf_init(&mended, max);
    buf_init(&whole, max);
    buf_init(&before, max);
    buf_init(&after, max);
    qp_fixer_init(&a);
    qp_fixer_init(&b);
    for (size_t i = 0; i < in.n; i += step)
        qp_fix(&a, str_slice(in, i, i + step), &mended);
    qp_fix_end(&a, false, &mended);
    qp_fix(&b, in, &whole);
    qp_fix_end(&b, false, &whole);
    must(!mended.failed && str_eq(buf_str(&mended), buf_str(&whole)));
    check_lines(buf_str(&mended), MENDED_LINE_MAX + most_blanks(in));
    decode_lines(in, &before);
    decode_lines(buf_str(&mended), &after);
    must(str_eq(buf_str(&before), buf_str(&after)));
    buf_reset(&before);
    buf_reset(&after);
    buf_reset(&mended);
    for (size_t i = 0; i < in.n; i += step)
        base64_fix(&column, str_slice(in, i, i + step), &mended);
    base64_fix_end(column, false, &mended);
    must(!mended.failed);
    check_lines(buf_str(&mended), MENDED_LINE_MAX);
    base64_decode(in, &before);
    base64_decode(buf_str(&mended), &after);
    must(str_eq(buf_str(&before), buf_str(&after)));
    buf_fini(&after);
    buf_fini(&before);
    buf_fini(&whole);
    buf_fini(&mended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MAX)
        return 0;
    struct str in = str_of(data + 1, size - 1);
    size_t step = (size_t)(data[0] >> 1) % 97 + 1;
    check(in, step, data[0] % 2 == 1, qp, qp_decode);
    check(in, step, data[0] % 2 == 1, base64, base64_decode);
    check_mended(in, step);
    return 0;
}
