#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/mime.h"

#include <string.h>

enum { OUT_MAX = 4096 };

/* Events as text: "H<..>" a header section, "B<..>" a body, "-<..>" between, "D<..>" a delimiter. */
static void put_event(const struct mime *m, const struct mime_event *e, enum mime_event_kind *last,
                      struct buf *out)
{
    static const char letters[] = ".HB-D";
    if (e->kind == MIME_MORE)
        return;
    if (e->kind == MIME_HEADER) {
        const struct mime_part *p = mime_part(m);
        buf_puts(out, "H");
        mime_part_name(m, out);
        buf_printf(out, "%s%s", p->is_root ? "!" : "", p->is_protected ? "*" : "");
        buf_printf(out, "%.*s/%.*s", STR_FMT(p->type.type), STR_FMT(p->type.subtype));
    } else if (e->kind != *last) {
        buf_putc(out, letters[e->kind]);
    }
    if (e->kind != *last || e->kind == MIME_HEADER)
        buf_putc(out, '|');
    if (e->kind != MIME_HEADER)
        buf_put(out, e->text);
    *last = e->kind;
}

static void walk(struct mime *m, struct str in, size_t step, struct buf *events, struct buf *copy)
{
    struct mime_event e;
    enum mime_event_kind last = MIME_MORE;
    mime_reset(m);
    for (size_t i = 0; i < in.n; i += step) {
        struct str piece = str_slice(in, i, i + step);
        while (piece.n > 0) {
            size_t n = mime_step(m, piece, &e);
            put_event(m, &e, &last, events);
            buf_put(copy, e.text);
            piece = str_skip(piece, n);
        }
    }
    while (mime_finish(m, &e)) {
        put_event(m, &e, &last, events);
        buf_put(copy, e.text);
    }
}

#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\r\n\r\n"

static const struct {
    const char *name;
    struct str in, want;
} rows[] = {
    {"a plain message", STR_INIT("A: b\r\n\r\nx\r\n--y\r\n"), STR_INIT("H!text/plain|B|x\r\n--y\r\n")},
    {"no message", STR_INIT(""), STR_INIT("H!text/plain|")},
    {"a header section alone", STR_INIT("A: b\r\n c"), STR_INIT("H!text/plain|")},
    {"no header section", STR_INIT("x y\r\nz\r\n"), STR_INIT("H!text/plain|B|x y\r\nz\r\n")},
    {"two parts",
     STR_INIT(MULTI(
         "b") "pre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: A/B;x\r\n\r\ntwo\r\n\r\n--b--\r\npost\r\n"),
     STR_INIT("H!multipart/mixed|-|preD|\r\n--b\r\nH1text/plain|B|oneD|\r\n--b\r\nH2A/"
              "B|B|two\r\nD|\r\n--b--\r\n-|post\r\n")},
    {"an end without CRLF", STR_INIT(MULTI("b") "--b\r\n\r\none\r\n--b--"),
     STR_INIT("H!multipart/mixed|D|--b\r\nH1text/plain|B|oneD|\r\n--b--")},
    {"line ends LF", STR_INIT("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n"),
     STR_INIT("H!multipart/mixed|D|--b\nH1text/plain|B|oneD|\n--b--\n")},
    {"an outer delimiter ends the inner part",
     STR_INIT(MULTI("o") "--o\r\n" MULTI("i") "--i\r\n\r\nin\r\n--o\r\n\r\nout\r\n--i\r\n--o--\r\n"),
     STR_INIT("H!multipart/mixed|D|--o\r\nH1multipart/mixed|D|--i\r\nH1.1text/plain|B|inD|\r\n--o\r\n"
              "H2text/plain|B|out\r\n--iD|\r\n--o--\r\n")},
    {"a boundary that begins with the outer one",
     STR_INIT(MULTI("o") "--o\r\n" MULTI("o1") "--o1\r\n\r\nin\r\n--o1--\r\n--o--\r\n"),
     STR_INIT("H!multipart/mixed|D|--o\r\nH1multipart/mixed|D|--o1\r\nH1.1text/"
              "plain|B|inD|\r\n--o1--\r\n--o--\r\n")},
    {"an outer boundary that begins with the inner one",
     STR_INIT(MULTI("o1") "--o1\r\n" MULTI("o") "--o\r\n\r\nin\r\n--o1--\r\nx"),
     STR_INIT(
         "H!multipart/mixed|D|--o1\r\nH1multipart/mixed|D|--o\r\nH1.1text/plain|B|inD|\r\n--o1--\r\n-|x")},
    {"a delimiter with more on its line", STR_INIT(MULTI("b") "--b junk\r\n\r\none\r\n--b-- \t\r\n"),
     STR_INIT("H!multipart/mixed|D|--b junk\r\nH1text/plain|B|oneD|\r\n--b-- \t\r\n")},
    {"a part without an empty line", STR_INIT(MULTI("b") "--b\r\nA: b\r\n--b\r\nno field\r\n--b--\r\n"),
     STR_INIT("H!multipart/mixed|D|--b\r\nH1text/plain|D|--b\r\nH2text/plain|B|no fieldD|\r\n--b--\r\n")},
    {"a message within",
     STR_INIT(MULTI("b") "--b\r\nContent-Type: message/rfc822\r\n\r\nS: x\r\n" MULTI(
         "c") "--c\r\n\r\nin\r\n--b--\r\n"),
     STR_INIT("H!multipart/mixed|D|--b\r\nH1message/rfc822|H1.1!multipart/mixed|D|--c\r\n"
              "H1.1.1text/plain|B|inD|\r\n--b--\r\n")},
    {"a message within that has no header", STR_INIT("Content-Type: message/rfc822\r\n\r\n--x\r\ny"),
     STR_INIT("H!message/rfc822|H1!text/plain|B|--x\r\ny")},
    {"a base64 message is a leaf",
     STR_INIT("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nUzog\r\n"),
     STR_INIT("H!message/rfc822|B|Uzog\r\n")},
    {"a digest's parts are messages",
     STR_INIT("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nS: x\r\n\r\ny\r\n--b--\r\n"),
     STR_INIT("H!multipart/digest|D|--b\r\nH1message/rfc822|H1.1!text/plain|B|yD|\r\n--b--\r\n")},
    {"signed parts are protected",
     STR_INIT("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"),
     STR_INIT("H!multipart/signed|D|--b\r\nH1*text/plain|B|oneD|\r\n--b--\r\n")},
    {"no boundary", STR_INIT("Content-Type: multipart/mixed\r\n\r\n--b\r\n"),
     STR_INIT("H!multipart/mixed|B|--b\r\n")},
    {"CRs at the wrong place", STR_INIT(MULTI("b") "--b\r\n\r\na\r\r\n\r--b\r\n--b--\r"),
     STR_INIT("H!multipart/mixed|D|--b\r\nH1text/plain|B|a\r\r\n\r--bD|\r\n--b--\r")},
};

static void events_are_as_in_the_table(void **state)
{
    UNUSED(state);
    struct mime *m = mime_new();
    assert_non_null(m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = rows[i].in.n + 1; step > 0; step--) {
            char mem[OUT_MAX], copy_mem[OUT_MAX];
            struct buf out, copy;
            buf_init_fixed(&out, mem, sizeof mem);
            buf_init_fixed(&copy, copy_mem, sizeof copy_mem);
            walk(m, rows[i].in, step, &out, &copy);
            assert_false(out.failed);
            if (!str_eq(buf_str(&out), rows[i].want))
                print_message("# %s, step %zu: got\n%.*s\n", rows[i].name, step, STR_FMT(buf_str(&out)));
            assert_true(str_eq(buf_str(&out), rows[i].want));
            assert_true(str_eq(buf_str(&copy), rows[i].in));
            assert_int_equal(mime_trouble(m), MIME_FINE);
        }
    }
    mime_del(&m);
}

static enum mime_trouble trouble_of(struct buf *in, struct mime *m)
{
    struct buf events, copy;
    assert_false(in->failed);
    buf_init(&events, 4 * in->n + 65536);
    buf_init(&copy, in->n);
    walk(m, buf_str(in), 1000, &events, &copy);
    assert_true(str_eq(buf_str(&copy), buf_str(in)));
    buf_fini(&events);
    buf_fini(&copy);
    buf_reset(in);
    return mime_trouble(m);
}

static void put_nested(struct buf *b, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        buf_printf(b, "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", i, i);
    buf_puts(b, "\r\nx\r\n");
}

static void limits_are_kept(void **state)
{
    UNUSED(state);
    struct mime *m = mime_new();
    struct buf in;
    buf_init(&in, 1 << 20);
    put_nested(&in, MIME_DEPTH_MAX);
    assert_int_equal(trouble_of(&in, m), MIME_FINE);
    put_nested(&in, MIME_DEPTH_MAX + 1);
    assert_int_equal(trouble_of(&in, m), MIME_TOO_DEEP);
    for (int i = 0; i <= MIME_DEPTH_MAX; i++)
        buf_puts(&in, "Content-Type: message/rfc822\r\n\r\n");
    assert_int_equal(trouble_of(&in, m), MIME_TOO_DEEP);
    for (int more = 0; more < 2; more++) {
        buf_puts(&in, MULTI("b"));
        for (int i = 0; i < MIME_PARTS_MAX - 1 + more; i++)
            buf_puts(&in, "--b\r\n\r\n");
        assert_int_equal(trouble_of(&in, m), more ? MIME_TOO_MANY : MIME_FINE);
        for (int i = 0; i < MIME_HEADER_MAX - 5 + more; i++)
            buf_putc(&in, i == 1 ? ':' : 'a');
        buf_puts(&in, "\r\n\r\nx");
        assert_int_equal(trouble_of(&in, m), more ? MIME_HEADER_TOO_BIG : MIME_FINE);
    }
    buf_fini(&in);
    mime_del(&m);
}

static void fields_are_read(void **state)
{
    UNUSED(state);
    static const struct {
        struct str body;
        const char *type, *subtype, *boundary;
    } types[] = {
        {STR_INIT(" text/plain"), "text", "plain", NULL},
        {STR_INIT(" Multipart / Mixed (a (b) \\) ; boundary=no) ;\r\n\tBoundary = \"a \\\"b\""), "Multipart",
         "Mixed", "a \"b"},
        {STR_INIT(" multipart/mixed; x=\"; boundary=no\"; boundary=y(z)q; boundary=no"), "multipart", "mixed",
         "y(z)q"},
        {STR_INIT(" multipart/mixed boundary=b; charset=x"), "multipart", "mixed", NULL},
        {STR_INIT(" multipart/mixed;;; boundary"), "multipart", "mixed", NULL},
        {STR_INIT(" multipart/mixed; boundary=\"open"), "multipart", "mixed", "open"},
        {STR_INIT(" text"), "", "", NULL},
        {STR_INIT(" (never closed text/plain"), "", "", NULL},
        {STR_INIT(""), "", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct mime_type t;
        char mem[64];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        mime_type_parse(types[i].body, &t);
        assert_true(str_eq(t.type, str_from_c(types[i].type)));
        assert_true(str_eq(t.subtype, str_from_c(types[i].subtype)));
        assert_int_equal(mime_param(t.params, STR("boundary"), &b), types[i].boundary != NULL);
        assert_true(str_eq(buf_str(&b), str_from_c(types[i].boundary)));
    }
    static const struct {
        struct str body;
        enum mime_encoding want;
    } encodings[] = {
        {STR_INIT(" 7bit"), MIME_ENC_7BIT},
        {STR_INIT(" 8BIT (x)"), MIME_ENC_8BIT},
        {STR_INIT("(c) Quoted-Printable ;"), MIME_ENC_QP},
        {STR_INIT(" base64"), MIME_ENC_BASE64},
        {STR_INIT(" binary"), MIME_ENC_BINARY},
        {STR_INIT(" \r\n "), MIME_ENC_NONE},
        {STR_INIT(" 8bits"), MIME_ENC_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++)
        assert_int_equal(mime_encoding_parse(encodings[i].body), encodings[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_as_in_the_table),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(fields_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
