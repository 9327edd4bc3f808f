#include "wire/mime.h"

#include "base/mem.h"
#include "wire/header.h"

#include <string.h>

/*   HEADER --a line that is no field--> LEFT (it is kept in head) --delimiter--> HEADER of the next part
 *   HEADER, LEFT --body--> LINE --"--"--> LINE (held) --delimiter--> HEADER, or LINE behind the last one
 *   LINE --other--> TEXT --line end--> LINE
 */
enum state { IN_HEADER = 0, IN_LEFT, IN_LINE, IN_TEXT, IN_DELIMITER, IN_REST };

struct level {
    char boundary[MIME_BOUNDARY_MAX];
    size_t n_boundary;
    unsigned depth, n_parts, root;
    bool is_digest;                   /* RFC 2046 5.1.5: its parts are messages by default */
    bool was_protected, is_protected; /* the multipart itself / its parts */
};
struct mime {
    enum state state;
    enum mime_trouble trouble;
    struct mime_part part;
    bool in_between;
    bool next_is_digest, next_is_root;
    bool ends_part; /* the delimiter being taken closes its multipart */
    unsigned n_parts, next_root;
    size_t n_levels;
    struct level levels[MIME_DEPTH_MAX];
    uint16_t path[MIME_DEPTH_MAX + 1];
    size_t n_head, line_at, n_drop_head; /* head: sections; line_at: start of the present line */
    size_t n_held, n_end, n_drop;        /* held: a line end (n_end octets), then what may be a delimiter */
    char held[MIME_HELD_MAX];
    char head[MIME_HEADER_MAX];
};

struct mime *mime_new(void)
{
    struct mime *m = mem_new(struct mime);
    if (m != NULL)
        mime_reset(m);
    return m;
}

void mime_del(struct mime **m)
{
    if (*m != NULL)
        mem_free(*m);
    *m = NULL;
}

void mime_reset(struct mime *m)
{
    memset(m, 0, offsetof(struct mime, held));
    m->next_is_root = true;
}

const struct mime_part *mime_part(const struct mime *m)
{
    return &m->part;
}

enum mime_trouble mime_trouble(const struct mime *m)
{
    return m->trouble;
}

void mime_part_name(const struct mime *m, struct buf *out)
{
    for (unsigned i = 0; i < m->part.depth; i++)
        buf_printf(out, "%s%u", i > 0 ? "." : "", (unsigned)m->path[i]);
}

static size_t end_size(struct str s)
{
    if (s.n == 0 || s.p[s.n - 1] != '\n')
        return 0;
    return s.n > 1 && s.p[s.n - 2] == '\r' ? 2 : 1;
}

/* Whether line (with or without its end) is a delimiter of an open multipart, and of which. */
static bool match(const struct mime *m, struct str line, size_t *out_level, bool *out_closes)
{
    line = str_slice(line, 0, line.n - end_size(line));
    while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
        line.n--;
    if (!str_starts(line, STR("--")))
        return false;
    struct str name = str_skip(line, 2);
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t i = m->n_levels; i-- > 0;) {
            struct str boundary = str_of(m->levels[i].boundary, m->levels[i].n_boundary);
            struct str rest = str_skip(name, boundary.n);
            if (!str_starts(name, boundary) || (exact && rest.n > 0 && !str_eq(rest, STR("--"))))
                continue;
            *out_level = i;
            *out_closes = str_starts(rest, STR("--"));
            return true;
        }
    }
    return false;
}

/* The delimiter of a level begins a part or ends the multipart; what lies deeper ends with it. */
static void take_delimiter(struct mime *m, size_t i, bool closes)
{
    struct level *l = &m->levels[i];
    m->ends_part = closes;
    m->in_between = true;
    m->part.is_protected = l->was_protected;
    if (closes) {
        m->n_levels = i;
        return;
    }
    m->n_levels = i + 1;
    l->n_parts++;
    m->path[l->depth] = (uint16_t)(l->n_parts <= UINT16_MAX ? l->n_parts : UINT16_MAX);
    m->part.depth = l->depth + 1;
    m->next_is_digest = l->is_digest;
    m->next_root = l->root;
    m->next_is_root = false;
}

static void after_delimiter(struct mime *m)
{
    m->state = m->ends_part ? IN_LINE : IN_HEADER;
    m->n_held = m->n_end = 0;
    m->n_head = m->line_at = m->n_drop_head = 0;
}

static enum mime_event_kind text_kind(const struct mime *m)
{
    return m->in_between ? MIME_BETWEEN : MIME_BODY;
}

static void give(struct mime_event *out, enum mime_event_kind kind, struct str text)
{
    *out = (struct mime_event){text.n > 0 ? kind : MIME_MORE, text};
}

static void no_structure(struct mime *m, enum mime_trouble why)
{
    m->trouble = why;
    m->n_levels = 0;
    m->in_between = false;
    m->state = IN_REST;
}

static void read_fields(struct mime_part *p, struct str section)
{
    struct header_walk w;
    struct header_field f;
    bool has_encoding = false;
    header_walk_init(&w, section);
    while (header_walk_next(&w, &f)) {
        if (str_ieq(f.name, STR("content-type")) && !p->has_type) {
            p->has_type = true;
            mime_type_parse(f.body, &p->type);
        } else if (str_ieq(f.name, STR("content-transfer-encoding")) && !has_encoding) {
            has_encoding = true;
            p->encoding = mime_encoding_parse(f.body);
        }
        p->has_version |= str_ieq(f.name, STR("mime-version"));
    }
}

static void open_multipart(struct mime *m)
{
    struct mime_part *p = &m->part;
    if (m->n_levels == MIME_DEPTH_MAX || p->depth == MIME_DEPTH_MAX) {
        no_structure(m, MIME_TOO_DEEP);
        return;
    }
    struct level *l = &m->levels[m->n_levels];
    struct buf b;
    buf_init_fixed(&b, l->boundary, sizeof l->boundary);
    p->kind = MIME_BROKEN;
    if (!mime_param(p->type.params, STR("boundary"), &b))
        return;
    while (b.n > 0 && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t')) /* RFC 2046 5.1.1: it ends in no space */
        b.n--;
    if (b.n == 0)
        return;
    p->kind = MIME_MULTIPART;
    l->n_boundary = b.n;
    l->depth = p->depth;
    l->n_parts = 0;
    l->root = p->is_root ? p->index : p->root;
    l->is_digest = mime_type_is(&p->type, STR("multipart"), STR("digest"));
    l->was_protected = p->is_protected;
    l->is_protected = p->is_protected || mime_type_is(&p->type, STR("multipart"), STR("signed")) ||
                      mime_type_is(&p->type, STR("multipart"), STR("encrypted"));
    m->n_levels++;
    m->in_between = true;
}

static void open_message(struct mime *m)
{
    if (m->part.depth == MIME_DEPTH_MAX) {
        no_structure(m, MIME_TOO_DEEP);
        return;
    }
    m->part.kind = MIME_MESSAGE;
    m->path[m->part.depth] = 1;
    m->next_root = m->part.is_root ? m->part.index : m->part.root;
    m->next_is_root = true;
    m->next_is_digest = false;
    m->state = IN_HEADER;
}

/* A header section is whole: head[0, n). */
static void begin_part(struct mime *m, size_t n)
{
    struct mime_part *p = &m->part;
    unsigned depth = p->depth + (p->kind == MIME_MESSAGE && m->next_is_root && m->n_parts > 0);
    bool is_protected = m->n_levels > 0 && m->levels[m->n_levels - 1].is_protected;
    *p = (struct mime_part){.index = m->n_parts, .depth = depth, .is_root = m->next_is_root};
    p->root = m->next_root;
    p->is_protected = is_protected;
    p->type.type = m->next_is_digest ? STR("message") : STR("text");
    p->type.subtype = m->next_is_digest ? STR("rfc822") : STR("plain");
    m->in_between = false;
    m->n_held = m->n_end = 0;
    m->state = IN_LINE;
    if (m->n_parts == MIME_PARTS_MAX) {
        no_structure(m, MIME_TOO_MANY);
        return;
    }
    m->n_parts++;
    read_fields(p, str_of(m->head, n));
    bool is_coded = p->encoding == MIME_ENC_QP || p->encoding == MIME_ENC_BASE64;
    if (str_ieq(p->type.type, STR("multipart")))
        open_multipart(m);
    else if (mime_type_is(&p->type, STR("message"), STR("rfc822")) && !is_coded)
        open_message(m);
}

/* The section ends before the line at line_at, or with it when it is the empty one. */
static void end_section(struct mime *m, bool with_line, struct mime_event *out)
{
    size_t n = with_line ? m->n_head : m->line_at;
    begin_part(m, n);
    *out = (struct mime_event){MIME_HEADER, str_of(m->head, n)};
    m->n_drop_head = n;
    if (m->trouble != MIME_FINE)
        m->state = IN_REST;
    else if (!with_line && m->state != IN_HEADER)
        m->state = IN_LEFT;
}

/* After the caller saw the section: what is left in head goes to its start. */
static void drop_head(struct mime *m)
{
    m->n_head -= m->n_drop_head;
    memmove(m->head, m->head + m->n_drop_head, m->n_head);
    m->n_drop_head = 0;
    m->line_at = 0;
}

/* head ends in a complete line, or the input has ended. */
static void classify_line(struct mime *m, struct mime_event *out)
{
    struct str line = str_of(m->head + m->line_at, m->n_head - m->line_at);
    struct str bare = str_slice(line, 0, line.n - end_size(line));
    size_t level;
    bool closes;
    bool is_fold = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');
    if (bare.n == 0) {
        end_section(m, true, out);
    } else if (match(m, line, &level, &closes)) {
        size_t n = m->line_at;
        begin_part(m, n);
        *out = (struct mime_event){MIME_HEADER, str_of(m->head, n)};
        m->n_drop_head = n;
        m->state = m->trouble != MIME_FINE ? IN_REST : IN_LEFT;
    } else if (is_fold ? m->line_at == 0 : header_section_size(line) == 0) {
        end_section(m, false, out);
    } else {
        m->line_at = m->n_head;
    }
}

static size_t step_header(struct mime *m, struct str in, struct mime_event *out)
{
    if (m->n_drop_head > 0)
        drop_head(m);
    if (m->n_head > m->line_at && m->head[m->n_head - 1] == '\n') { /* the line behind an enclosing section */
        classify_line(m, out);
        return 0;
    }
    size_t lf = str_chr(in, '\n');
    size_t n = lf == STR_NPOS ? in.n : lf + 1;
    size_t room = sizeof m->head - m->n_head;
    bool is_full = n >= room;
    if (is_full)
        n = room;
    memcpy(m->head + m->n_head, in.p, n);
    m->n_head += n;
    if (is_full) {
        no_structure(m, MIME_HEADER_TOO_BIG);
        m->part = (struct mime_part){.index = m->part.index, .depth = m->part.depth};
        *out = (struct mime_event){MIME_HEADER, str_of(m->head, m->n_head)};
        m->n_drop_head = m->n_head;
    } else if (lf != STR_NPOS) {
        classify_line(m, out);
    }
    return n;
}

/* head holds one line that ended a section. */
static void step_left(struct mime *m, struct mime_event *out)
{
    drop_head(m);
    struct str line = str_of(m->head, m->n_head);
    size_t level;
    bool closes;
    if (match(m, line, &level, &closes)) {
        take_delimiter(m, level, closes);
        *out = (struct mime_event){MIME_DELIMITER, line};
        after_delimiter(m);
        return;
    }
    size_t n_end = end_size(line);
    give(out, text_kind(m), str_slice(line, 0, line.n - n_end));
    memcpy(m->held, line.p + line.n - n_end, n_end);
    m->n_held = m->n_end = n_end;
    m->state = n_end > 0 ? IN_LINE : IN_TEXT;
}

/* held was filled up to a line end, to its brim, or to the end of the message. */
static void decide_held(struct mime *m, struct mime_event *out)
{
    struct str held = str_of(m->held, m->n_held);
    struct str line = str_skip(held, m->n_end);
    size_t n_end = end_size(line);
    size_t level;
    bool closes;
    m->n_drop = held.n;
    if (match(m, line, &level, &closes)) {
        take_delimiter(m, level, closes);
        *out = (struct mime_event){MIME_DELIMITER, held};
        if (n_end > 0)
            after_delimiter(m);
        else
            m->state = IN_DELIMITER;
        m->n_drop = m->n_held = m->n_end = 0; /* the text stays where it is until the next call */
        return;
    }
    m->n_drop -= n_end > 0 ? n_end : line.p[line.n - 1] == '\r';
    m->n_end = n_end;
    m->state = n_end > 0 ? IN_LINE : IN_TEXT;
    give(out, text_kind(m), str_slice(held, 0, m->n_drop));
}

static void drop_held(struct mime *m)
{
    m->n_held -= m->n_drop;
    memmove(m->held, m->held + m->n_drop, m->n_held);
    m->n_drop = 0;
}

/* At a line start: held has the line end before it, and maybe a part of the line. */
static size_t step_line(struct mime *m, struct str in, struct mime_event *out)
{
    if (m->n_held == m->n_end && (in.p[0] != '-' || m->n_levels == 0)) {
        give(out, text_kind(m), str_of(m->held, m->n_held));
        m->n_drop = m->n_held;
        m->n_end = 0;
        m->state = IN_TEXT;
        return 0;
    }
    size_t lf = str_chr(in, '\n');
    size_t n = lf == STR_NPOS ? in.n : lf + 1;
    size_t room = sizeof m->held - m->n_held;
    bool is_full = n >= room;
    if (is_full)
        n = room;
    memcpy(m->held + m->n_held, in.p, n);
    m->n_held += n;
    if (is_full || lf != STR_NPOS)
        decide_held(m, out);
    return n;
}

/* Within a line: all up to the next line that may be a delimiter. */
static size_t step_text(struct mime *m, struct str in, struct mime_event *out)
{
    if (m->n_held > 0) { /* a CR that ended the last piece */
        m->n_end = in.p[0] == '\n' ? 2 : 0;
        if (m->n_end > 0) {
            m->held[m->n_held++] = '\n';
            m->state = IN_LINE;
            return 1;
        }
        give(out, text_kind(m), str_of(m->held, m->n_held));
        m->n_drop = m->n_held;
        return 0;
    }
    size_t i = 0;
    while (m->n_levels > 0 && i < in.n) {
        size_t lf = str_chr(str_skip(in, i), '\n');
        if (lf == STR_NPOS)
            break;
        i += lf + 1;
        if (i < in.n && in.p[i] != '-')
            continue;
        m->n_held = m->n_end = end_size(str_slice(in, 0, i));
        memcpy(m->held, in.p + i - m->n_end, m->n_end);
        m->state = IN_LINE;
        give(out, text_kind(m), str_slice(in, 0, i - m->n_end));
        return i;
    }
    size_t n = in.n;
    if (m->n_levels > 0 && in.p[n - 1] == '\r') {
        m->held[0] = '\r';
        m->n_held = 1;
        n--;
    }
    give(out, text_kind(m), str_slice(in, 0, n));
    return in.n;
}

static size_t step_delimiter(struct mime *m, struct str in, struct mime_event *out)
{
    size_t lf = str_chr(in, '\n');
    size_t n = lf == STR_NPOS ? in.n : lf + 1;
    *out = (struct mime_event){MIME_DELIMITER, str_slice(in, 0, n)};
    if (lf != STR_NPOS)
        after_delimiter(m);
    return n;
}

size_t mime_step(struct mime *m, struct str in, struct mime_event *out)
{
    *out = (struct mime_event){MIME_MORE, STR_NIL};
    drop_held(m);
    if (in.n == 0)
        return 0;
    switch (m->state) {
    case IN_HEADER:
        return step_header(m, in, out);
    case IN_LEFT:
        step_left(m, out);
        return 0;
    case IN_LINE:
        return step_line(m, in, out);
    case IN_TEXT:
        return step_text(m, in, out);
    case IN_DELIMITER:
        return step_delimiter(m, in, out);
    case IN_REST:
        break;
    }
    drop_head(m); /* a line that stood behind the section where structure was given up */
    if (m->n_head > 0) {
        give(out, MIME_BODY, str_of(m->head, m->n_head));
        m->n_drop_head = m->n_head;
        return 0;
    }
    give(out, MIME_BODY, in);
    return in.n;
}

/* At the end inside a header section: what was gathered is one, or a line behind one. */
static bool finish_header(struct mime *m, struct mime_event *out)
{
    if (m->n_drop_head > 0)
        drop_head(m);
    if (m->n_head > m->line_at)
        classify_line(m, out);
    if (out->kind == MIME_MORE)
        end_section(m, true, out);
    if (m->state == IN_HEADER && m->n_drop_head == m->n_head) /* a message/rfc822 without a message */
        m->state = IN_TEXT;
    return true;
}

bool mime_finish(struct mime *m, struct mime_event *out)
{
    *out = (struct mime_event){MIME_MORE, STR_NIL};
    drop_held(m);
    switch (m->state) {
    case IN_HEADER:
        return finish_header(m, out);
    case IN_LEFT:
        step_left(m, out);
        if (m->state == IN_HEADER) /* a delimiter, and no part behind it */
            m->state = IN_TEXT;
        return true;
    case IN_REST:
        drop_head(m);
        give(out, MIME_BODY, str_of(m->head, m->n_head));
        m->n_drop_head = m->n_head;
        return out->kind != MIME_MORE;
    case IN_LINE:
        if (m->n_held > m->n_end) {
            decide_held(m, out);
            if (m->state == IN_HEADER || m->state == IN_DELIMITER)
                m->state = IN_TEXT;
            return true;
        }
        break;
    case IN_TEXT:
    case IN_DELIMITER:
        break;
    }
    give(out, text_kind(m), str_of(m->held, m->n_held));
    m->n_drop = m->n_held;
    m->n_end = 0;
    return out->kind != MIME_MORE;
}
