#include "ipc/lists.h"

bool list_put_str(struct buf *out, struct str s)
{
    return buf_put_lstr(out, s);
}

bool list_next_str(struct reader *r, struct str *out)
{
    if (r->rest.n == 0)
        return false;
    *out = read_lstr(r);
    return !r->failed;
}

size_t list_count_str(struct str list)
{
    struct reader r = reader_of(list);
    struct str s;
    size_t n = 0;
    while (list_next_str(&r, &s))
        n++;
    return r.failed ? STR_NPOS : n;
}

bool list_put_addr(struct buf *out, const struct netaddr *a)
{
    buf_put_u8(out, (uint8_t)a->kind);
    buf_put_u16(out, a->port);
    if (a->kind == NETADDR_UNIX)
        return buf_put_lstr(out, str_from_c(a->path));
    return buf_put_lstr(out, str_of(a->ip, a->kind == NETADDR_IP4 ? 4 : 16));
}

bool list_next_addr(struct reader *r, struct netaddr *out)
{
    if (r->rest.n == 0)
        return false;
    uint8_t kind = read_u8(r);
    uint16_t port = read_u16(r);
    struct str bytes = read_lstr(r);
    *out = (struct netaddr){.kind = (enum netaddr_kind)kind, .port = port};
    bool ok = false;
    if (kind == NETADDR_UNIX)
        ok = bytes.n > 0 && str_to_c(bytes, out->path, sizeof out->path);
    else if (kind == NETADDR_IP4 || kind == NETADDR_IP6)
        ok = bytes.n == (kind == NETADDR_IP4 ? 4u : 16u);
    if (!ok) {
        r->failed = true;
        return false;
    }
    for (size_t i = 0; kind != NETADDR_UNIX && i < bytes.n; i++)
        out->ip[i] = (uint8_t)bytes.p[i];
    return !r->failed;
}

bool list_put_hop(struct buf *out, const struct hop *h)
{
    buf_put_u16(out, h->preference);
    buf_put_u16(out, h->port);
    buf_put_lstr(out, h->name);
    buf_put_u8(out, h->name.n == 0);
    return h->name.n > 0 ? !out->failed : list_put_addr(out, &h->addr);
}

bool list_next_hop(struct reader *r, struct hop *out)
{
    if (r->rest.n == 0)
        return false;
    *out = (struct hop){.preference = read_u16(r), .port = 0};
    out->port = read_u16(r);
    out->name = read_lstr(r);
    bool has_addr = read_u8(r) != 0;
    if (has_addr != (out->name.n == 0) || (has_addr && !list_next_addr(r, &out->addr)))
        r->failed = true;
    return !r->failed;
}

bool list_put_result(struct buf *out, const struct job_result *j)
{
    buf_put_u8(out, (uint8_t)j->kind);
    buf_put_u8(out, j->stage);
    buf_put_u8(out, j->flags);
    buf_put_u16(out, j->code);
    buf_put_u8(out, j->esc.class);
    buf_put_u16(out, j->esc.subject);
    buf_put_u16(out, j->esc.detail);
    buf_put_lstr(out, str_slice(j->host, 0, RESULT_TEXT_MAX));
    buf_put_lstr(out, str_slice(j->text, 0, RESULT_TEXT_MAX));
    must(j->targets.n <= RESULT_TARGETS_MAX);
    return j->kind != RESULT_EXPANDED ? !out->failed : buf_put_lstr(out, j->targets);
}

bool list_next_result(struct reader *r, struct job_result *out)
{
    if (r->rest.n == 0)
        return false;
    uint8_t kind = read_u8(r);
    *out = (struct job_result){.kind = (enum result_kind)kind};
    out->stage = read_u8(r);
    out->flags = read_u8(r);
    out->code = read_u16(r);
    out->esc.class = read_u8(r);
    out->esc.subject = read_u16(r);
    out->esc.detail = read_u16(r);
    out->host = read_lstr(r);
    out->text = read_lstr(r);
    if (kind == RESULT_EXPANDED)
        out->targets = read_lstr(r);
    if (kind > RESULT_EXPANDED || out->flags > RESULT_TOOK_DSN || out->targets.n > RESULT_TARGETS_MAX)
        r->failed = true;
    return !r->failed;
}
