#include "verify/tls_rpt.h"

enum { MAILTO_N = 7, HTTPS_N = 8 };

void tls_rpt_record_name(struct str domain, struct buf *out)
{
    buf_puts(out, "_smtp._tls.");
    buf_put(out, domain);
}

static bool take_rua(struct str value, struct tls_rpt_record *out)
{
    while (value.n > 0) {
        struct str uri = str_trim(str_cut(&value, ','));
        if (uri.n == 0 || str_chr(uri, ' ') != STR_NPOS || str_chr(uri, '\t') != STR_NPOS)
            return false;
        bool is_mail = str_istarts(uri, STR("mailto:")) && uri.n > MAILTO_N;
        bool is_web = str_istarts(uri, STR("https://")) && uri.n > HTTPS_N;
        if ((is_mail || is_web) && out->n_rua < TLS_RPT_RUA_MAX)
            out->rua[out->n_rua++] = (struct tls_rpt_rua){is_mail ? TLS_RPT_MAILTO : TLS_RPT_HTTPS, uri};
    }
    return true;
}

bool tls_rpt_record(const struct str *rdata, size_t n, struct buf *mem, struct tls_rpt_record *out)
{
    struct str fields, name, value;
    bool is_seen = false;
    out->n_rua = 0;
    if (txt_pick(rdata, n, STR("v=TLSRPTv1"), mem, &fields) != TXT_ONE)
        return false;
    enum txt_next next;
    while ((next = txt_next(&fields, &name, &value)) == TXT_FIELD) {
        if (!str_eq(name, STR("rua")) || is_seen)
            continue;
        is_seen = true;
        if (!take_rua(value, out))
            return false;
    }
    return next == TXT_END && out->n_rua > 0;
}

bool tls_rpt_mailto(struct str uri, struct buf *out)
{
    if (!str_istarts(uri, STR("mailto:")))
        return false;
    struct str rest = str_skip(uri, MAILTO_N);
    struct str to = str_cut(&rest, '?');
    size_t start = out->n;
    bool ok = to.n > 0 && str_chr(to, ',') == STR_NPOS; /* RFC 6068 2: a comma stands between addresses */
    for (size_t i = 0; ok && i < to.n; i++) {
        char c = to.p[i];
        if (c == '%') {
            int high = i + 2 < to.n ? ascii_hex_value(to.p[i + 1]) : -1;
            int low = i + 2 < to.n ? ascii_hex_value(to.p[i + 2]) : -1;
            ok = high >= 0 && low >= 0;
            c = (char)(high * 16 + low);
            i += 2;
        }
        ok = ok && !str_has_ctl(str_of(&c, 1)) && buf_putc(out, c);
    }
    if (!ok)
        out->n = start;
    return ok;
}
