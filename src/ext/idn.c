#include "ext/idn.h"

#include "base/limits.h"

#include <idn2.h>
#include <string.h>

/* Both are kept by the library's API; the second makes it map (upper case, width) as UTS 46 says. */
enum { FLAGS = IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL };

static bool put_lower(struct str s, struct buf *out)
{
    if (s.n > out->max - out->n || s.n > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!buf_putc(out, ascii_lower(s.p[i])))
            return false;
    }
    return true;
}

/* Takes over what the library allocated. */
static bool put_result(char *text, struct buf *out)
{
    struct str s = str_from_c(text);
    bool ok = s.n > 0 && s.n <= DNS_NAME_MAX && s.n <= out->max - out->n && buf_put(out, s);
    idn2_free(text);
    return ok;
}

bool idn_to_ascii(struct str domain, struct buf *out)
{
    char name[DNS_NAME_MAX + 1];
    char *result = NULL;
    if (str_is_ascii(domain))
        return put_lower(domain, out);
    if (!str_to_c(domain, name, sizeof name) || idn2_to_ascii_8z(name, &result, FLAGS) != IDN2_OK)
        return false;
    return put_result(result, out);
}

static bool is_fit_to_show(const char *text)
{
    struct str s = str_from_c(text);
    unsigned code;
    while (s.n > 0) {
        if (str_odd_char(s, &code) > 0)
            return false;
        s = str_skip(s, 1);
    }
    return true;
}

bool idn_to_unicode(struct str domain, struct buf *out)
{
    char name[DNS_NAME_MAX + 1];
    char lower_mem[DNS_NAME_MAX];
    struct buf lower;
    char *result = NULL;
    buf_init_fixed(&lower, lower_mem, sizeof lower_mem);
    if (!idn_to_ascii(domain, &lower)) {
        buf_reset(&lower);
        if (!put_lower(domain, &lower))
            return false;
    }
    must(str_to_c(buf_str(&lower), name, sizeof name) || str_chr(buf_str(&lower), '\0') != STR_NPOS);
    if (str_find(buf_str(&lower), STR("xn--")) == STR_NPOS ||
        idn2_to_unicode_8z8z(name, &result, 0) != IDN2_OK)
        return put_lower(buf_str(&lower), out);
    if (is_fit_to_show(result))
        return put_result(result, out);
    idn2_free(result);
    return put_lower(buf_str(&lower), out);
}

bool idn_same(struct str a, struct str b)
{
    char mem_a[DNS_NAME_MAX], mem_b[DNS_NAME_MAX];
    struct buf ascii_a, ascii_b;
    if (str_ieq(a, b))
        return true;
    buf_init_fixed(&ascii_a, mem_a, sizeof mem_a);
    buf_init_fixed(&ascii_b, mem_b, sizeof mem_b);
    return idn_to_ascii(a, &ascii_a) && idn_to_ascii(b, &ascii_b) &&
           str_eq(buf_str(&ascii_a), buf_str(&ascii_b));
}
