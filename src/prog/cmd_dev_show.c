/* prog/cmd_dev_show.c: `waxwing dev show`: a message as people read it, or as a part of it is. */
#include "base/mem.h"
#include "prog/cmd_dev.h"
#include "prog/control.h"
#include "prog/prog.h"
#include "wire/encoded_word.h"
#include "wire/encoding.h"
#include "wire/header.h"
#include "wire/mime.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGE_MAX = 256 * 1024 * 1024, VALUE_MAX = 400 * 1024 };

struct part {
    char name[MIME_NAME_MAX + 1];             /* "1.2"; of a message without parts "1" */
    bool is_leaf, is_attachment, is_enclosed; /* of a message within */
    enum mime_encoding encoding;
    size_t from, n; /* octets in show.bodies */
    json_t *row;    /* part, type, charset, name, disposition, size */
};
struct show {
    struct dev_place place;
    struct box box;
    size_t index;
    struct buf file;
    struct box_head head;
    struct buf bodies; /* of all parts, one behind the other */
    struct part *parts;
    size_t n_parts;
    json_t *row;
};

/* ---- parts ---------------- */

static bool field_of(struct str section, struct str name, struct str *out)
{
    struct header_walk w;
    struct header_field f;
    header_walk_init(&w, section);
    while (header_walk_next(&w, &f)) {
        if (str_ieq(f.name, name)) {
            *out = f.body;
            return true;
        }
    }
    return false;
}

static void set_param(json_t *row, const char *key, struct str params, struct str name)
{
    struct buf b;
    buf_init(&b, VALUE_MAX);
    if (json_object_get(row, key) == NULL && param_text(params, name, &dev_charsets, &b) && b.n > 0)
        (void)json_object_set_new(row, key, dev_json_text(buf_str(&b)));
    buf_fini(&b);
}

static void put_lower(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_putc(out, (unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f ? '?' : ascii_lower(s.p[i]));
}

/* "text/plain", "attachment"; of a longer one its beginning. */
static void set_lower(json_t *row, const char *key, struct str a, struct str b)
{
    char mem[512];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    put_lower(&text, str_slice(a, 0, 200));
    buf_puts(&text, b.n > 0 ? "/" : "");
    put_lower(&text, str_slice(b, 0, 200));
    (void)json_object_set_new(row, key, dev_json_text(buf_str(&text)));
}

static void begin_part(struct show *s, const struct mime *m, struct str section)
{
    const struct mime_part *p = mime_part(m);
    struct part *part = &s->parts[s->n_parts++];
    struct buf name;
    struct str body;
    *part =
        (struct part){.is_leaf = p->kind == MIME_LEAF || p->kind == MIME_BROKEN, .is_enclosed = p->root != 0};
    part->encoding = p->encoding;
    part->from = s->bodies.n;
    part->row = json_object();
    buf_init_fixed(&name, part->name, sizeof part->name);
    mime_part_name(m, &name);
    buf_puts(&name, name.n == 0 ? "1" : "");
    buf_putc(&name, '\0');
    (void)json_object_set_new(part->row, "part", json_string(part->name));
    bool has_type = p->has_type && p->type.type.n > 0;
    set_lower(part->row, "type", has_type ? p->type.type : STR("text"),
              has_type ? p->type.subtype : STR("plain"));
    if (has_type)
        set_param(part->row, "charset", p->type.params, STR("charset"));
    if (field_of(section, STR("Content-Disposition"), &body)) {
        struct str rest = body;
        struct str kind = str_trim(str_cut(&rest, ';'));
        set_lower(part->row, "disposition", kind, STR_NIL);
        part->is_attachment = str_ieq(kind, STR("attachment"));
        set_param(part->row, "name", rest, STR("filename"));
    }
    if (has_type)
        set_param(part->row, "name", p->type.params, STR("name"));
}

static bool take_event(struct show *s, const struct mime *m, const struct mime_event *e)
{
    if (e->kind == MIME_HEADER) {
        if (s->n_parts == MIME_PARTS_MAX + 1)
            return false;
        begin_part(s, m, e->text);
    } else if (e->kind == MIME_BODY && s->n_parts > 0) {
        struct part *p = &s->parts[s->n_parts - 1];
        buf_put(&s->bodies, e->text);
        p->n = s->bodies.n - p->from;
    }
    return !s->bodies.failed;
}

static bool walk(struct show *s)
{
    struct mime *m = mime_new();
    struct mime_event e;
    struct str rest = s->head.message;
    bool ok = m != NULL && (s->parts = mem_alloc_array(MIME_PARTS_MAX + 1, sizeof *s->parts)) != NULL;
    while (ok && rest.n > 0) {
        size_t n = mime_step(m, rest, &e);
        ok = take_event(s, m, &e);
        rest = str_skip(rest, n);
    }
    while (ok && mime_finish(m, &e))
        ok = take_event(s, m, &e);
    mime_del(&m);
    return ok;
}

/* The part's octets, transfer encoding taken off. */
static void decode_part(const struct show *s, const struct part *p, struct buf *out)
{
    struct str body = str_of(s->bodies.p + p->from, p->n);
    if (p->encoding == MIME_ENC_QP)
        qp_decode(body, out);
    else if (p->encoding == MIME_ENC_BASE64)
        base64_decode(body, out);
    else
        buf_put(out, body);
}

static void part_text(const struct show *s, const struct part *p, struct buf *out)
{
    const char *charset = json_string_value(json_object_get(p->row, "charset"));
    struct buf octets;
    buf_init(&octets, p->n + 1);
    decode_part(s, p, &octets);
    if (charset != NULL)
        (void)charset_convert(&dev_charsets, str_from_c(charset), buf_str(&octets), out);
    else
        charset_guess(buf_str(&octets), out);
    buf_fini(&octets);
}

static const struct part *find_text(const struct show *s, const char *type)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct part *p = &s->parts[i];
        if (p->is_leaf && !p->is_attachment && !p->is_enclosed &&
            str_eq(str_from_c(row_text(p->row, "type")), str_from_c(type)))
            return p;
    }
    return NULL;
}

static void size_parts(struct show *s)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        struct buf b;
        if (!s->parts[i].is_leaf)
            continue;
        buf_init(&b, s->parts[i].n + 1);
        decode_part(s, &s->parts[i], &b);
        (void)json_object_set_new(s->parts[i].row, "size", json_integer((json_int_t)b.n));
        buf_fini(&b);
    }
}

/* ---- for terminals and pipes ---------------- */

/* Lines and tabs stay, what else a terminal obeys does not. */
static void print_lines(struct str text)
{
    while (text.n > 0) {
        bool has_end = str_chr(text, '\n') != STR_NPOS;
        struct str line = str_cut(&text, '\n');
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        for (bool is_first = true; is_first || line.n > 0; is_first = false) {
            bool has_tab = str_chr(line, '\t') != STR_NPOS;
            put_clean(stdout, str_cut(&line, '\t'));
            if (has_tab)
                (void)putchar('\t');
        }
        if (has_end || text.n == 0)
            (void)putchar('\n');
    }
}

/* Octets for a pipe or a file; a terminal gets them made harmless. */
static void print_octets(struct str octets)
{
    if (isatty(STDOUT_FILENO))
        print_lines(octets);
    else if (octets.n > 0)
        (void)fwrite(octets.p, 1, octets.n, stdout);
}

/* The Maildir has LF where the client sent CRLF, and only there: the server takes no bare LF. */
static void print_raw(struct str message)
{
    struct buf b;
    buf_init(&b, message.n * 2 + 1);
    while (message.n > 0) {
        bool has_end = str_chr(message, '\n') != STR_NPOS;
        buf_put(&b, str_cut(&message, '\n'));
        if (has_end)
            buf_puts(&b, "\r\n");
    }
    print_octets(buf_str(&b));
    buf_fini(&b);
}

static void print_field(struct str name, struct str body)
{
    struct buf b;
    buf_init(&b, VALUE_MAX);
    encoded_words_decode(body, &dev_charsets, &b);
    put_clean(stdout, name);
    (void)fputs(": ", stdout);
    put_clean(stdout, buf_str(&b));
    (void)putchar('\n');
    buf_fini(&b);
}

static void print_headers(struct str message, const char *const *wanted)
{
    struct header_walk w;
    struct header_field f;
    header_walk_init(&w, message);
    while (header_walk_next(&w, &f)) {
        bool is_wanted = wanted == NULL;
        for (size_t i = 0; !is_wanted && wanted[i] != NULL; i++)
            is_wanted = str_ieq(f.name, str_from_c(wanted[i]));
        if (is_wanted)
            print_field(f.name, f.body);
    }
}

static void print_part_text(const struct show *s, const struct part *p)
{
    struct buf b;
    buf_init(&b, p->n * 4 + 16);
    part_text(s, p, &b);
    print_lines(buf_str(&b));
    buf_fini(&b);
}

/* ---- views ---------------- */

static void print_parts(const struct show *s)
{
    (void)puts("\nParts:");
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct part *p = &s->parts[i];
        if (!p->is_leaf)
            continue;
        (void)printf("  %-6s ", p->name);
        print_clean(row_text(p->row, "type"));
        if (json_object_get(p->row, "charset") != NULL) {
            (void)fputs(", ", stdout);
            print_clean(row_text(p->row, "charset"));
        }
        if (json_object_get(p->row, "name") != NULL) {
            (void)fputs(", \"", stdout);
            print_clean(row_text(p->row, "name"));
            (void)putchar('"');
        }
        (void)printf(", %lld octets\n", (long long)json_integer_value(json_object_get(p->row, "size")));
    }
}

static void show_whole(const struct show *s)
{
    static const char *const wanted[] = {"From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", NULL};
    const struct part *text = find_text(s, "text/plain"), *html = find_text(s, "text/html");
    size_t n_leaves = 0, i;
    json_t *v;
    (void)printf("Message %zu, id %s, sent from <", s->index + 1, row_text(s->row, "id"));
    print_clean(row_text(s->row, "from"));
    (void)fputs("> to", stdout);
    json_array_foreach (json_object_get(s->row, "to"), i, v) {
        (void)fputs(i == 0 ? " <" : ", <", stdout);
        print_clean(json_string_value(v));
        (void)putchar('>');
    }
    (void)putchar('\n');
    print_headers(s->head.message, wanted);
    (void)putchar('\n');
    if (text != NULL)
        print_part_text(s, text);
    else if (html != NULL)
        (void)puts("(there is no plain text; --html prints the HTML)");
    else
        (void)puts("(there is no text)");
    for (i = 0; i < s->n_parts; i++)
        n_leaves += s->parts[i].is_leaf;
    if (n_leaves > 1 || text == NULL)
        print_parts(s);
}

static json_t *headers_json(struct str message)
{
    struct header_walk w;
    struct header_field f;
    json_t *list = json_array();
    header_walk_init(&w, message);
    while (header_walk_next(&w, &f)) {
        struct buf b;
        buf_init(&b, VALUE_MAX);
        encoded_words_decode(f.body, &dev_charsets, &b);
        json_t *o = json_object();
        (void)json_object_set_new(o, "name", dev_json_text(f.name));
        (void)json_object_set_new(o, "value", dev_json_text(buf_str(&b)));
        (void)json_array_append_new(list, o);
        buf_fini(&b);
    }
    return list;
}

static void set_text(struct show *s, const char *key, const struct part *p)
{
    if (p == NULL)
        return;
    struct buf b;
    buf_init(&b, p->n * 4 + 16);
    part_text(s, p, &b);
    (void)json_object_set_new(s->row, key, dev_json_text(buf_str(&b)));
    buf_fini(&b);
}

static void show_json(struct show *s)
{
    json_t *parts = json_array();
    (void)json_object_set_new(s->row, "headers", headers_json(s->head.message));
    set_text(s, "text", find_text(s, "text/plain"));
    set_text(s, "html", find_text(s, "text/html"));
    for (size_t i = 0; i < s->n_parts; i++) {
        if (s->parts[i].is_leaf)
            (void)json_array_append(parts, s->parts[i].row);
    }
    (void)json_object_set_new(s->row, "parts", parts);
    dev_print_row(s->row, true);
}

static int show_text(const struct show *s, const char *type)
{
    const struct part *p = find_text(s, type);
    if (p == NULL) {
        (void)fprintf(stderr, "waxwing: the message has no part of %s\n", type);
        return EXIT_NOINPUT;
    }
    print_part_text(s, p);
    return EXIT_OK;
}

static int show_part(const struct show *s, const char *name)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct part *p = &s->parts[i];
        if (!p->is_leaf || !str_eq(str_from_c(p->name), str_from_c(name)))
            continue;
        struct buf b;
        buf_init(&b, p->n + 1);
        decode_part(s, p, &b);
        print_octets(buf_str(&b));
        buf_fini(&b);
        return EXIT_OK;
    }
    (void)fprintf(stderr, "waxwing: the message has no part %s; without --part, `show` lists them\n", name);
    return EXIT_NOINPUT;
}

static int show_view(struct show *s, const struct dev_args *a)
{
    switch (a->view) {
    case VIEW_RAW:
        print_raw(s->head.message);
        return EXIT_OK;
    case VIEW_HEADERS:
        print_headers(s->head.message, NULL);
        return EXIT_OK;
    case VIEW_TEXT:
        return show_text(s, "text/plain");
    case VIEW_HTML:
        return show_text(s, "text/html");
    case VIEW_PART:
        return show_part(s, a->part);
    case VIEW_WHOLE:
        break;
    }
    size_parts(s);
    if (a->json)
        show_json(s);
    else
        show_whole(s);
    return EXIT_OK;
}

/* ---- which ---------------- */

static int load(struct show *s, const char *which)
{
    if (!dev_scan(&s->place, &s->box))
        return EXIT_OS;
    s->index = box_find(&s->box, str_from_c(which));
    if (s->index == STR_NPOS) {
        (void)fputs("waxwing: there is no message ", stderr);
        put_clean(stderr, str_from_c(which));
        (void)fprintf(stderr, " in %s; `waxwing dev list` lists %zu\n", s->place.dir, s->box.n_messages);
        return EXIT_NOINPUT;
    }
    s->row = dev_row(&s->place, &s->box, s->index);
    enum err e = dev_read(&s->place, s->box.messages[s->index].copies, MESSAGE_MAX, false, &s->file);
    if (s->row != NULL && e == ERR_OK && box_head(buf_str(&s->file), &s->head))
        return EXIT_OK;
    (void)fprintf(stderr, "waxwing: can't read the message: %s\n", err_str(e != ERR_OK ? e : ERR_CORRUPT));
    return EXIT_OS;
}

int dev_show(const struct dev_args *a)
{
    struct show s = {0};
    int status = dev_place_open(a->dir, &s.place);
    if (status != EXIT_OK)
        return status;
    buf_init(&s.file, (size_t)MESSAGE_MAX + 2 * 65536);
    buf_init(&s.bodies, (size_t)MESSAGE_MAX + 2 * 65536);
    status = load(&s, a->which);
    if (status == EXIT_OK && !walk(&s)) {
        (void)fputs("waxwing: no memory to take the message apart\n", stderr);
        status = EXIT_OS;
    }
    if (status == EXIT_OK)
        status = show_view(&s, a);
    for (size_t i = 0; i < s.n_parts; i++)
        json_decref(s.parts[i].row);
    mem_free(s.parts);
    json_decref(s.row);
    buf_fini(&s.bodies);
    buf_fini(&s.file);
    box_fini(&s.box);
    return status;
}
